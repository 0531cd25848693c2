import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";

import { type AnvilWorld, startAnvilWorld } from "./anvil-world.ts";
import { isRecord } from "./json-rpc.ts";
import { failure } from "./scripted-chain.ts";
import { item, type Scripted, type ScriptedRpc, startScriptedRpc } from "./test-world.ts";

// A real node, and a proxy before the same node that alters what it says.

const AGREED = { agreed: true };

let world: AnvilWorld;
const proxies: ScriptedRpc[] = [];
beforeAll(async () => {
  world = await startAnvilWorld();
});
afterEach(async () => {
  await Promise.all(proxies.splice(0).map((proxy) => proxy.close()));
});
afterAll(async () => {
  await world.stop();
});

type Alter = (method: string, params: readonly unknown[], honest: unknown) => unknown;

async function proxy(alter: Alter): Promise<string> {
  const server = await startScriptedRpc(async (method, params): Promise<Scripted> => {
    const honest = await world.rpc(method, ...params);
    return { result: alter(method, params, honest) };
  });
  proxies.push(server);
  return server.url;
}

const changing =
  (wanted: string, change: (honest: unknown) => unknown): Alter =>
  (method, _params, honest) =>
    method === wanted ? change(honest) : honest;

describe("against a node and a proxy that lies", () => {
  test("nothing that decides is believed, and with a second honest endpoint the truth is", async () => {
    const { txId, value } = item("lied-about", 5n);
    const { hash, blockNumber } = await world.record([{ txId, value }]);
    const { submitter } = world;
    const { number: to } = await world.chain.head();
    const lies: readonly [Alter, (chain: typeof world.chain) => Promise<unknown>, unknown][] = [
      [
        changing("eth_getTransactionReceipt", (honest) =>
          isRecord(honest) ? { ...honest, status: "0x0" } : honest,
        ),
        async (chain) => (await chain.receipt(hash, AGREED))?.status,
        "success",
      ],
      [
        changing("eth_getTransactionReceipt", () => null),
        async (chain) => (await chain.receipt(hash, AGREED))?.blockNumber,
        blockNumber,
      ],
      [
        changing("eth_getTransactionCount", () => "0x99"),
        (chain) => chain.transactionCount(submitter.address, blockNumber, AGREED),
        await world.chain.transactionCount(submitter.address, blockNumber),
      ],
      [
        changing("eth_call", (honest) => `0x${"0".repeat(String(honest).length - 2)}`),
        (chain) => chain.recordOf(txId, blockNumber, AGREED),
        { value, blockNumber },
      ],
      [
        changing("eth_getLogs", () => []),
        async (chain) => (await chain.recordedEvents(blockNumber, to, AGREED)).length,
        1,
      ],
    ];
    for (const [alter, read, truth] of lies) {
      const liar = await proxy(alter);
      const honest = await proxy((_method, _params, said) => said);
      const two = world.connect({ rpcUrls: [world.anvil.rpcUrl, liar] });
      expect(await failure(read(two))).toMatchObject({ code: "RPC_DISAGREE", retryable: true });
      const three = world.connect({ rpcUrls: [liar, world.anvil.rpcUrl, honest] });
      expect(await read(three)).toEqual(truth);
      await Promise.all([two.stop(), three.stop()]);
    }
  });

  test("the final block is the lagging one's, and events above it are not taken from it", async () => {
    const { blockNumber } = await world.record([item("lagged", 1n)]);
    const behindBy = 3n;
    const hex = (number: bigint): string => `0x${number.toString(16)}`;
    const end = blockNumber - behindBy;
    const server = await startScriptedRpc(async (method, params): Promise<Scripted> => {
      const [which] = params;
      if (method !== "eth_getBlockByNumber") return { result: await world.rpc(method, ...params) };
      const beyond = which !== "latest" && BigInt(String(which)) > end;
      const asked = which === "latest" ? hex(end) : which;
      return { result: beyond ? null : await world.rpc(method, asked, false) };
    });
    proxies.push(server);
    const chain = world.connect({ rpcUrls: [world.anvil.rpcUrl, server.url] });
    const newest = { kind: "confirmations", blocks: 0 } as const;
    expect((await chain.finalizedHead(newest, AGREED))?.number).toBe(end);
    expect((await failure(chain.recordedEvents(end, blockNumber, AGREED))).message).toContain(
      `no block ${blockNumber} yet`,
    );
    expect(await chain.recordedEvents(end, end, AGREED)).toEqual([]);
    await chain.stop();
  });
});
