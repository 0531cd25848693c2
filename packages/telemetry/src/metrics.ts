import { assert } from "@quorate/core";
import type {
  Counter,
  Gauge,
  Histogram,
  Labels,
  MetricOptions,
  MetricsFactory,
} from "@quorate/ports";
import {
  collectDefaultMetrics,
  Counter as PromCounter,
  Gauge as PromGauge,
  Histogram as PromHistogram,
  Registry,
} from "prom-client";

export interface MetricsSettings {
  /** Put before the name of every metric made here, e.g. `quorate_`. The process metrics keep their usual names. */
  readonly prefix?: string;
  /** Labels of every series, the process metrics included, e.g. the node's name. */
  readonly defaultLabels?: Readonly<Record<string, string>>;
}

/** Something that can be scraped. */
export interface MetricsText {
  /** Every series in Prometheus' text format. Runs the gauges' `collect`. */
  text(): Promise<string>;
  /** Content type of `text()`. */
  readonly contentType: string;
}

export type Metrics = MetricsFactory & MetricsText;

type GaugeOptions<Name extends string> = MetricOptions<Name> & { readonly collect?: () => number };
type HistogramOptions<Name extends string> = MetricOptions<Name> & {
  readonly buckets: readonly number[];
};

/**
 * Makes metrics in a registry of their own, with Node's process metrics (event-loop lag, heap, GC, file descriptors).
 * A metric without labels, and each label set in `initial`, exists from the start with 0.
 * Idempotent by name: the same name, kind, labels, buckets and `collect` give the same metric; any other throws
 * AssertionError.
 */
export function createMetrics(settings: MetricsSettings = {}): Metrics {
  const registry = new Registry();
  registry.setDefaultLabels({ ...settings.defaultLabels });
  collectDefaultMetrics({ register: registry });
  const prefix = settings.prefix ?? "";
  const counters = new Map<string, Counter<string>>();
  const gauges = new Map<string, Gauge<string>>();
  const histograms = new Map<string, Histogram<string>>();
  const shapes = new Map<string, string>();
  const collects = new Map<string, (() => number) | undefined>();

  /** The full name; throws if it was made before in another shape. */
  const claim = (kind: string, options: MetricOptions<string>, more: unknown = null): string => {
    const name = `${prefix}${options.name}`;
    const shape = JSON.stringify([kind, [...(options.labels ?? [])].sort(), more]);
    const before = shapes.get(name);
    assert(
      before === undefined || before === shape,
      `metric ${name} was made before as ${before}, not ${shape}`,
    );
    shapes.set(name, shape);
    return name;
  };
  const configuration = (name: string, options: MetricOptions<string>) => ({
    name,
    help: options.help,
    labelNames: options.labels ?? [],
    registers: [registry],
  });

  return {
    contentType: registry.contentType,
    text: () => registry.metrics(),
    counter<Name extends string = never>(options: MetricOptions<Name>): Counter<Name> {
      const name = claim("counter", options);
      return made(counters, name, () => newCounter(configuration(name, options), options.initial));
    },
    gauge<Name extends string = never>(options: GaugeOptions<Name>): Gauge<Name> {
      const { collect } = options;
      const name = claim("gauge", options);
      assert(
        !collects.has(name) || collects.get(name) === collect,
        `gauge ${name} was made before with another collect`,
      );
      assert(
        collect === undefined || (options.labels ?? []).length === 0,
        `gauge ${name} has labels, which collect cannot tell apart`,
      );
      collects.set(name, collect);
      return made(gauges, name, () =>
        newGauge(configuration(name, options), options.initial, collect),
      );
    },
    histogram<Name extends string = never>(options: HistogramOptions<Name>): Histogram<Name> {
      const name = claim("histogram", options, options.buckets);
      return made(histograms, name, () =>
        newHistogram(
          { ...configuration(name, options), buckets: [...options.buckets] },
          options.initial,
        ),
      );
    },
  };
}

function made<M>(all: Map<string, M>, name: string, make: () => M): M {
  const before = all.get(name);
  if (before !== undefined) return before;
  const metric = make();
  all.set(name, metric);
  return metric;
}

interface Configuration {
  readonly name: string;
  readonly help: string;
  readonly labelNames: readonly string[];
  readonly registers: Registry[];
}
type InitialLabels = readonly Labels<string>[] | undefined;

// The wrappers exist so that prom-client's optional arguments and extra methods do not leak through the port.

function newCounter(configuration: Configuration, initial: InitialLabels): Counter<string> {
  const counter = new PromCounter<string>(configuration);
  // A counter that is born at 1 hides its first event from `increase()`.
  for (const labels of initial ?? []) counter.inc({ ...labels }, 0);
  return { inc: (labels, by = 1) => counter.inc(labels, by) };
}

function newGauge(
  configuration: Configuration,
  initial: InitialLabels,
  collect: (() => number) | undefined,
): Gauge<string> {
  const gauge: PromGauge<string> = new PromGauge<string>({
    ...configuration,
    ...(collect === undefined ? {} : { collect: () => gauge.set(collected(collect)) }),
  });
  for (const labels of initial ?? []) gauge.set({ ...labels }, 0);
  return { set: (labels, value) => gauge.set(labels, value) };
}

/** One gauge that cannot be read must not blank the whole scrape. */
function collected(collect: () => number): number {
  try {
    return collect();
  } catch {
    return Number.NaN;
  }
}

function newHistogram(
  configuration: Configuration & { buckets: number[] },
  initial: InitialLabels,
): Histogram<string> {
  const histogram = new PromHistogram<string>(configuration);
  for (const labels of initial ?? []) histogram.zero({ ...labels });
  return { observe: (labels, value) => histogram.observe(labels, value) };
}
