import { assert } from "@quorate/core";
import type { AbortOptions, Hex, RecordedEvent } from "@quorate/ports";

import { type RpcCall, RpcFailure } from "./json-rpc.ts";
import { decodeRecordEvent, recordedTopic } from "./recorder-codec.ts";
import { isRangeTooWide } from "./rpc-errors.ts";
import { type LogShape, quantity, readLogs } from "./rpc-shapes.ts";

/** What public endpoints allow at once; halved when one refuses. */
export const BLOCKS_PER_CALL_DEFAULT = 2_000;
// After so many answers in a row the step is doubled again: one crowded stretch must not make the rest of a long
// history slow, and what is refused again costs one call in five.
const GROW_AFTER_ANSWERS = 4;

export interface EventRange {
  readonly address: Hex;
  /** Both included. */
  readonly from: bigint;
  readonly to: bigint;
}

/**
 * All `Recorded` events of the contract in a range, in chain order, from ONE endpoint. What it refuses as too much, or
 * answers at greater length than is read, is asked for in smaller steps, down to one block.
 * @throws RpcFailure; its text names the blocks it failed at.
 */
export async function scanRecordedEvents(
  call: RpcCall,
  range: EventRange,
  options: AbortOptions & { readonly blocksPerCall?: number | undefined },
): Promise<readonly RecordedEvent[]> {
  const widest = BigInt(options.blocksPerCall ?? BLOCKS_PER_CALL_DEFAULT);
  let step = widest;
  let answers = 0;
  assert(step >= 1n, "a call asks for at least one block");
  const events: RecordedEvent[] = [];
  for (let from = range.from; from <= range.to; ) {
    const last = from + step - 1n;
    const to = last < range.to ? last : range.to;
    try {
      const found = await readRange(call, { address: range.address, from, to }, options);
      // One by one: as arguments of one call so many would overflow the stack.
      for (const event of found) events.push(event);
      from = to + 1n;
      if (++answers % GROW_AFTER_ANSWERS === 0 && step < widest)
        step = 2n * step < widest ? 2n * step : widest;
    } catch (error) {
      if (!(error instanceof RpcFailure)) throw error;
      const tooMuch = error.tooLong || (error.kind === "error" && isRangeTooWide(error.text));
      if (tooMuch && to > from) {
        step = (to - from + 1n) / 2n;
        answers = 0;
        continue;
      }
      const where = tooMuch
        ? `events of block ${from}, which can't be asked for in smaller steps`
        : `events of blocks ${from} to ${to}`;
      throw new RpcFailure(error.kind, `${where}: ${error.text}`, {
        tooLong: error.tooLong,
        rpcCode: error.rpcCode,
        data: error.data,
        cause: error,
      });
    }
  }
  return events;
}

async function readRange(
  call: RpcCall,
  range: EventRange,
  { signal }: AbortOptions,
): Promise<readonly RecordedEvent[]> {
  const filter = {
    address: range.address,
    topics: [recordedTopic],
    fromBlock: quantity(range.from),
    toBlock: quantity(range.to),
  };
  const logs = readLogs(await call("eth_getLogs", [filter], { signal }));
  return logs
    .map((log) => toRecordedEvent(log, range))
    .toSorted((a, b) => Number(a.blockNumber - b.blockNumber) || a.logIndex - b.logIndex);
}

function toRecordedEvent(log: LogShape, range: EventRange): RecordedEvent {
  const event = decodeRecordEvent(log);
  const asked =
    log.address === range.address && log.blockNumber >= range.from && log.blockNumber <= range.to;
  if (!asked || event?.kind !== "recorded") {
    throw new RpcFailure("malformed", "the answer holds a log that was not asked for");
  }
  return {
    key: event.key,
    value: event.value,
    blockNumber: log.blockNumber,
    txHash: log.transactionHash,
    logIndex: log.logIndex,
  };
}
