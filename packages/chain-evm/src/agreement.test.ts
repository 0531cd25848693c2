import { afterEach, describe, expect, test } from "vitest";

import {
  block,
  CONTRACT,
  chainOf,
  closeEndpoints,
  failure,
  HASH,
  log,
  receipt,
  type Script,
  serve,
} from "./scripted-chain.ts";
import { createListLogger, item, type ScriptedRpc } from "./test-world.ts";

afterEach(closeEndpoints);

const AGREED = { agreed: true };
const OTHER_HASH = `0x${"ee".repeat(32)}`;
const DEAD = { status: 503, text: "" } as const;

const counting = (count: number): Promise<ScriptedRpc> =>
  serve({ eth_getTransactionCount: `0x${count.toString(16)}` });
const dead = (): Promise<ScriptedRpc> => serve({}, () => DEAD);
const hostOf = (server: ScriptedRpc | undefined): string => new URL(server?.url ?? "").host;

/** An endpoint with a chain of its own up to a final block. */
function serveChain(
  finalNumber: number | null,
  hashAt: (number: number) => string = (number) => `0x${number.toString(16).padStart(64, "0")}`,
): Promise<ScriptedRpc> {
  return serve({}, (method, params) => {
    if (method !== "eth_getBlockByNumber") return null;
    const [which] = params;
    const number = which === "finalized" ? finalNumber : Number(which);
    return number === null || Number.isNaN(number)
      ? { result: null }
      : { result: block({ number: `0x${number.toString(16)}`, hash: hashAt(number) }) };
  });
}

