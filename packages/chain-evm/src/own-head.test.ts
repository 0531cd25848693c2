import { afterEach, describe, expect, test } from "vitest";

import {
  BLOCK_HASH,
  block,
  chainOf,
  closeEndpoints,
  failure,
  HASH,
  receipt,
  serve,
} from "./scripted-chain.ts";
import { item, type ScriptedRpc } from "./test-world.ts";

afterEach(closeEndpoints);

const FAR = "0xe8d4a51000";
const word = (value: number | bigint): string => value.toString(16).padStart(64, "0");
const { txId } = item("far", 0n);

/** Has any block that is asked for by its height, and says that its head is block 5. */
const withBlocks = (script: Readonly<Record<string, unknown>>): Promise<ScriptedRpc> =>
  serve(script, (method, [which]) =>
    method === "eth_getBlockByNumber"
      ? { result: block({ number: which === "latest" ? "0x5" : which }) }
      : null,
  );
const receiptIn = (blockNumber: string): Promise<ScriptedRpc> =>
  withBlocks({ eth_getTransactionReceipt: receipt({ blockNumber, blockHash: BLOCK_HASH }) });
const recordIn = (blockNumber: number | bigint): Promise<ScriptedRpc> =>
  withBlocks({ eth_call: `0x${word(1)}${word(42)}${word(blockNumber)}` });
const recordsIn = (blockNumber: number | bigint): Promise<ScriptedRpc> =>
  withBlocks({
    eth_call: `0x${word(32)}${word(2)}${word(0).repeat(3)}${word(42)}${word(blockNumber)}${word(1)}`,
  });

describe("an endpoint that names a block above its own head", () => {
  test("in a receipt is not believed, and set aside", async () => {
    for (const number of [FAR, "0x6"]) {
      const error = await failure(chainOf([await receiptIn(number)]).receipt(HASH));
      expect(error).toMatchObject({ code: "RPC_ERROR", retryable: true });
      expect(error.message).toContain("the endpoint's own head is block 5");
    }
    const liar = await receiptIn(FAR);
    const troubles: string[] = [];
    const chain = chainOf(
      [liar, await serve({ eth_getTransactionReceipt: null })],
      {},
      { onEndpointTrouble: (endpoint, trouble) => void troubles.push(`${endpoint} ${trouble}`) },
    );
    expect(await chain.receipt(HASH)).toBeNull();
    expect(troubles).toEqual([`${new URL(liar.url).host} failed`]);
    const asked = liar.seen.length;
    expect(await chain.receipt(HASH)).toBeNull();
    expect(liar.seen).toHaveLength(asked);
    expect(await chainOf([await receiptIn("0x5")]).receipt(HASH)).toMatchObject({
      blockNumber: 5n,
    });
  });

  test("in a record is not believed, one by one and in a batch", async () => {
    for (const number of [6, 10n ** 12n]) {
      for (const at of ["latest", 10n ** 13n] as const) {
        const one = chainOf([await recordIn(number)]).recordOf(txId, at);
        expect((await failure(one)).message).toContain("the endpoint's own head is block 5");
        const many = chainOf([await recordsIn(number)]).recordsOf([txId, txId], at);
        expect((await failure(many)).message).toContain("the endpoint's own head is block 5");
      }
    }
    const record = { value: 42n, blockNumber: 5n };
    expect(await chainOf([await recordIn(5)]).recordOf(txId, "latest")).toEqual(record);
    const two = chainOf([await recordsIn(5)]);
    expect(await two.recordsOf([txId, txId], 5n)).toEqual([null, record]);
  });

  test("or a record made after the block that was asked about is not believed", async () => {
    const error = await failure(chainOf([await recordIn(5)]).recordOf(txId, 4n));
    expect(error).toMatchObject({ code: "RPC_ERROR", retryable: true });
    expect(error.message).toContain("a record of block 5 at block 4");
  });
});
