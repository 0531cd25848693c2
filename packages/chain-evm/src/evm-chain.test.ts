import { AssertionError } from "@quorate/core";
import type { Chain } from "@quorate/ports";
import { hexToBytes, keccak256 } from "viem";
import { afterEach, describe, expect, test } from "vitest";

import { mergeOutcomes } from "./endpoint-pool.ts";
import { createEvmChain } from "./evm-chain.ts";
import { encodeRecordsOf } from "./recorder-codec.ts";
import {
  BLOCK_HASH,
  block,
  CONTRACT,
  chainOf,
  closeEndpoints,
  failure,
  HASH,
  log,
  OTHER,
  receipt,
  type Script,
  serve,
} from "./scripted-chain.ts";
import {
  CLUSTER,
  createListLogger,
  item,
  items,
  type Scripted,
  systemClock,
} from "./test-world.ts";

const RAW = hexToBytes("0x02c0");
const RAW_HASH = keccak256(RAW);

afterEach(closeEndpoints);

describe("a receipt", () => {
  test("is given with the contract's events when its block is canonical", async () => {
    const chain = chainOf([await serve({ eth_getTransactionReceipt: receipt() })]);
    expect(await chain.receipt(HASH)).toEqual({
      hash: HASH,
      status: "success",
      blockNumber: 5n,
      blockHash: BLOCK_HASH,
      gasUsed: 21_000n,
      events: [{ kind: "recorded", key: HASH, value: 42n }],
    });
  });

  test("of a block that is not canonical any more is no receipt", async () => {
    const orphaned = receipt({ blockHash: `0x${"ee".repeat(32)}` });
    const chain = chainOf([await serve({ eth_getTransactionReceipt: orphaned })]);
    expect(await chain.receipt(HASH)).toBeNull();
  });

  test("at a height that the chain no longer has is no receipt", async () => {
    const chain = chainOf([
      await serve({ eth_getTransactionReceipt: receipt(), eth_getBlockByNumber: null }),
    ]);
    expect(await chain.receipt(HASH)).toBeNull();
  });

  test("shows no event of another contract", async () => {
    const foreign = receipt({ logs: [log({ address: OTHER })] });
    const chain = chainOf([await serve({ eth_getTransactionReceipt: foreign })]);
    expect((await chain.receipt(HASH))?.events).toEqual([]);
  });

  test.each([
    ["of another transaction", receipt({ transactionHash: BLOCK_HASH })],
    ["with another transaction's log", receipt({ logs: [log({ transactionHash: BLOCK_HASH })] })],
    ["without a status", receipt({ status: undefined })],
    ["with a status of 2", receipt({ status: "0x2" })],
    ["with a decimal block number", receipt({ blockNumber: 5 })],
    ["with a short block hash", receipt({ blockHash: "0xbb" })],
    ["without logs", receipt({ logs: undefined })],
    ["with a value beyond 64 bits", receipt({ logs: [log({ data: `0x${"ff".repeat(32)}` })] })],
    ["with a cut-off event", receipt({ logs: [log({ data: "0x2a" })] })],
    ["that is a text", "yes"],
  ])("%s is refused as nonsense", async (_name, answer) => {
    const chain = chainOf([await serve({ eth_getTransactionReceipt: answer })]);
    expect(await failure(chain.receipt(HASH))).toMatchObject({
      code: "RPC_ERROR",
      retryable: true,
    });
  });
});

describe("a block", () => {
  test("at another height than asked for is refused", async () => {
    const chain = chainOf([await serve({ eth_getBlockByNumber: block({ number: "0x6" }) })]);
    expect((await failure(chain.blockAt(5n))).code).toBe("RPC_ERROR");
  });

  test("without a base fee is refused: the chain lacks EIP-1559", async () => {
    const old = block({ baseFeePerGas: undefined });
    const chain = chainOf([await serve({ eth_getBlockByNumber: old })]);
    for (const call of [() => chain.head(), () => chain.suggestFees(), () => chain.start()])
      expect(await failure(call())).toMatchObject({
        code: "WRONG_CHAIN",
        retryable: false,
        message: expect.stringContaining("lacks EIP-1559"),
      });
  });

  test("that is final is null while the endpoint says it has none", async () => {
    const server = await serve({}, (method, params) =>
      method === "eth_getBlockByNumber" && params[0] !== "latest"
        ? { error: { code: -39_001, message: "Unknown block" } }
        : null,
    );
    const chain = chainOf([server]);
    expect(await chain.finalizedHead({ kind: "finalized" })).toBeNull();
    expect(await chain.finalizedHead({ kind: "safe" })).toBeNull();
    expect(await chain.finalizedHead({ kind: "confirmations", blocks: 6 })).toBeNull();
  });
});