describe("an agreed read", () => {
  test("takes what two endpoints say alike, whatever a third says, and sets the third aside", async () => {
    for (const liar of [0, 1, 2]) {
      const servers = [await counting(7), await counting(7)];
      servers.splice(liar, 0, await counting(9));
      const troubles: string[] = [];
      const logger = createListLogger();
      const chain = chainOf(
        servers,
        {},
        { logger, onEndpointTrouble: (...trouble) => troubles.push(trouble.join(" ")) },
      );
      expect(await chain.transactionCount(CONTRACT, 5n, AGREED)).toBe(7n);
      await expect.poll(() => troubles).toEqual([`${hostOf(servers[liar])} disagreed`]);
      expect(logger.lines.join()).toContain("says otherwise than two others");
    }
  });

  test("is no answer when two endpoints say different things, and names both", async () => {
    const servers = [await counting(7), await counting(9)];
    const error = await failure(chainOf(servers).transactionCount(CONTRACT, 5n, AGREED));
    expect(error).toMatchObject({ code: "RPC_DISAGREE", retryable: true });
    for (const server of servers) expect(error.message).toContain(hostOf(server));
    // Who of two lies nobody knows: both are read from as before.
    expect(await chainOf(servers).transactionCount(CONTRACT, 5n)).toBe(7n);
  });

  test("is no answer when fewer than two endpoints answer", async () => {
    const servers = [await counting(7), await dead()];
    const error = await failure(chainOf(servers).transactionCount(CONTRACT, 5n, AGREED));
    expect(error).toMatchObject({ code: "RPC_DISAGREE", retryable: true });
    expect(error.message).toContain(`${hostOf(servers[1])} failed: HTTP 503`);
    const silent = chainOf([await dead(), await dead()]);
    expect((await failure(silent.transactionCount(CONTRACT, 5n, AGREED))).code).toBe(
      "RPC_DISAGREE",
    );
  });

  test("is one endpoint's word where one is configured, even when it is given twice", async () => {
    const one = await counting(7);
    expect(await chainOf([one]).transactionCount(CONTRACT, 5n, AGREED)).toBe(7n);
    const twice = chainOf([one, one]);
    one.seen.splice(0);
    expect(await twice.transactionCount(CONTRACT, 5n, AGREED)).toBe(7n);
    expect(one.seen.map(({ method }) => method)).toEqual([
      "eth_chainId",
      "eth_getTransactionCount",
    ]);
  });

  test("does not wait for a silent third", async () => {
    const servers = [await serve({}, () => ({ hang: true })), await counting(7), await counting(7)];
    const chain = chainOf(servers, { timeoutMs: 600_000 });
    expect(await chain.transactionCount(CONTRACT, 5n, AGREED)).toBe(7n);
    await chain.stop();
  });

  test("needs two for absence as well", async () => {
    const has = () => serve({ eth_getTransactionReceipt: receipt() });
    const lacks = () => serve({ eth_getTransactionReceipt: null });
    const two = chainOf([await has(), await lacks()]);
    expect((await failure(two.receipt(HASH, AGREED))).code).toBe("RPC_DISAGREE");
    const absent = chainOf([await has(), await lacks(), await lacks()]);
    expect(await absent.receipt(HASH, AGREED)).toBeNull();
    const there = chainOf([await has(), await lacks(), await has()]);
    expect(await there.receipt(HASH, AGREED)).toMatchObject({ blockNumber: 5n });
  });

  test("of a block takes neither of two, and is not told another by one", async () => {
    const has = (hash: string) => serve({ eth_getBlockByNumber: block({ hash }) });
    const [one, other, lacks] = await Promise.all([
      has(HASH),
      has(OTHER_HASH),
      serve({ eth_getBlockByNumber: null }),
    ]);
    for (const liar of [other, lacks]) {
      const two = await failure(chainOf([one, liar]).blockAt(5n, AGREED));
      expect(two).toMatchObject({ code: "RPC_DISAGREE", retryable: true });
      const again = await has(HASH);
      expect(await chainOf([liar, one, again]).blockAt(5n, AGREED)).toMatchObject({ hash: HASH });
    }
  });

  test.each<readonly [string, Script, Script]>([
    ["status", { status: "0x0" }, {}],
    ["event", { logs: [log({ data: `0x${"2b".padStart(64, "0")}` })] }, {}],
    ["block", { blockHash: OTHER_HASH }, { hash: OTHER_HASH }],
    ["height", { blockNumber: "0x6" }, { number: "0x6" }],
  ])("of two receipts that differ in their %s takes neither", async (_what, change, changed) => {
    const chain = chainOf([
      await serve({ eth_getTransactionReceipt: receipt() }),
      await serve({
        eth_getTransactionReceipt: receipt(change),
        eth_getBlockByNumber: block(changed),
      }),
    ]);
    expect((await failure(chain.receipt(HASH, AGREED))).code).toBe("RPC_DISAGREE");
  });

  test("believes two that the contract is not there, and not one", async () => {
    const without = () => serve({ eth_call: "0x", eth_getCode: "0x" });
    const { txId } = item("a", 1n);
    const two = chainOf([await without(), await without()]);
    expect(await failure(two.recordOf(txId, "latest", AGREED))).toMatchObject({
      code: "NO_CONTRACT",
      retryable: false,
    });
    const one = chainOf([await without(), await serve({ eth_call: `0x${"00".repeat(96)}` })]);
    expect(await failure(one.recordOf(txId, "latest", AGREED))).toMatchObject({
      code: "RPC_DISAGREE",
      retryable: true,
    });
  });

  test("holds nothing secret of the URLs in its error", async () => {
    const servers = [await counting(7), await dead()];
    const chain = chainOf(servers, {
      rpcUrls: servers.map(({ url }) => `${url}/v2/s3cr3t-key?token=t0ken-t0ken`),
    });
    const error = await failure(chain.transactionCount(CONTRACT, 5n, AGREED));
    expect(`${error.message} ${error.stack}`).not.toMatch(/s3cr3t|t0ken/);
  });

  test("of events is not taken from endpoints that lack the last block", async () => {
    const logs = [log()];
    const full = () => serve({ eth_getLogs: logs });
    // Two that lag would else agree that there is nothing.
    const behind = () => serve({ eth_getLogs: [], eth_getBlockByNumber: null });
    const chain = chainOf([await behind(), await full(), await behind(), await full()]);
    expect(await chain.recordedEvents(5n, 5n, AGREED)).toHaveLength(1);
    const lagging = chainOf([await behind(), await behind(), await full()]);
    expect((await failure(lagging.recordedEvents(5n, 5n, AGREED))).code).toBe("RPC_DISAGREE");
    expect(await failure(chainOf([await behind()]).recordedEvents(5n, 5n))).toMatchObject({
      code: "RPC_ERROR",
      retryable: true,
    });
  });

  test("of events is none when one endpoint hides one of them", async () => {
    const chain = chainOf([
      await serve({ eth_getLogs: [log()] }),
      await serve({ eth_getLogs: [] }),
    ]);
    expect((await failure(chain.recordedEvents(5n, 5n, AGREED))).code).toBe("RPC_DISAGREE");
  });
});

