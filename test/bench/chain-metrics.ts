/** What of queued results took how long, in ms. */
export interface StageLatency {
  readonly p50Ms: number;
  readonly p99Ms: number;
}

export type Stage = "broadcast" | "included" | "finalized";

/** Cumulative counts of a Prometheus histogram, by upper bound in seconds; the last one is Infinity. */
export type Buckets = ReadonlyMap<number, number>;

export interface SubmitterFigures {
  readonly finalized: number;
  readonly stages: Readonly<Record<Stage, Buckets>>;
}

/** Reads what a submitter's /metrics says. */
export function readFigures(text: string): SubmitterFigures {
  const finalized = /^blockchain_submissions_total\{[^}]*outcome="finalized"[^}]*\} (\S+)$/m.exec(
    text,
  )?.[1];
  return {
    finalized: Number(finalized ?? 0),
    stages: {
      broadcast: bucketsOf(text, "broadcast"),
      included: bucketsOf(text, "included"),
      finalized: bucketsOf(text, "finalized"),
    },
  };
}

function bucketsOf(text: string, stage: Stage): Buckets {
  const buckets = new Map<number, number>();
  for (const [, labels = "", count] of text.matchAll(
    /^submission_latency_seconds_bucket\{([^}]*)\} (\S+)$/gm,
  )) {
    if (!labels.includes(`stage="${stage}"`)) continue;
    const bound = /le="([^"]+)"/.exec(labels)?.[1];
    buckets.set(bound === "+Inf" ? Number.POSITIVE_INFINITY : Number(bound), Number(count));
  }
  return new Map([...buckets].toSorted(([a], [b]) => a - b));
}

/** Quantiles as Prometheus' histogram_quantile estimates them: linear within a bucket. */
export function latencyIn(buckets: Buckets): StageLatency {
  return { p50Ms: quantileMs(buckets, 0.5), p99Ms: quantileMs(buckets, 0.99) };
}

function quantileMs(buckets: Buckets, q: number): number {
  const total = [...buckets.values()].at(-1) ?? 0;
  if (total === 0) return Number.NaN;
  let [low, below] = [0, 0];
  for (const [bound, n] of buckets) {
    if (n >= q * total) {
      // Beyond the last finite bound nothing more is known than that bound.
      if (bound === Number.POSITIVE_INFINITY) return low * 1_000;
      const share = n === below ? 0 : (q * total - below) / (n - below);
      return (low + (bound - low) * share) * 1_000;
    }
    [low, below] = [bound, n];
  }
  return Number.NaN;
}