describe("a record", () => {
  test("is never taken as absent from an empty answer at the head", async () => {
    const chain = chainOf([await serve({ eth_call: "0x", eth_getCode: "0x" })]);
    expect(await failure(chain.recordOf(item("a", 1n).txId, "latest"))).toMatchObject({
      code: "NO_CONTRACT",
      retryable: false,
    });
  });

  test("is absent at a height before the contract was there", async () => {
    const chain = chainOf([await serve({ eth_call: "0x", eth_getCode: "0x" })]);
    expect(await chain.recordOf(item("a", 1n).txId, 3n)).toBeNull();
  });

  test("is asked for at exactly the height given", async () => {
    const server = await serve({ eth_call: `0x${"00".repeat(96)}` });
    expect(await chainOf([server]).recordOf(item("a", 1n).txId, 255n)).toBeNull();
    expect(server.seen.at(-1)?.params[1]).toBe("0xff");
  });

  test("is not read from an answer of the wrong length", async () => {
    const chain = chainOf([await serve({ eth_call: "0x01" })]);
    expect((await failure(chain.recordOf(item("a", 1n).txId, "latest"))).code).toBe("RPC_ERROR");
  });
});

describe("endpoints", () => {
  test("are asked in order, and a broken one is tried last afterwards", async () => {
    const broken = await serve({}, () => ({ status: 503, text: "" }));
    const good = await serve({});
    const chain = chainOf([broken, good]);
    expect((await chain.head()).number).toBe(5n);
    const asked = broken.seen.length;
    await chain.head();
    expect(broken.seen).toHaveLength(asked);
  });

  test("that come back are asked again after their time aside", async () => {
    let down = true;
    const first = await serve({}, () => (down ? { status: 503, text: "" } : null));
    const second = await serve({});
    const chain = chainOf([first, second], { unhealthyMs: 0 });
    await chain.head();
    down = false;
    const asked = second.seen.length;
    await chain.head();
    expect(second.seen).toHaveLength(asked);
  });

  test("on another chain are not read from, even when they come up late", async () => {
    let down = true;
    const wrong = await serve({ eth_chainId: "0x1", eth_getBalance: "0x63" }, () =>
      down ? { status: 503, text: "" } : null,
    );
    const right = await serve({ eth_getBalance: "0x7" });
    const chain = chainOf([wrong, right], { unhealthyMs: 0 });
    await chain.start();
    down = false;
    expect(await chain.balanceWei(CONTRACT)).toBe(7n);
    expect(wrong.seen.map(({ method }) => method)).not.toContain("eth_getBalance");
  });

  test("that answer nonsense count as broken", async () => {
    const chain = chainOf([
      await serve({ eth_getBalance: "lots" }),
      await serve({ eth_getBalance: "0x7" }),
    ]);
    expect(await chain.balanceWei(CONTRACT)).toBe(7n);
  });

  test("that all fail are all named", async () => {
    const servers = [
      await serve({}, () => ({ status: 503, text: "" })),
      await serve({}, () => ({ status: 500, text: "" })),
    ];
    const error = await failure(chainOf(servers).head());
    expect(error).toMatchObject({ code: "RPC_UNREACHABLE", retryable: true });
    for (const { url } of servers) expect(error.message).toContain(new URL(url).host);
  });
});

