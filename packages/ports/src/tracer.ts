import type { NodeId, TraceContext, TxId } from "@quorate/core";

/**
 * Every span there is, in the order of one vote's way.
 * @see spec §13.2
 */
export const SPAN_NAMES = [
  "vote.receive",
  "vote.validate",
  "vote.store",
  "vote.count",
  "vote.aggregate",
  "byzantine.check",
  "threshold.check",
  "submission.lock",
  "submission.submit",
  "submission.persist",
] as const;

export type SpanName = (typeof SPAN_NAMES)[number];

/** What a span tells, from a closed set: no values, signatures, keys or addresses of peers. */
export interface SpanAttributes {
  readonly "quorate.tx_id"?: TxId;
  /** The trustee whose vote it is. */
  readonly "quorate.voter"?: NodeId;
  /** The trustee on whose node the span was made. */
  readonly "quorate.node_id"?: NodeId;
  /** Where the vote came from. */
  readonly "quorate.source"?: "local" | "gossip";
  /** The transaction's status, as it was decided to become or found. */
  readonly "quorate.status"?: string;
  /** How it ended. */
  readonly "quorate.outcome"?: string;
  /** Which of several writes of one kind it was. */
  readonly "quorate.step"?: string;
  /** Distinct votes of the transaction, new ones included. */
  readonly "quorate.votes"?: number;
  readonly "quorate.threshold"?: number;
  /** Violations found. */
  readonly "quorate.violations"?: number;
  /** How many transactions shared the round trip. */
  readonly "quorate.batch"?: number;
  /** How long the vote waited for others to meet it, or for its turn, in ms. */
  readonly "quorate.waited_ms"?: number;
  /** As decimal text. */
  readonly "quorate.revision"?: string;
  readonly "quorate.nonce"?: string;
  readonly "quorate.chain_tx"?: string;
}

export interface StartSpanOptions {
  /** Null begins a trace. */
  readonly parent: TraceContext | null;
  /** By the monotonic clock that the process's `Clock` has, in ms; may lie in the past. */
  readonly startMs: number;
  readonly attributes: SpanAttributes;
}

export interface Span {
  readonly context: TraceContext;
  /**
   * Ends it; the first call counts.
   * @param endMs by the same clock as its start
   * @param failed the work was not done, or nobody knows whether it was
   */
  end(endMs: number, attributes?: SpanAttributes, failed?: boolean): void;
}

/**
 * Makes spans. Whoever traces asks `enabled` first, and does nothing at all where it is false; then
 * `samples`, once a transaction. Spans are exported behind the caller's back: no call waits, and none throws.
 */
export interface Tracer {
  /** Fixed for the process's life. */
  readonly enabled: boolean;
  /** Whether this transaction is among those to trace; the same on all nodes with the same ratio. */
  samples(txId: TxId): boolean;
  start(name: SpanName, options: StartSpanOptions): Span;
}

const NO_SPAN: Span = { context: { traceId: "", spanId: "" }, end: () => {} };

/** The tracer of whoever does not trace. */
export const noTracer: Tracer = { enabled: false, samples: () => false, start: () => NO_SPAN };
