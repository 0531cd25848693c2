import {
  context,
  DiagLogLevel,
  diag,
  logs,
  propagation,
  SamplingDecision,
  trace,
} from "@opentelemetry/api";
import { type AbortOptions, type Clock, type Logger, noTracer, type Tracer } from "@quorate/ports";
import { TelemetryError } from "./errors.ts";
import { TELEMETRY_LIMITS } from "./limits.ts";
import { systemClock } from "./system-clock.ts";
import { createSpans } from "./tracing-spans.ts";
import { untilAborted } from "./until-aborted.ts";

export interface TracingOptions {
  readonly serviceName: string;
  /** Which process of the service it is, as `service.instance.id`. */
  readonly instanceId: string;
  readonly clusterId: string;
  /** Version of the service, as `service.version`. */
  readonly version: string;
  /** OTLP collector over HTTP, e.g. `http://collector:4318`; `/v1/traces` is added to a bare address. Absent: no tracing. */
  readonly otlpUrl?: string | undefined;
  /** Share of transactions that are traced, 0 to 1; chosen by their ids, so the same ones in all processes. */
  readonly sampleRatio: number;
  /** The one whose times are given to spans. Default: the system's. */
  readonly clock?: Pick<Clock, "nowMs" | "monotonicMs">;
  /** Told when spans are lost because the collector does not take them. */
  readonly logger?: Logger;
}

export interface Tracing {
  /** Makes spans; not `enabled` where they would go nowhere, for want of a collector or with a ratio of 0. Until `start` they are lost. */
  readonly tracer: Tracer;
  /** Loads the SDK and begins to export. Idempotent; nothing happens when tracing is off. */
  start(options?: AbortOptions): Promise<void>;
  /** Exports what is left and ends. Idempotent. Spans that the collector does not take are lost, with a warning. */
  shutdown(options?: AbortOptions): Promise<void>;
}

interface Running {
  stop(): Promise<void>;
}

/**
 * Sends spans to an OTLP collector. OpenTelemetry's registration is global, so one process has one tracing.
 * @throws TelemetryError OTLP_URL when the URL is not http or https.
 */
export function createTracing(options: TracingOptions): Tracing {
  const given = options.otlpUrl === undefined ? undefined : tracesUrl(options.otlpUrl);
  const url = options.sampleRatio > 0 ? given : undefined;
  let running: Promise<Running> | undefined;
  let ended: Promise<void> | undefined;
  return {
    tracer: url === undefined ? noTracer : spansOf(options),
    start: async ({ signal } = {}) => {
      signal?.throwIfAborted();
      if (url === undefined || ended !== undefined) return;
      running ??= startSdk(options, url);
      await untilAborted(running, signal);
    },
    shutdown: async ({ signal } = {}) => {
      ended ??= endSdk(running);
      await untilAborted(ended, signal);
    },
  };
}

function spansOf({
  serviceName,
  version,
  sampleRatio,
  clock = systemClock(),
}: TracingOptions): Tracer {
  return createSpans(trace.getTracer(serviceName, version), {
    sampleRatio,
    nowMs: () => clock.nowMs(),
    monotonicMs: () => clock.monotonicMs(),
  });
}

async function endSdk(running: Promise<Running> | undefined): Promise<void> {
  // A failed start was reported by `start`; there is nothing to end then.
  const sdk = await running?.catch(() => undefined);
  await sdk?.stop();
}

async function startSdk(options: TracingOptions, url: string): Promise<Running> {
  // Loaded here because the SDK takes about half a second to load, which only those who trace should pay.
  const [{ NodeSDK }, { OTLPTraceExporter }] = await Promise.all([
    import("@opentelemetry/sdk-node"),
    import("@opentelemetry/exporter-trace-otlp-http"),
  ]);
  reportTo(options.logger);
  const sdk = new NodeSDK({
    serviceName: options.serviceName,
    resourceDetectors: [{ detect: () => ({ attributes: resourceOf(options) }) }],
    sampler: EVERYTHING,
    traceExporter: new OTLPTraceExporter({ url, timeoutMillis: TELEMETRY_LIMITS.otlpTimeoutMs }),
    // Empty lists, because left out the SDK exports logs to an OTLP collector on localhost by itself.
    logRecordProcessors: [],
    metricReaders: [],
    instrumentations: [],
  });
  sdk.start();
  return {
    stop: async () => {
      try {
        await sdk.shutdown();
      } catch (error) {
        // Nothing that a caller could do: the work the spans tell of is done, and the process is about to end.
        options.logger?.warn("the last spans could not be exported", { error });
      } finally {
        trace.disable();
        context.disable();
        propagation.disable();
        logs.disable();
        diag.disable();
      }
    },
  };
}

function resourceOf(options: TracingOptions): Readonly<Record<string, string>> {
  return {
    "service.version": options.version,
    "service.namespace": "quorate",
    "service.instance.id": options.instanceId,
    "quorate.cluster_id": options.clusterId,
  };
}

/** What is not to be traced is never started; a second sampler, by the environment, would tear traces apart. */
const EVERYTHING = {
  shouldSample: () => ({ decision: SamplingDecision.RECORD_AND_SAMPLED }),
  toString: () => "everything that is started",
};

/** The SDK reports failed exports through its own diagnostics only, which are silent by default. */
function reportTo(logger: Logger | undefined): void {
  if (logger === undefined) return;
  const silent = (): void => {};
  const warn = (detail: string): void =>
    logger.warn("tracing lost spans or is misconfigured", { detail });
  diag.setLogger(
    { error: warn, warn, info: silent, debug: silent, verbose: silent },
    { logLevel: DiagLogLevel.WARN, suppressOverrideMessage: true },
  );
}

function tracesUrl(otlpUrl: string): string {
  const url = URL.parse(otlpUrl);
  if (url === null || (url.protocol !== "http:" && url.protocol !== "https:")) {
    throw new TelemetryError("OTLP_URL", "the OTLP address is not an http or https URL", {
      retryable: false,
    });
  }
  if (url.pathname === "/") url.pathname = "/v1/traces";
  return url.href;
}
