import {
  bytesToHex,
  type Epoch,
  hexToBytes,
  type NodeId,
  type PeerId,
  parseEpoch,
  parseNodeId,
  parsePeerId,
  parseTxId,
  parseValue,
  type Result,
  type TxId,
  type Value,
} from "@quorate/core";
import { type Hex, StoreError } from "@quorate/ports";

/** A row as pg gives it. Nothing in it is believed before one of the readers below has looked. */
export type Row = Readonly<Record<string, unknown>>;

function corrupt(column: string, expected: string, got: unknown): StoreError {
  return new StoreError(
    "CORRUPT",
    `column ${column} should hold ${expected} but holds ${got === null ? "null" : typeof got}`,
    { retryable: false },
  );
}

export function textOf(row: Row, column: string): string {
  const value = row[column];
  if (typeof value !== "string") throw corrupt(column, "text", value);
  return value;
}

export function bigintOf(row: Row, column: string): bigint {
  const value = row[column];
  if (typeof value !== "bigint") throw corrupt(column, "a whole number", value);
  return value;
}

export function bigintOrNull(row: Row, column: string): bigint | null {
  return row[column] === null ? null : bigintOf(row, column);
}

export function numberOf(row: Row, column: string): number {
  const value = row[column];
  if (typeof value === "bigint" && Number.isSafeInteger(Number(value))) return Number(value);
  if (typeof value !== "number") throw corrupt(column, "a number", value);
  return value;
}

export function booleanOf(row: Row, column: string): boolean {
  const value = row[column];
  if (typeof value !== "boolean") throw corrupt(column, "a boolean", value);
  return value;
}

/** A copy of its own: pg's buffers are views into a whole network packet. */
export function bytesOf(row: Row, column: string): Uint8Array {
  const value = row[column];
  if (!(value instanceof Uint8Array)) throw corrupt(column, "bytes", value);
  return Uint8Array.from(value);
}

export function hexOf(row: Row, column: string): Hex {
  return `0x${bytesToHex(bytesOf(row, column))}`;
}

export function hexOrNull(row: Row, column: string): Hex | null {
  return row[column] === null ? null : hexOf(row, column);
}

/** In ms since the Unix epoch. */
export function timeMsOf(row: Row, column: string): number {
  const value = row[column];
  if (!(value instanceof Date)) throw corrupt(column, "a time", value);
  return value.getTime();
}

export function timeMsOrNull(row: Row, column: string): number | null {
  return row[column] === null ? null : timeMsOf(row, column);
}

export function txIdOf(row: Row, column: string): TxId {
  return parsed(parseTxId(row[column]), column, "a transaction id");
}

export function peerIdOf(row: Row, column: string): PeerId {
  return parsed(parsePeerId(row[column]), column, "a peer id");
}

export function nodeIdOrNull(row: Row, column: string): NodeId | null {
  return row[column] === null ? null : parsed(parseNodeId(row[column]), column, "a node id");
}

export function oneOf<const T extends string>(row: Row, column: string, words: readonly T[]): T {
  const text = textOf(row, column);
  const found = words.find((word) => word === text);
  if (found === undefined) throw corrupt(column, words.join(" or "), text);
  return found;
}

export function valueOf(row: Row, column: string): Value {
  return parsed(parseValue(row[column]), column, "a u64");
}

export function epochOf(row: Row, column: string): Epoch {
  return parsed(parseEpoch(numberOf(row, column)), column, "an epoch");
}

function parsed<T>(result: Result<T, unknown>, column: string, expected: string): T {
  if (result.ok) return result.value;
  throw corrupt(column, expected, "");
}

/** The bytes of a 0x text, as a bytea parameter. */
export function bytesOfHex(hex: string): Uint8Array {
  return hexToBytes(hex.slice(2));
}

// What is projected comes from etcd, where any trustee can write. A single value that PostgreSQL
// refuses would stop history for good, so what it can't hold is put into the nearest form that it can.

const TIME_MS_MIN = Date.parse("0001-01-01T00:00:00.000Z");
const TIME_MS_MAX = Date.parse("9999-12-31T23:59:59.999Z");

/** A time as a timestamptz parameter. pg would write a Date in the process's own time zone. Years before 1 and after 9999 have no such text. */
export function timeParameter(ms: number): string {
  return new Date(Math.max(TIME_MS_MIN, Math.min(ms, TIME_MS_MAX))).toISOString();
}

/** Text without NUL, which PostgreSQL's text can't hold. */
export function textParameter(text: string): string {
  return text.replaceAll("\0", "\uFFFD");
}

/** What JSON.stringify made, without NUL and unpaired surrogates, which jsonb can't hold. */
export function jsonParameter(json: string): string {
  return json.replace(/\\(?:u([0-9a-f]{4})|.)/g, (escape, code: string | undefined) =>
    code !== undefined && /^(?:0000|d[89a-f]..)$/.test(code) ? "\\ufffd" : escape,
  );
}
