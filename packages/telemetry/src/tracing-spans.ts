import {
  type HrTime,
  type Span as OtelSpan,
  type Tracer as OtelTracer,
  ROOT_CONTEXT,
  SpanKind,
  SpanStatusCode,
  TraceFlags,
  trace,
} from "@opentelemetry/api";
import { type TraceContext, traceShareOf } from "@quorate/core";
import type { Span, SpanAttributes, SpanName, StartSpanOptions, Tracer } from "@quorate/ports";

export interface SpansOptions {
  /** Share of transactions that are traced, 0 to 1. */
  readonly sampleRatio: number;
  /** Both as the process's clock has them. */
  readonly nowMs: () => number;
  readonly monotonicMs: () => number;
}

/** What a reader of traces takes a span for. A vote by gossip is told by its source. */
const KINDS: Readonly<Record<SpanName, SpanKind>> = {
  "vote.receive": SpanKind.SERVER,
  "vote.validate": SpanKind.INTERNAL,
  "vote.store": SpanKind.CLIENT,
  "vote.count": SpanKind.INTERNAL,
  "vote.aggregate": SpanKind.INTERNAL,
  "byzantine.check": SpanKind.INTERNAL,
  "threshold.check": SpanKind.INTERNAL,
  "submission.lock": SpanKind.CLIENT,
  "submission.submit": SpanKind.CLIENT,
  "submission.persist": SpanKind.CLIENT,
};

/** A difference of the two clocks beyond this is a step of the wall clock, and no delay between two readings, in ms. */
const CLOCK_STEP_MS = 5;

/**
 * Spans by OpenTelemetry. The wall clock may be set while the process runs: spans are timed by the monotonic one
 * and told in the wall clock's time, as it is when they begin.
 */
export function createSpans(otel: OtelTracer, options: SpansOptions): Tracer {
  const { sampleRatio, nowMs, monotonicMs } = options;
  let offsetMs = nowMs() - monotonicMs();
  const look = (): void => {
    const now = nowMs() - monotonicMs();
    if (Math.abs(now - offsetMs) > CLOCK_STEP_MS) offsetMs = now;
  };
  return {
    enabled: true,
    samples: (txId) => sampleRatio >= 1 || traceShareOf(txId) < sampleRatio,
    start: (name, start) => {
      look();
      const options = {
        kind: kindOf(name, start),
        startTime: timeOf(offsetMs + start.startMs),
        attributes: { ...start.attributes },
      };
      return wrap(otel.startSpan(name, options, contextOf(start.parent)), offsetMs);
    },
  };
}

function kindOf(name: SpanName, { attributes }: StartSpanOptions): SpanKind {
  return attributes["quorate.source"] === "gossip" ? SpanKind.CONSUMER : KINDS[name];
}

/** Which spans are made was decided before; every one of them is kept. */
function contextOf(parent: TraceContext | null): typeof ROOT_CONTEXT {
  if (parent === null) return ROOT_CONTEXT;
  const traceFlags = TraceFlags.SAMPLED;
  return trace.setSpanContext(ROOT_CONTEXT, { ...parent, traceFlags, isRemote: true });
}

/** @param atMs since the Unix epoch, with a fraction */
function timeOf(atMs: number): HrTime {
  const seconds = Math.floor(atMs / 1_000);
  return [seconds, Math.round((atMs - seconds * 1_000) * 1_000_000)];
}

/** @param offsetMs as it was at the start: a span's length is by one clock */
function wrap(span: OtelSpan, offsetMs: number): Span {
  const { traceId, spanId } = span.spanContext();
  return {
    context: { traceId, spanId },
    end: (endMs: number, attributes: SpanAttributes = {}, failed = false) => {
      span.setAttributes({ ...attributes });
      if (failed) span.setStatus({ code: SpanStatusCode.ERROR });
      span.end(timeOf(offsetMs + endMs));
    },
  };
}