describe("an agreed final block", () => {
  const FINALIZED = { kind: "finalized" } as const;
  const fork = (number: number): string => `0x${`f${number}`.padStart(64, "0")}`;
  const finalOf = async (...servers: readonly Promise<ScriptedRpc>[]) =>
    await chainOf(await Promise.all(servers)).finalizedHead(FINALIZED, AGREED);

  test("is the lower of two when one lags", async () => {
    expect((await finalOf(serveChain(12), serveChain(9)))?.number).toBe(9n);
    expect((await finalOf(serveChain(9), serveChain(12)))?.number).toBe(9n);
    expect((await finalOf(serveChain(9), serveChain(9)))?.number).toBe(9n);
  });

  test("is none of two that stand on different branches", async () => {
    for (const other of [7, 9, 12])
      expect((await failure(finalOf(serveChain(9), serveChain(other, fork)))).code).toBe(
        "RPC_DISAGREE",
      );
  });

  test("is not held back by one that is stuck, and not led astray by one on another branch", async () => {
    expect((await finalOf(serveChain(3), serveChain(12), serveChain(11)))?.number).toBe(11n);
    expect((await finalOf(serveChain(50, fork), serveChain(12), serveChain(11)))?.hash).toBe(
      `0x${"b".padStart(64, "0")}`,
    );
    const troubles: string[] = [];
    const servers = await Promise.all([serveChain(9), serveChain(9, fork), serveChain(9)]);
    const onEndpointTrouble = (endpoint: string): void => void troubles.push(endpoint);
    const chain = chainOf(servers, {}, { onEndpointTrouble });
    expect((await chain.finalizedHead(FINALIZED, AGREED))?.number).toBe(9n);
    expect(troubles).toEqual([hostOf(servers[1])]);
  });

  test("is missing when two have none, and unknown when only one has none", async () => {
    expect(await finalOf(serveChain(null), serveChain(null))).toBeNull();
    expect((await failure(finalOf(serveChain(null), serveChain(9)))).code).toBe("RPC_DISAGREE");
    expect((await finalOf(serveChain(null), serveChain(9), serveChain(9)))?.number).toBe(9n);
  });

  test("needs two that answer, and does not wait for a silent third", async () => {
    expect((await failure(finalOf(serveChain(9), dead()))).code).toBe("RPC_DISAGREE");
    const servers = [await serveChain(9), await serve({}, () => ({ hang: true }))];
    const chain = chainOf([...servers, await serveChain(9)], { timeoutMs: 600_000 });
    expect((await chain.finalizedHead(FINALIZED, AGREED))?.number).toBe(9n);
    await chain.stop();
  });
});

describe("the nonce floor", () => {
  test("is the highest that any endpoint that answers has seen, waiting ones included", async () => {
    const counts = (latest: string, pending: string) =>
      serve({}, (method, params) =>
        method === "eth_getTransactionCount"
          ? { result: params[1] === "latest" ? latest : pending }
          : null,
      );
    const chain = chainOf([await dead(), await counts("0x5", "0x9"), await counts("0x6", "0x6")]);
    expect(await chain.nonceFloor(CONTRACT)).toBe(9n);
    // A pool that forgot says less than the chain.
    expect(await chainOf([await counts("0x6", "0x5")]).nonceFloor(CONTRACT)).toBe(6n);
  });

  test("is unknown when nobody answers, and not taken from an impossible count", async () => {
    expect((await failure(chainOf([await dead()]).nonceFloor(CONTRACT))).code).toBe(
      "RPC_UNREACHABLE",
    );
    const mad = await serve({ eth_getTransactionCount: `0x${"f".repeat(16)}` });
    expect((await failure(chainOf([mad]).nonceFloor(CONTRACT))).code).toBe("RPC_ERROR");
    expect(await chainOf([mad, await counting(4)]).nonceFloor(CONTRACT)).toBe(4n);
  });
});

describe("endpoint reports", () => {
  const LATEST = { kind: "confirmations", blocks: 0 } as const;
  const healthy = () => serve({ eth_getTransactionCount: "0x4", eth_getBalance: "0x7" });

  test("tell of each endpoint what it says, and why it can't be used", async () => {
    const servers = [
      await healthy(),
      await dead(),
      await serve({ eth_chainId: "0x1" }),
      await serve({ eth_getCode: "0x", eth_getTransactionCount: "0x4", eth_getBalance: "0x7" }),
      await serve({ eth_getTransactionCount: "0x4" }),
    ];
    const reports = await chainOf(servers).endpointReports(CONTRACT, LATEST);
    expect(reports.map(({ endpoint }) => endpoint)).toEqual(servers.map(hostOf));
    const said = { countLatest: 4n, countPending: 4n, balanceWei: 7n };
    const silent = { head: null, finalized: null, countLatest: null, balanceWei: null };
    expect(reports).toMatchObject([
      { problem: null, head: { number: 5n }, finalized: { number: 5n }, ...said },
      { problem: "HTTP 503", latencyMs: null, ...silent },
      { problem: expect.stringContaining("chain 1337 was expected"), ...silent },
      { problem: expect.stringContaining("no code at"), head: { number: 5n }, ...said },
      { problem: "Method not found", head: { number: 5n }, countLatest: 4n, balanceWei: null },
    ]);
  });

  test("tell who was outvoted, though it answers", async () => {
    const liar = await serve({ eth_getTransactionCount: "0x9", eth_getBalance: "0x7" });
    const chain = chainOf([await healthy(), liar, await healthy()]);
    expect(await chain.transactionCount(CONTRACT, 5n, AGREED)).toBe(4n);
    await expect
      .poll(async () =>
        (await chain.endpointReports(CONTRACT, LATEST)).map(({ problem }) => problem),
      )
      .toEqual([null, expect.stringContaining("disagreed (1 times)"), null]);
    // It is read from last now.
    expect(await chain.transactionCount(CONTRACT, 5n)).toBe(4n);
  });

  test("end with the signal's reason", async () => {
    const reason = new Error("enough");
    const chain = chainOf([await healthy()]);
    await expect(
      chain.endpointReports(CONTRACT, LATEST, { signal: AbortSignal.abort(reason) }),
    ).rejects.toBe(reason);
  });
});
