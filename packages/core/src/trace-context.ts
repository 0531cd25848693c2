import type { TxId } from "./ids.ts";
import { LIMITS } from "./limits.ts";
import { assert } from "./result.ts";

/**
 * Where a trace goes on: the ids of one span, as W3C Trace Context has them. Only traces that are kept
 * are carried, so there is no flag. Nobody signs it for what it says, so nothing but tracing may use it.
 * @see spec §13.2
 */
export interface TraceContext {
  /** 32 lowercase hex digits, not all 0. */
  readonly traceId: string;
  /** 16 lowercase hex digits, not all 0. */
  readonly spanId: string;
}

const TRACE_ID_BYTES = 16;
const SPAN_ID_BYTES = 8;
const ENTRY_BYTES = 1 + TRACE_ID_BYTES + SPAN_ID_BYTES;
const EXTENSION_VERSION = 0;

const TRACEPARENT = /^00-([0-9a-f]{32})-([0-9a-f]{16})-01$/;
const NIL = /^0+$/;

/** The context as a W3C `traceparent` of version 00, sampled: 55 characters. */
export function traceparentOf({ traceId, spanId }: TraceContext): string {
  return `00-${traceId}-${spanId}-01`;
}

/** Reads a `traceparent`. Null for whatever is not one of version 00, or not sampled. Never throws. */
export function parseTraceparent(text: unknown): TraceContext | null {
  const match = typeof text === "string" ? TRACEPARENT.exec(text) : null;
  return match === null ? null : contextOf(match[1] ?? "", match[2] ?? "");
}

/** All zeros mean "none" in W3C Trace Context. */
function contextOf(traceId: string, spanId: string): TraceContext | null {
  return NIL.test(traceId) || NIL.test(spanId) ? null : { traceId, spanId };
}

/**
 * The extension of a frame that carries the contexts of some of its votes: a version byte, then for each the
 * vote's place in the frame, the trace id and the span id, 25 bytes together.
 * @param traces by the vote's place in the frame; at most `LIMITS.frameTracesMax` are carried, the first ones
 * @returns undefined when there is nothing to carry
 */
export function encodeFrameTraces(
  traces: ReadonlyMap<number, TraceContext>,
): Uint8Array | undefined {
  const carried = [...traces].slice(0, LIMITS.frameTracesMax);
  if (carried.length === 0) return undefined;
  const bytes = new Uint8Array(1 + carried.length * ENTRY_BYTES);
  bytes[0] = EXTENSION_VERSION;
  for (const [i, [place, { traceId, spanId }]] of carried.entries()) {
    assert(place >= 0 && place < LIMITS.votesPerFrameMax, "a frame has 256 places at most");
    const at = 1 + i * ENTRY_BYTES;
    bytes[at] = place;
    putHex(bytes, at + 1, traceId);
    putHex(bytes, at + 1 + TRACE_ID_BYTES, spanId);
  }
  return bytes;
}

const NO_TRACES: ReadonlyMap<number, TraceContext> = new Map();

/**
 * The contexts that a frame's extension carries. Whatever is not readable is as if it were not there:
 * a vote counts with or without it.
 * @param votes how many votes the frame holds
 */
export function decodeFrameTraces(
  extension: Uint8Array | undefined,
  votes: number,
): ReadonlyMap<number, TraceContext> {
  if (extension === undefined || extension[0] !== EXTENSION_VERSION) return NO_TRACES;
  const count = (extension.length - 1) / ENTRY_BYTES;
  if (!Number.isInteger(count) || count < 1 || count > LIMITS.frameTracesMax) return NO_TRACES;
  const traces = new Map<number, TraceContext>();
  for (let i = 0; i < count; i++) {
    const at = 1 + i * ENTRY_BYTES;
    const place = extension[at] ?? 0;
    const ids = at + 1;
    const traceId = hexOf(extension, ids, TRACE_ID_BYTES);
    const context = contextOf(traceId, hexOf(extension, ids + TRACE_ID_BYTES, SPAN_ID_BYTES));
    if (context === null || place >= votes || traces.has(place)) return NO_TRACES;
    traces.set(place, context);
  }
  return traces;
}

function putHex(bytes: Uint8Array, at: number, hex: string): void {
  for (let i = 0; i < hex.length / 2; i++)
    bytes[at + i] = Number.parseInt(hex.slice(2 * i, 2 * i + 2), 16);
}

function hexOf(bytes: Uint8Array, at: number, length: number): string {
  let hex = "";
  for (let i = 0; i < length; i++) hex += (bytes[at + i] ?? 0).toString(16).padStart(2, "0");
  return hex;
}

/**
 * A transaction's place in [0, 1), the same on every node: it is traced where this is below the share of
 * transactions to trace, so that all processes choose the same ones without asking each other.
 */
export function traceShareOf(txId: TxId): number {
  // FNV-1a over the id, then murmur's finisher, for ids that differ in their last digit must not lie side by side.
  let h = 0x811c9dc5;
  for (let i = 0; i < txId.length; i++) h = Math.imul(h ^ txId.charCodeAt(i), 0x01000193);
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return ((h ^ (h >>> 16)) >>> 0) / 2 ** 32;
}