describe("a start", () => {
  test("refuses code that is not the recorder", async () => {
    const chain = chainOf([await serve({ eth_call: `0x${"00".repeat(32)}` })]);
    const error = await failure(chain.start());
    expect(error).toMatchObject({ code: "NO_CONTRACT", retryable: false });
    expect(error.message).toContain(CONTRACT);
  });

  test("refuses a recorder of an earlier build, which can't be asked for many keys", async () => {
    // As a contract answers a call that it does not know, without a fallback and with one.
    const answers: readonly Scripted[] = [
      { error: { code: 3, message: "execution reverted" } },
      { result: "0x" },
    ];
    for (const answer of answers) {
      const server = await serve({}, (method, params) =>
        method === "eth_call" && JSON.stringify(params).includes(encodeRecordsOf([]))
          ? answer
          : null,
      );
      const error = await failure(chainOf([server]).start());
      expect(error).toMatchObject({ code: "NO_CONTRACT", retryable: false });
      expect(error.message).toContain("of this version");
    }
  });

  test("refuses when one of the endpoints is on another chain", async () => {
    const chain = chainOf([await serve({}), await serve({ eth_chainId: "0x1" })]);
    expect(await failure(chain.start())).toMatchObject({ code: "WRONG_CHAIN", retryable: false });
  });

  test("shows nothing secret of the URLs in its log or its errors", async () => {
    const server = await serve({});
    const dead = await serve({});
    await dead.close();
    const withKey = (url: string): string =>
      `${url.replace("http://", "http://alice7:passw0rd@")}/v2/s3cr3t-key?token=t0ken-t0ken`;
    const logger = createListLogger();
    const build = (rpcUrls: readonly string[], chainId: number): Chain =>
      createEvmChain(
        { rpcUrls, chainId, contractAddress: CONTRACT, clusterId: CLUSTER, timeoutMs: 5_000 },
        { clock: systemClock, logger },
      );
    await build([withKey(dead.url), withKey(server.url)], 1_337).start();
    const wrong = await failure(build([withKey(server.url)], 5).start());
    expect(wrong.message).toContain(new URL(server.url).host);
    expect(wrong.message).toContain("chain 5 was expected");
    expect(logger.lines.length).toBeGreaterThan(1);
    for (const line of [...logger.lines, wrong.message, String(wrong.stack)]) {
      expect(line).not.toMatch(/alice7|passw0rd|s3cr3t|t0ken/);
    }
  });
});

describe("a send", () => {
  const refused = (message: string): Scripted => ({ error: { code: -32_000, message } });

  test("goes to every endpoint, and one that takes it is enough", async () => {
    const servers = [
      await serve({}, () => refused("nonce too low")),
      await serve({ eth_sendRawTransaction: RAW_HASH }),
    ];
    const outcome = await chainOf(servers).send(RAW);
    expect(outcome.kind).toBe("accepted");
    await expect.poll(() => servers.map(({ seen }) => seen.length)).toEqual([1, 1]);
    expect(servers[0]?.seen[0]?.params).toEqual(["0x02c0"]);
  });

  test("does not wait for a silent endpoint once another took it", async () => {
    const chain = chainOf(
      [await serve({}, () => ({ hang: true })), await serve({ eth_sendRawTransaction: RAW_HASH })],
      // The test's own deadline is shorter: waiting for this one would fail it.
      { timeoutMs: 600_000 },
    );
    expect((await chain.send(RAW)).kind).toBe("accepted");
    await chain.stop();
  });

  test("tells what an endpoint said, though another was silent", async () => {
    const chain = chainOf(
      [
        await serve({}, () => ({ hang: true })),
        await serve({}, () => refused("replacement transaction underpriced")),
      ],
      { timeoutMs: 100 },
    );
    const outcome = await chain.send(RAW);
    expect(outcome.kind).toBe("underpriced");
    expect(outcome.detail).toContain("replacement transaction underpriced");
  });

  test("is not accepted when the endpoint answers another hash", async () => {
    const chain = chainOf([await serve({ eth_sendRawTransaction: HASH })]);
    expect((await chain.send(RAW)).kind).toBe("unknown");
  });

  test("keeps its detail short", async () => {
    const chain = chainOf([await serve({}, () => refused("x".repeat(5_000)))]);
    const outcome = await chain.send(RAW);
    expect(outcome.kind).toBe("unknown");
    expect(outcome.detail.length).toBeLessThanOrEqual(300);
  });

  test("ends with the signal's reason when aborted on the way", async () => {
    const arrived = Promise.withResolvers<void>();
    const server = await serve({}, () => {
      arrived.resolve();
      return { hang: true };
    });
    const controller = new AbortController();
    const sending = chainOf([server]).send(RAW, { signal: controller.signal });
    await arrived.promise;
    const reason = new Error("lease lost");
    controller.abort(reason);
    await expect(sending).rejects.toBe(reason);
  });

  test("has one outcome for many: the best news, then the most telling", () => {
    const merged = (...kinds: readonly Parameters<typeof mergeOutcomes>[0][number]["kind"][]) =>
      mergeOutcomes(kinds.map((kind) => ({ kind, detail: kind }))).kind;
    expect(merged("nonce-too-low", "already-known")).toBe("already-known");
    expect(merged("already-known", "accepted")).toBe("accepted");
    expect(merged("unreachable", "nonce-too-low", "unknown")).toBe("nonce-too-low");
    expect(merged("unreachable", "unknown")).toBe("unknown");
    expect(merged("unreachable")).toBe("unreachable");
  });
});

