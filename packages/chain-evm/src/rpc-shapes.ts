import type { BlockRef, Hex } from "@quorate/ports";

import { parseHex } from "./hex.ts";
import { isRecord, RpcFailure } from "./json-rpc.ts";

// What an endpoint answers is checked field by field: a wrong shape is a failure
// of the endpoint ("malformed"), never a value that goes on into the program.

/** A log entry as far as the recorder's events need it. */
export interface LogShape {
  readonly address: Hex;
  readonly topics: readonly Hex[];
  readonly data: Hex;
  readonly blockNumber: bigint;
  readonly transactionHash: Hex;
  readonly logIndex: number;
}

export interface ReceiptShape {
  readonly transactionHash: Hex;
  readonly status: "success" | "reverted";
  readonly blockNumber: bigint;
  readonly blockHash: Hex;
  readonly gasUsed: bigint;
  readonly contractAddress: Hex | null;
  readonly logs: readonly LogShape[];
}

const QUANTITY = /^0x(?:0|[1-9a-f][0-9a-f]{0,63})$/;
// Logs in one block or one range; a defence against an endpoint that floods us.
export const LOGS_MAX = 200_000;

function malformed(what: string): RpcFailure {
  return new RpcFailure("malformed", `the answer has a bad ${what}`);
}

/** A JSON-RPC quantity: 0x, then digits without a leading zero, at most 256 bits. */
export function readQuantity(value: unknown, what: string): bigint {
  const hex = parseHex(value);
  if (hex === null || !QUANTITY.test(hex)) throw malformed(what);
  return BigInt(hex);
}

/** Bytes of exactly this length. */
export function readBytes(value: unknown, sizeBytes: number, what: string): Hex {
  const hex = parseHex(value);
  if (hex === null || hex.length !== 2 + 2 * sizeBytes) throw malformed(what);
  return hex;
}

/** Bytes of any length. */
export function readData(value: unknown, what: string): Hex {
  const hex = parseHex(value);
  if (hex === null || hex.length % 2 !== 0) throw malformed(what);
  return hex;
}

/** A block, or null when the endpoint has none. */
export function readBlock(value: unknown): BlockRef | null {
  if (value === null) return null;
  if (!isRecord(value)) throw malformed("block");
  return {
    number: readQuantity(value["number"], "block number"),
    hash: readBytes(value["hash"], 32, "block hash"),
    timestampSeconds: readQuantity(value["timestamp"], "block timestamp"),
    // A chain without EIP-1559 lacks it; our transactions would not be valid there.
    baseFeePerGasWei: readQuantity(value["baseFeePerGas"], "baseFeePerGas"),
  };
}

export function readLog(value: unknown): LogShape {
  if (!isRecord(value)) throw malformed("log");
  const { topics } = value;
  if (!Array.isArray(topics) || topics.length > 4) throw malformed("log topics");
  return {
    address: readBytes(value["address"], 20, "log address"),
    topics: topics.map((topic: unknown) => readBytes(topic, 32, "log topic")),
    data: readData(value["data"], "log data"),
    blockNumber: readQuantity(value["blockNumber"], "log blockNumber"),
    transactionHash: readBytes(value["transactionHash"], 32, "log transactionHash"),
    logIndex: Number(readQuantity(value["logIndex"], "log logIndex")),
  };
}

export function readLogs(value: unknown): readonly LogShape[] {
  if (!Array.isArray(value)) throw malformed("list of logs");
  if (value.length > LOGS_MAX) {
    const text = `the answer has more than ${LOGS_MAX} logs`;
    throw new RpcFailure("malformed", text, { tooLong: true });
  }
  return value.map(readLog);
}

/** The receipt of `hash`, or null when the endpoint has none. */
export function readReceipt(value: unknown, hash: Hex): ReceiptShape | null {
  if (value === null) return null;
  if (!isRecord(value)) throw malformed("receipt");
  // A pending transaction's "receipt" on some endpoints: not in a block, hence none.
  if (value["blockHash"] === null || value["blockNumber"] === null) return null;
  const transactionHash = readBytes(value["transactionHash"], 32, "receipt transactionHash");
  if (transactionHash !== hash) throw malformed("receipt (it belongs to another transaction)");
  const logs = readLogs(value["logs"]);
  if (logs.some((log) => log.transactionHash !== hash)) {
    throw malformed("receipt (it holds another transaction's log)");
  }
  const status = readQuantity(value["status"], "receipt status");
  if (status !== 0n && status !== 1n) throw malformed("receipt status");
  const created = value["contractAddress"] ?? null;
  return {
    transactionHash,
    status: status === 1n ? "success" : "reverted",
    blockNumber: readQuantity(value["blockNumber"], "receipt blockNumber"),
    blockHash: readBytes(value["blockHash"], 32, "receipt blockHash"),
    gasUsed: readQuantity(value["gasUsed"], "receipt gasUsed"),
    contractAddress: created === null ? null : readBytes(created, 20, "receipt contractAddress"),
    logs,
  };
}

/** A JSON-RPC quantity from a number. */
export function quantity(value: bigint): Hex {
  return `0x${value.toString(16)}`;
}
