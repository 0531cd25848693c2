import { assert, type ClusterId, LIMITS, parseValue, type Value } from "@quorate/core";
import type { ChainRecord, Hex, RecordEvent, RecordItem } from "@quorate/ports";
import {
  decodeErrorResult,
  decodeEventLog,
  decodeFunctionResult,
  encodeEventTopics,
  encodeFunctionData,
} from "viem";

import { parseHex } from "./hex.ts";
import { isRecord, RpcFailure } from "./json-rpc.ts";
import { recordKeyOf } from "./record-key.ts";
import { recorderAbi } from "./recorder.generated.ts";
import type { LogShape } from "./rpc-shapes.ts";

const [RECORDED_TOPIC] = encodeEventTopics({ abi: recorderAbi, eventName: "Recorded" });
const [DUPLICATE_TOPIC] = encodeEventTopics({ abi: recorderAbi, eventName: "Duplicate" });

/** First topic of `Recorded`, for log filters. */
export const recordedTopic: Hex = RECORDED_TOPIC;

/**
 * The call that records a batch. Pure; the same items give the same bytes.
 * @param items 1 to LIMITS.chainBatchMax; another number is a bug and throws.
 */
export function encodeRecordBatch(clusterId: ClusterId, items: readonly RecordItem[]): Hex {
  assert(items.length > 0, "a batch holds at least one item");
  assert(items.length <= LIMITS.chainBatchMax, "a batch holds at most LIMITS.chainBatchMax items");
  return encodeFunctionData({
    abi: recorderAbi,
    functionName: "recordBatch",
    args: [items.map((item) => recordKeyOf(clusterId, item.txId)), items.map((item) => item.value)],
  });
}

export function encodeRecordOf(key: Hex): Hex {
  return encodeFunctionData({ abi: recorderAbi, functionName: "recordOf", args: [key] });
}

export function encodeRecordsOf(keys: readonly Hex[]): Hex {
  return encodeFunctionData({ abi: recorderAbi, functionName: "recordsOf", args: [keys] });
}

export function encodeDomain(): Hex {
  return encodeFunctionData({ abi: recorderAbi, functionName: "DOMAIN" });
}

/** Reads what `recordOf` returned; null when there is no record. */
export function decodeRecordOf(data: Hex): ChainRecord | null {
  const [recorded, value, blockNumber] = decoding("recordOf result", () =>
    decodeFunctionResult({ abi: recorderAbi, functionName: "recordOf", data }),
  );
  return recorded ? { value: toValue(value), blockNumber } : null;
}

/** Reads what `recordsOf` returned for `count` keys; null for each without a record. */
export function decodeRecordsOf(data: Hex, count: number): readonly (ChainRecord | null)[] {
  const records = decoding("recordsOf result", () =>
    decodeFunctionResult({ abi: recorderAbi, functionName: "recordsOf", data }),
  );
  if (records.length !== count)
    throw new RpcFailure("malformed", "the answer has another number of records than was asked");
  return records.map(({ set, value, blockNumber }) =>
    set ? { value: toValue(value), blockNumber } : null,
  );
}

/** Reads one log of the contract; null when it is an event of another kind (a role change). */
export function decodeRecordEvent(log: LogShape): RecordEvent | null {
  const [topic, key] = log.topics;
  if (topic !== RECORDED_TOPIC && topic !== DUPLICATE_TOPIC) return null;
  if (key === undefined || log.topics.length !== 2) {
    throw new RpcFailure("malformed", "the answer has a bad event of the contract");
  }
  const event = decoding("event of the contract", () =>
    decodeEventLog({ abi: recorderAbi, topics: [topic, key], data: log.data, strict: true }),
  );
  if (event.eventName === "Recorded") {
    return { kind: "recorded", key, value: toValue(event.args.value) };
  }
  if (event.eventName === "Duplicate") {
    const { standing, refused } = event.args;
    return { kind: "duplicate", key, value: toValue(standing), same: standing === refused };
  }
  return null;
}

/**
 * The contract's custom error in the data of a failed call, as "Name(arguments)";
 * null when there is none (a plain revert, or an endpoint that hides the data).
 */
export function decodeRevert(errorData: unknown): string | null {
  const data = findRevertData(errorData);
  if (data === null) return null;
  try {
    const { errorName, args } = decodeErrorResult({ abi: recorderAbi, data });
    return `${errorName}(${(args ?? []).map(String).join(", ")})`;
  } catch {
    return null;
  }
}

const REVERT_DATA_DEPTH_MAX = 3;

// Endpoints put the bytes in `data`, in `data.data`, or (nethermind, parity) behind a word: "Reverted 0x…".
function findRevertData(value: unknown, depth = 0): Hex | null {
  if (typeof value === "string") {
    const hex = parseHex(value.replace(/^reverted\s+/i, ""));
    return hex !== null && hex.length >= 10 ? hex : null;
  }
  if (!isRecord(value) || depth === REVERT_DATA_DEPTH_MAX) return null;
  return findRevertData(value["data"] ?? value["originalError"], depth + 1);
}

function decoding<T>(what: string, decode: () => T): T {
  try {
    return decode();
  } catch (error) {
    throw new RpcFailure("malformed", `the answer has a bad ${what}`, { cause: error });
  }
}

function toValue(input: bigint): Value {
  const value = parseValue(input);
  if (!value.ok) throw new RpcFailure("malformed", "the answer has a value beyond 64 bits");
  return value.value;
}