describe("gas and fees", () => {
  test("leave headroom above the estimate", async () => {
    const chain = chainOf([await serve({ eth_estimateGas: "0xf4240" })]);
    const { gasLimit } = await chain.simulateBatch(CONTRACT, items("g", 2));
    expect(gasLimit).toBe(1_220_000n);
  });

  test("cover a batch of fresh keys even when all were duplicates as it was simulated", async () => {
    const chain = chainOf([await serve({ eth_estimateGas: "0xc350" })]);
    const { gasLimit } = await chain.simulateBatch(CONTRACT, items("g", 100));
    expect(gasLimit).toBeGreaterThan(100n * 25_200n + 21_000n);
  });

  test("fail without a retry when the contract refuses, and name its error", async () => {
    // NotSubmitter(address): selector and one word.
    const data = `${keccak256(new TextEncoder().encode("NotSubmitter(address)")).slice(0, 10)}${"0d".repeat(20).padStart(64, "0")}`;
    for (const shape of [data, { data }, `Reverted ${data}`]) {
      const server = await serve({}, (method) =>
        method === "eth_estimateGas"
          ? { error: { code: -32_000, message: "execution reverted", data: shape } }
          : null,
      );
      const error = await failure(chainOf([server]).simulateBatch(CONTRACT, items("g", 1)));
      expect(error).toMatchObject({ code: "REVERTED", retryable: false });
      expect(error.message.toLowerCase()).toContain(`notsubmitter(${OTHER})`);
    }
  });

  test("come from the floor when the endpoint has no tip to suggest", async () => {
    const chain = chainOf([await serve({})], { feePolicy: { minPriorityFeeWei: 9n } });
    expect(await chain.suggestFees()).toEqual({
      maxFeePerGasWei: 23n,
      maxPriorityFeePerGasWei: 9n,
    });
  });

  test("are not asked for an impossible batch", async () => {
    const chain = chainOf([await serve({})]);
    expect(() => chain.encodeBatch([])).toThrow(AssertionError);
    expect(() => chain.encodeBatch(items("g", 201))).toThrow(AssertionError);
    await expect(chain.simulateBatch(CONTRACT, [])).rejects.toBeInstanceOf(AssertionError);
  });
});

