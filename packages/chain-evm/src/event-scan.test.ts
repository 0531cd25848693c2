import { afterEach, describe, expect, test } from "vitest";

import { scanRecordedEvents } from "./event-scan.ts";
import { addressHex } from "./hex.ts";
import { isRecord, type RpcCall, RpcFailure } from "./json-rpc.ts";
import { LOGS_MAX } from "./rpc-shapes.ts";
import { CONTRACT, chainOf, closeEndpoints, failure, log, serve } from "./scripted-chain.ts";

afterEach(closeEndpoints);

const ADDRESS = addressHex(CONTRACT);

interface Asked {
  readonly from: number;
  readonly to: number;
}

/** An endpoint with one event in each block, which answers a range as `answer` wants. */
function endpoint(answer: (asked: Asked, honest: readonly unknown[]) => unknown): {
  readonly call: RpcCall;
  readonly asked: Asked[];
} {
  const asked: Asked[] = [];
  const call: RpcCall = async (_method, [filter]) => {
    const { fromBlock, toBlock } = isRecord(filter) ? filter : {};
    const range = { from: Number(fromBlock), to: Number(toBlock) };
    asked.push(range);
    return answer(range, eventsOf(range));
  };
  return { call, asked };
}

const eventsOf = ({ from, to }: Asked): readonly unknown[] =>
  Array.from({ length: to - from + 1 }, (_, index) =>
    log({ blockNumber: `0x${(from + index).toString(16)}` }),
  );

const scan = async (call: RpcCall, to: bigint, blocksPerCall: number) =>
  (await scanRecordedEvents(call, { address: ADDRESS, from: 1n, to }, { blocksPerCall })).map(
    ({ blockNumber }) => Number(blockNumber),
  );

const upTo = (last: number): readonly number[] => Array.from({ length: last }, (_, i) => i + 1);

describe("a scan for events", () => {
  test.each([
    [
      "has too many logs",
      (honest: readonly unknown[]) => [...honest, ...Array(LOGS_MAX).fill(log())],
    ],
    [
      "is longer than is read",
      () => {
        throw new RpcFailure("malformed", "too long", { tooLong: true });
      },
    ],
    [
      "is refused as too wide a range",
      () => {
        throw new RpcFailure("error", "block range too wide");
      },
    ],
  ])(
    "asks in halves when the answer %s, down to one block, and misses none",
    async (_, tooMuch) => {
      // Only single blocks pass in the middle.
      const { call, asked } = endpoint(({ from, to }, honest) =>
        to > from && from <= 9 && to >= 8 ? tooMuch(honest) : honest,
      );
      expect(await scan(call, 16n, 16)).toEqual(upTo(16));
      expect(asked.slice(0, 3)).toEqual([
        { from: 1, to: 16 },
        { from: 1, to: 8 },
        { from: 1, to: 4 },
      ]);
    },
  );

  test("asks for more again after a crowded stretch, and never for more than at first", async () => {
    const { call, asked } = endpoint(({ from, to }, honest) => {
      if (from < 10 && to > from) throw new RpcFailure("error", "range too wide");
      return honest;
    });
    expect(await scan(call, 1_000n, 100)).toEqual(upTo(1_000));
    const widths = asked.map(({ from, to }) => to - from + 1);
    expect(widths.slice(-3, -1)).toEqual([100, 100]);
    expect(Math.max(...widths)).toBe(100);
    expect(asked.length).toBeLessThan(70);
  });

  test("fails and names the block when one block alone is too much", async () => {
    const { call } = endpoint(({ from, to }, honest) => {
      if (from <= 5 && to >= 5) throw new RpcFailure("malformed", "too long", { tooLong: true });
      return honest;
    });
    await expect(scan(call, 16n, 16)).rejects.toMatchObject({
      kind: "malformed",
      text: "events of block 5, which can't be asked for in smaller steps: too long",
    });
  });

  test("does not ask in halves for what is nonsense", async () => {
    const { call, asked } = endpoint(() => "lots");
    await expect(scan(call, 16n, 16)).rejects.toMatchObject({ kind: "malformed" });
    expect(asked).toHaveLength(1);
  });

  test("of an endpoint whose answer is longer than is read goes on in halves", async () => {
    const long = "x".repeat(17 * 1_024 * 1_024);
    let asked = 0;
    const server = await serve({}, (method, [filter]) => {
      if (method !== "eth_getLogs") return null;
      asked++;
      const { fromBlock, toBlock } = isRecord(filter) ? filter : {};
      const range = { from: Number(fromBlock), to: Number(toBlock) };
      return { result: range.to > 3 && range.from < 3 ? [long] : eventsOf(range) };
    });
    expect(await chainOf([server]).recordedEvents(2n, 5n)).toHaveLength(4);
    expect(asked).toBe(3);
    const flood = await serve({ eth_getLogs: [long] });
    const error = await failure(chainOf([flood]).recordedEvents(5n, 5n));
    expect(error).toMatchObject({ code: "RPC_ERROR", retryable: true });
    expect(error.message).toContain("events of block 5, which can't be asked for in smaller steps");
  });
});
