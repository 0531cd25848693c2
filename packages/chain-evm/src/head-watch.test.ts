import type { BlockRef, Chain } from "@quorate/ports";
import { hexToBytes } from "viem";
import { afterEach, describe, expect, test } from "vitest";

import type { EvmChainOptions } from "./evm-chain.ts";
import { HEAD_LAG_BLOCKS_MAX } from "./head-watch.ts";
import { block, CONTRACT, chainOf, closeEndpoints, serve } from "./scripted-chain.ts";
import { createListLogger, type Scripted, type ScriptedRpc } from "./test-world.ts";

afterEach(closeEndpoints);

const LATEST = { kind: "confirmations", blocks: 0 } as const;
const LAG = Number(HEAD_LAG_BLOCKS_MAX);

type Heads = () => number | Scripted;

/** An endpoint at a height of its own, with a balance by which it is known. */
function serveHead(balance: number, heads: Heads): Promise<ScriptedRpc> {
  const account = { eth_getBalance: `0x${balance}`, eth_getTransactionCount: "0x4" };
  return serve(account, (method, params) => {
    if (method !== "eth_getBlockByNumber") return null;
    const head = params[0] === "latest" ? heads() : Number(params[0]);
    if (typeof head !== "number") return head;
    const number = `0x${head.toString(16)}`;
    return { result: block({ number, hash: `0x${number.slice(2).padStart(64, "0")}` }) };
  });
}

/** Watches until `until` says so; what was told until then. */
async function watch(
  servers: readonly ScriptedRpc[],
  until: (head: BlockRef, chain: Chain) => boolean | Promise<boolean>,
  options: Partial<EvmChainOptions> = {},
): Promise<{ readonly told: readonly number[]; readonly lines: readonly string[] }> {
  const logger = createListLogger();
  const chain = chainOf(servers, { headPollIntervalMs: 1, ...options }, { logger });
  const stop = new AbortController();
  const told: number[] = [];
  await chain.watchHeads(
    async (head) => {
      told.push(Number(head.number));
      if (await until(head, chain)) stop.abort();
    },
    { signal: stop.signal },
  );
  await chain.stop();
  return { told, lines: logger.lines };
}

const growing = (from: number): Heads => {
  let at = from;
  return () => at++;
};

describe("watched heads", () => {
  test("go on when the first endpoint stands still at an old block", async () => {
    const servers = [await serveHead(1, () => 7), await serveHead(2, growing(100))];
    const { told } = await watch(servers, ({ number }) => number >= 110n);
    expect(told.every((number, index) => number === 100 + index)).toBe(true);
    expect(told).toHaveLength(11);
  });

  test("go on when an endpoint stands still at a block that nobody will ever reach", async () => {
    const servers = [await serveHead(1, () => 10 ** 12), await serveHead(2, growing(100))];
    const { told } = await watch(servers, ({ number }) => number > 115n && number < 10n ** 9n);
    expect(told[0]).toBe(10 ** 12);
    expect(told.at(-1)).toBeGreaterThan(115);
  });

  test("are told while one endpoint is silent, which is not asked anew at each look", async () => {
    const silent = await serveHead(1, () => ({ hang: true }));
    const servers = [silent, await serveHead(2, growing(100))];
    const { told } = await watch(servers, ({ number }) => number >= 102n, { timeoutMs: 600_000 });
    expect(told).toEqual([100, 101, 102]);
    const asked = silent.seen.filter(({ method }) => method === "eth_getBlockByNumber");
    expect(asked).toHaveLength(1);
  });

  test("do not go back when the endpoint that is ahead has yet to answer", async () => {
    let looks = 0;
    const ahead = (): number | Scripted => (looks++ === 0 ? 105 : { hang: true });
    const servers = [await serveHead(1, ahead), await serveHead(2, growing(103))];
    const { told } = await watch(servers, ({ number }) => number >= 107n, { timeoutMs: 600_000 });
    expect(told).toEqual([105, 106, 107]);
  });
});

describe("an endpoint that lags", () => {
  test("by too much is read from last until it catches up, and gets raw transactions all the same", async () => {
    for (const [behind, first] of [
      [LAG, 1n],
      [LAG + 1, 2n],
    ] as const) {
      let top = 200;
      const lagging = await serveHead(1, () => (top < 202 ? top - behind : top));
      const leading = await serveHead(2, () => top);
      const balances: bigint[] = [];
      const problems: (string | null | undefined)[] = [];
      const { lines } = await watch([lagging, leading], async (head, chain) => {
        balances.push(await chain.balanceWei(CONTRACT));
        if (top === 200) {
          await chain.send(hexToBytes("0x02c0"));
          const [report] = await chain.endpointReports(CONTRACT, LATEST);
          problems.push(report?.problem);
        }
        top++;
        return head.number === 203n;
      });
      // By the third look it is in step.
      expect(balances.slice(0, 2)).toEqual([first, first]);
      expect(balances.at(-1)).toBe(1n);
      const sends = lagging.seen.filter(({ method }) => method === "eth_sendRawTransaction");
      expect(sends).toHaveLength(1);
      const lags = expect.stringContaining(`${behind} blocks behind`);
      expect(problems).toEqual([first === 1n ? null : lags]);
      expect(lines.filter((line) => line.includes("lags"))).toHaveLength(first === 1n ? 0 : 1);
    }
  });

  test("is not held against it once nobody watches", async () => {
    const servers = [await serveHead(1, () => 7), await serveHead(2, growing(100))];
    let seen: Chain | null = null;
    const chain = chainOf(servers, { headPollIntervalMs: 1 });
    const stop = new AbortController();
    await chain.watchHeads(
      async () => {
        seen = chain;
        expect(await chain.balanceWei(CONTRACT)).toBe(2n);
        stop.abort();
      },
      { signal: stop.signal },
    );
    expect(seen).toBe(chain);
    expect(await chain.balanceWei(CONTRACT)).toBe(1n);
  });

  test("is not made of two by a third that runs ahead alone", async () => {
    const servers = [
      await serveHead(1, growing(100)),
      await serveHead(2, growing(100)),
      await serveHead(3, growing(10 ** 9)),
    ];
    const balances: bigint[] = [];
    await watch(servers, async (_head, chain) => {
      balances.push(await chain.balanceWei(CONTRACT));
      return balances.length === 3;
    });
    expect(balances).toEqual([1n, 1n, 1n]);
  });

  test("at something else stays aside though it names its head", async () => {
    let failing = true;
    const first = await serve(
      { eth_getBalance: "0x1", eth_getBlockByNumber: block({ number: "0x65" }) },
      (method) => (method === "eth_getBalance" && failing ? { status: 503, text: "" } : null),
    );
    const servers = [first, await serveHead(2, growing(100))];
    let looks = 0;
    await watch(servers, async (_head, chain) => {
      expect(await chain.balanceWei(CONTRACT)).toBe(2n);
      failing = false;
      return ++looks === 3;
    });
    const asked = first.seen.filter(({ method }) => method === "eth_getBalance");
    expect(asked).toHaveLength(1);
  });
});
