/** Label values come from closed sets, never from transaction ids or the network. */
export type Labels<Name extends string> = Readonly<Record<Name, string>>;

export interface Counter<Name extends string = never> {
  inc(labels: Labels<Name>, by?: number): void;
}

export interface Gauge<Name extends string = never> {
  set(labels: Labels<Name>, value: number): void;
}

export interface Histogram<Name extends string = never> {
  /** @param value in the unit that the metric's name ends with, seconds or bytes. */
  observe(labels: Labels<Name>, value: number): void;
}

export interface MetricOptions<Name extends string> {
  /** Prometheus name, with its base unit last (`_seconds`, `_bytes`, `_total`). */
  readonly name: string;
  readonly help: string;
  readonly labels?: readonly Name[];
  /** Label sets that exist from the start with 0, so that the first event is an increase. */
  readonly initial?: readonly Labels<Name>[];
}

/** Makes metrics. A name is made once; making it twice with other labels is a bug and throws. */
export interface MetricsFactory {
  counter<Name extends string = never>(options: MetricOptions<Name>): Counter<Name>;
  gauge<Name extends string = never>(
    options: MetricOptions<Name> & { readonly collect?: () => number },
  ): Gauge<Name>;
  histogram<Name extends string = never>(
    options: MetricOptions<Name> & { readonly buckets: readonly number[] },
  ): Histogram<Name>;
}
