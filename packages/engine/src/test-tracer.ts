import { type TraceContext, type TxId, traceparentOf } from "@quorate/core";
import type { SpanAttributes, SpanName, Tracer } from "@quorate/ports";

export interface TestSpan {
  readonly name: SpanName;
  readonly parent: TraceContext | null;
  readonly context: TraceContext;
  readonly startMs: number;
  endMs: number | null;
  failed: boolean;
  attributes: SpanAttributes;
}

/** A tracer that keeps what it is told, in the order of starts. */
export class TestTracer implements Tracer {
  readonly spans: TestSpan[] = [];
  readonly enabled: boolean;
  samples: (txId: TxId) => boolean;

  constructor(enabled = true, samples: (txId: TxId) => boolean = () => true) {
    this.enabled = enabled;
    this.samples = samples;
  }

  start: Tracer["start"] = (name, { parent, startMs, attributes }) => {
    const number = this.spans.length + 1;
    const traceId = parent?.traceId ?? number.toString(16).padStart(32, "0");
    const context = { traceId, spanId: number.toString(16).padStart(16, "0") };
    const span: TestSpan = {
      name,
      parent,
      context,
      startMs,
      endMs: null,
      failed: false,
      attributes,
    };
    this.spans.push(span);
    return {
      context,
      end: (endMs, more = {}, failed = false) => {
        if (span.endMs !== null) throw new Error(`${name} ended twice`);
        span.endMs = endMs;
        span.failed = failed;
        span.attributes = { ...span.attributes, ...more };
      },
    };
  };

  named(name: SpanName): readonly TestSpan[] {
    return this.spans.filter((span) => span.name === name);
  }

  /** Names and parents' names, as a person would draw them. */
  tree(): readonly string[] {
    return this.spans.map(({ name, parent, attributes }) => {
      const above = this.spans.find(
        ({ context }) => parent !== null && traceparentOf(context) === traceparentOf(parent),
      );
      const outcome = attributes["quorate.outcome"] ?? "";
      return `${above?.name ?? (parent === null ? "-" : "elsewhere")} > ${name} ${outcome}`.trim();
    });
  }
}
