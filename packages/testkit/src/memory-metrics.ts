import { assert } from "@quorate/core";
import type {
  Counter,
  Gauge,
  Histogram,
  Labels,
  MetricOptions,
  MetricsFactory,
} from "@quorate/ports";

export interface MemoryMetrics extends MetricsFactory {
  /** A counter's sum or a gauge's value (through `collect`, if it has one); null while the series does not exist. */
  value(name: string, labels?: Labels<string>): number | null;
  /** What a histogram's series was given, oldest first. */
  observations(name: string, labels?: Labels<string>): readonly number[];
}

interface Metric {
  readonly kind: "counter" | "gauge" | "histogram";
  readonly labels: readonly string[];
  readonly collect: (() => number) | undefined;
  readonly series: Map<string, number[]>;
}

/** Metrics that tests can read. As the real ones, a name is made once: making it again in another shape throws AssertionError. */
export function memoryMetrics(): MemoryMetrics {
  const metrics = new Map<string, Metric>();

  const seriesKey = (metric: Metric, labels: Labels<string>): string => {
    const names = Object.keys(labels).sort();
    assert(names.join() === metric.labels.join(), `labels must be ${metric.labels.join()}`);
    return JSON.stringify(names.map((name) => labels[name]));
  };
  const make = (
    kind: Metric["kind"],
    options: MetricOptions<string>,
    collect?: () => number,
  ): Metric => {
    const labels = [...(options.labels ?? [])].sort();
    const before = metrics.get(options.name);
    if (before !== undefined) {
      const same = before.kind === kind && before.labels.join() === labels.join();
      assert(
        same && before.collect === collect,
        `metric ${options.name} was made in another shape`,
      );
      return before;
    }
    const metric: Metric = { kind, labels, collect, series: new Map() };
    metrics.set(options.name, metric);
    const first = kind === "histogram" ? [] : [0];
    if (labels.length === 0) metric.series.set(seriesKey(metric, {}), first);
    for (const set of options.initial ?? []) metric.series.set(seriesKey(metric, set), [...first]);
    return metric;
  };
  const read = (name: string, labels: Labels<string> = {}): readonly number[] | null => {
    const metric = metrics.get(name);
    assert(metric !== undefined, `metric ${name} was never made`);
    return metric.series.get(seriesKey(metric, labels)) ?? null;
  };

  return {
    counter<Name extends string = never>(options: MetricOptions<Name>): Counter<Name> {
      const metric = make("counter", options);
      return {
        inc: (labels, by = 1) => {
          assert(by >= 0, "a counter never falls");
          const key = seriesKey(metric, labels);
          metric.series.set(key, [(metric.series.get(key)?.[0] ?? 0) + by]);
        },
      };
    },
    gauge<Name extends string = never>(
      options: MetricOptions<Name> & { readonly collect?: () => number },
    ): Gauge<Name> {
      const metric = make("gauge", options, options.collect);
      return { set: (labels, value) => void metric.series.set(seriesKey(metric, labels), [value]) };
    },
    histogram<Name extends string = never>(
      options: MetricOptions<Name> & { readonly buckets: readonly number[] },
    ): Histogram<Name> {
      const metric = make("histogram", options);
      return {
        observe: (labels, value) => {
          const key = seriesKey(metric, labels);
          metric.series.set(key, [...(metric.series.get(key) ?? []), value]);
        },
      };
    },
    value: (name, labels) => {
      const collect = metrics.get(name)?.collect;
      return collect === undefined ? (read(name, labels)?.[0] ?? null) : collect();
    },
    observations: (name, labels) => read(name, labels) ?? [],
  };
}