describe("fees by history", () => {
  const GWEI = 1_000_000_000n;
  const hex = (wei: bigint): string => `0x${wei.toString(16)}`;
  const history = (tips: readonly bigint[], nextBase = 7n * GWEI, used = tips.map(() => 0.5)) => ({
    oldestBlock: "0x1",
    baseFeePerGas: [...tips.map(() => hex(GWEI)), hex(nextBase)],
    gasUsedRatio: used,
    reward: tips.map((tip) => [hex(tip)]),
  });
  const feesOf = async (script: Script) => await chainOf([await serve(script)]).suggestFees();

  test("are the next base fee twice and the middle tip of what was paid", async () => {
    const tips = [2n * GWEI, 90n * GWEI, 3n * GWEI];
    expect(await feesOf({ eth_feeHistory: history(tips) })).toEqual({
      maxFeePerGasWei: 17n * GWEI,
      maxPriorityFeePerGasWei: 3n * GWEI,
    });
  });

  test("heed no empty block, and fall back to the endpoint's own tip when all were empty", async () => {
    const tips = [0n, 0n, 5n * GWEI];
    const some = history(tips, 7n * GWEI, [0, 0, 0.1]);
    expect((await feesOf({ eth_feeHistory: some })).maxPriorityFeePerGasWei).toBe(5n * GWEI);
    const none = history([0n, 0n], 7n * GWEI, [0, 0]);
    expect(
      await feesOf({ eth_feeHistory: none, eth_maxPriorityFeePerGas: hex(4n * GWEI) }),
    ).toEqual({ maxFeePerGasWei: 18n * GWEI, maxPriorityFeePerGasWei: 4n * GWEI });
  });

  test("stay within the cap and above the least tip", async () => {
    const server = await serve({ eth_feeHistory: history([1n, 1n, 1n]) });
    const capped = chainOf([server], { feePolicy: { maxFeeCapWei: 10n * GWEI } });
    expect(await capped.suggestFees()).toEqual({
      maxFeePerGasWei: 10n * GWEI,
      maxPriorityFeePerGasWei: GWEI,
    });
  });

  test("of a chain without EIP-1559 are refused though its history answers", async () => {
    const zeros = history([0n], 0n);
    const error = await failure(
      feesOf({ eth_feeHistory: zeros, eth_getBlockByNumber: block({ baseFeePerGas: null }) }),
    );
    expect(error).toMatchObject({ code: "WRONG_CHAIN", retryable: false });
  });

  test("of a chain whose base fee is zero are the tip alone, and refused when that is zero too", async () => {
    const script = {
      eth_feeHistory: history([0n], 0n),
      eth_getBlockByNumber: block({ baseFeePerGas: "0x0" }),
      eth_maxPriorityFeePerGas: "0x0",
    };
    expect(await feesOf(script)).toEqual({ maxFeePerGasWei: GWEI, maxPriorityFeePerGasWei: GWEI });
    const free = chainOf([await serve(script)], { feePolicy: { minPriorityFeeWei: 0n } });
    const error = await failure(free.suggestFees());
    expect(error).toMatchObject({ code: "RPC_ERROR", retryable: false });
    expect(error.message).toContain("base fee is zero");
  });

  test.each([
    ["a text", "soon"],
    ["without a next base fee", { baseFeePerGas: [] }],
    ["with a reward that is none", { ...history([1n]), reward: [[7]] }],
  ])("are not read from a history that is %s", async (_name, answer) => {
    expect((await failure(feesOf({ eth_feeHistory: answer }))).code).toBe("RPC_ERROR");
  });
});

describe("watching heads", () => {
  test("calls back once per head, never twice at a time, and outlasts a failing endpoint", async () => {
    const script = [
      block({ number: "0x1", hash: `0x${"01".repeat(32)}` }),
      block({ number: "0x1", hash: `0x${"01".repeat(32)}` }),
      null,
      // The same height after a reorg: another hash is another head.
      block({ number: "0x1", hash: `0x${"02".repeat(32)}` }),
      block({ number: "0x2", hash: `0x${"03".repeat(32)}` }),
    ];
    let at = 0;
    const server = await serve({}, (method) => {
      if (method !== "eth_getBlockByNumber") return null;
      const answer = script[Math.min(at++, script.length - 1)];
      return answer === null ? { status: 500, text: "" } : { result: answer };
    });
    const chain = chainOf([server], { headPollIntervalMs: 1, unhealthyMs: 0 });
    const controller = new AbortController();
    const heads: string[] = [];
    let inside = 0;
    await chain.watchHeads(
      async (head) => {
        expect(++inside).toBe(1);
        await systemClock.sleep(5);
        inside--;
        heads.push(`${head.number}:${head.hash.slice(2, 4)}`);
        if (head.number === 2n) controller.abort();
      },
      { signal: controller.signal },
    );
    expect(heads).toEqual(["1:01", "1:02", "2:03"]);
  });

  test("ends when the chain is stopped", async () => {
    const chain = chainOf([await serve({})], { headPollIntervalMs: 600_000 });
    const first = Promise.withResolvers<void>();
    const watching = chain.watchHeads(() => first.resolve(), {});
    await first.promise;
    await chain.stop();
    await watching;
  });

  test("passes on what the callback throws", async () => {
    const chain = chainOf([await serve({})]);
    const bug = new Error("bug in the caller");
    await expect(
      chain.watchHeads(() => {
        throw bug;
      }, {}),
    ).rejects.toBe(bug);
  });
});
