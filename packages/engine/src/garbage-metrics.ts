import type { Counter, Gauge, Histogram, MetricsFactory } from "@quorate/ports";

/** What a collector takes away, by where it was. */
export const GARBAGE_KINDS = [
  "votes",
  "records",
  "submissions",
  "vote_history",
  "early_votes",
  "early_records",
] as const;

export type GarbageKind = (typeof GARBAGE_KINDS)[number];

/** @see spec §9.2 Algorithm 7 step 5 */
export interface GarbageMetrics {
  readonly lastSuccess: Gauge;
  readonly runs: Counter<"outcome">;
  readonly duration: Histogram;
  readonly purged: Counter<"kind">;
  readonly kept: Gauge;
  readonly activeTransactions: Gauge;
  readonly dbSize: Gauge;
  readonly dbSizeInUse: Gauge;
  readonly quota: Gauge;
  readonly alarms: Gauge;
  readonly activeSubmissions: Gauge;
  readonly archivedSubmissions: Gauge;
}

export function garbageMetrics(factory: MetricsFactory): GarbageMetrics {
  return {
    lastSuccess: factory.gauge({
      name: "gc_last_success_timestamp_seconds",
      help: "When a collection last went through; only the leading collector's process has it.",
    }),
    runs: factory.counter({
      name: "gc_runs_total",
      help: "Collections, by how they ended.",
      labels: ["outcome"],
      initial: [{ outcome: "done" }, { outcome: "failed" }, { outcome: "skipped" }],
    }),
    duration: factory.histogram({
      name: "gc_duration_seconds",
      help: "How long collections took.",
      buckets: [0.1, 0.5, 1, 5, 10, 30, 60, 300, 1_800],
    }),
    purged: factory.counter({
      name: "gc_purged_total",
      help: "What collections took away: transactions' votes and records in etcd (early ones because it was full), submissions moved to the archive, votes in history.",
      labels: ["kind"],
      initial: GARBAGE_KINDS.map((kind) => ({ kind })),
    }),
    kept: factory.gauge({
      name: "gc_kept",
      help: "Transactions that were due at the last collection and had to be kept: changed since history saw them.",
    }),
    activeTransactions: factory.gauge({
      name: "etcd_active_transactions",
      help: "Transactions that have a status in etcd.",
    }),
    dbSize: factory.gauge({
      name: "etcd_db_size_bytes",
      help: "Size of etcd's database file, of the largest member. Writes are refused when it reaches the quota.",
    }),
    dbSizeInUse: factory.gauge({
      name: "etcd_db_size_in_use_bytes",
      help: "What of etcd's database file is in use, of the largest member.",
    }),
    quota: factory.gauge({
      name: "etcd_quota_bytes",
      help: "etcd's storage quota as configured here; 0 when it is not.",
    }),
    alarms: factory.gauge({
      name: "etcd_alarms",
      help: "Alarms that etcd has raised, such as NOSPACE.",
    }),
    activeSubmissions: factory.gauge({
      name: "postgres_active_submissions",
      help: "Submissions among the active ones in PostgreSQL.",
    }),
    archivedSubmissions: factory.gauge({
      name: "postgres_archived_submissions",
      help: "Submissions in PostgreSQL's archive.",
    }),
  };
}
