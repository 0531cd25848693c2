import type { DashboardSpec } from "../panel.ts";

const P99 = (metric: string, by = "instance"): string =>
  `histogram_quantile(0.99, sum by (le, ${by}) (rate(${metric}_bucket[5m])))`;

export const stores: DashboardSpec = {
  uid: "quorate-stores",
  title: "Quorate / etcd and PostgreSQL",
  description: "The servers that hold state: how fast, how full, how far behind.",
  rows: [
    {
      title: "etcd, by its own word",
      panels: [
        {
          kind: "state",
          title: "Members with a leader",
          queries: [{ expr: "etcd_server_has_leader", legend: "{{instance}}" }],
        },
        {
          kind: "time",
          title: "Leader changes",
          queries: [
            {
              expr: "sum by (instance) (increase(etcd_server_leader_changes_seen_total[15m]))",
              legend: "{{instance}}",
            },
          ],
        },
        {
          kind: "time",
          title: "Write-ahead log fsync and backend commit (p99)",
          unit: "s",
          red: 0.025,
          queries: [
            { expr: P99("etcd_disk_wal_fsync_duration_seconds"), legend: "{{instance}} fsync" },
            {
              expr: P99("etcd_disk_backend_commit_duration_seconds"),
              legend: "{{instance}} commit",
            },
          ],
        },
        {
          kind: "time",
          title: "Database size",
          unit: "bytes",
          queries: [
            { expr: "etcd_mvcc_db_total_size_in_bytes", legend: "{{instance}}" },
            { expr: "etcd_mvcc_db_total_size_in_use_in_bytes", legend: "{{instance}} in use" },
            { expr: "etcd_server_quota_backend_bytes", legend: "{{instance}} quota" },
          ],
        },
        {
          kind: "time",
          title: "Proposals",
          queries: [
            {
              expr: "sum by (instance) (increase(etcd_server_proposals_failed_total[5m]))",
              legend: "{{instance}} failed",
            },
            { expr: "etcd_server_proposals_pending", legend: "{{instance}} pending" },
          ],
        },
      ],
    },
    {
      title: "etcd, as seen from here",
      panels: [
        {
          kind: "time",
          title: "Calls (p99)",
          unit: "s",
          mayBeEmpty: true,
          queries: [
            { expr: P99("etcd_operation_duration_seconds", "operation"), legend: "{{operation}}" },
          ],
        },
        {
          kind: "time",
          title: "Calls",
          unit: "ops",
          queries: [
            {
              expr: "sum by (operation) (rate(etcd_operation_duration_seconds_count[1m]))",
              legend: "{{operation}}",
            },
          ],
        },
        {
          kind: "time",
          title: "Size against the quota",
          unit: "bytes",
          note: "The quota is the one configured for the submitter; 0 when there is none.",
          queries: [
            { expr: "max(etcd_db_size_bytes)", legend: "largest member" },
            { expr: "max(etcd_db_size_in_use_bytes)", legend: "in use" },
            { expr: "max(etcd_quota_bytes)", legend: "quota" },
          ],
        },
        { kind: "stat", title: "Alarms", red: 1, queries: [{ expr: "max(etcd_alarms)" }] },
        {
          kind: "stat",
          title: "Transactions in etcd",
          queries: [{ expr: "max(etcd_active_transactions)" }],
        },
      ],
    },
    {
      title: "PostgreSQL and history",
      panels: [
        {
          kind: "state",
          title: "PostgreSQL answers",
          queries: [{ expr: "postgres_up", legend: "{{instance}}" }],
        },
        {
          kind: "time",
          title: "Connections",
          queries: [
            { expr: "postgres_pool_connections", legend: "{{instance}} open" },
            { expr: "postgres_pool_idle_connections", legend: "{{instance}} idle" },
            { expr: "postgres_pool_waiting", legend: "{{instance}} callers waiting" },
          ],
        },
        {
          kind: "time",
          title: "Projector",
          queries: [
            { expr: "max(projector_lag_revisions)", legend: "revisions behind" },
            { expr: "rate(projector_revision[1m]) > 0", legend: "revisions a second" },
          ],
          mayBeEmpty: true,
        },
        {
          kind: "stat",
          title: "Revision in history",
          queries: [{ expr: "max(projector_revision)" }],
        },
        {
          kind: "stat",
          title: "Other etcd found",
          red: 1,
          queries: [{ expr: "sum(increase(history_restarts_total[1h]))" }],
        },
        {
          kind: "stat",
          title: "Last backup, ago",
          unit: "s",
          red: 93_600,
          mayBeEmpty: true,
          note: "By the time its PostgreSQL part was taken. Empty when none was ever made, or no submitter can read it.",
          queries: [{ expr: "time() - (max(backup_last_success_timestamp_seconds) > 0)" }],
        },
        {
          kind: "stat",
          title: "Active submissions",
          queries: [{ expr: "max(postgres_active_submissions)" }],
        },
        {
          kind: "stat",
          title: "Archived submissions",
          queries: [{ expr: "max(postgres_archived_submissions)" }],
        },
      ],
    },
    {
      title: "Garbage collection",
      panels: [
        {
          kind: "stat",
          title: "Last success, ago",
          unit: "s",
          red: 10_800,
          mayBeEmpty: true,
          queries: [{ expr: "time() - (max(gc_last_success_timestamp_seconds) > 0)" }],
        },
        { kind: "stat", title: "Kept though due", queries: [{ expr: "max(gc_kept)" }] },
        {
          kind: "time",
          title: "Runs",
          queries: [
            { expr: "sum by (outcome) (increase(gc_runs_total[1h]))", legend: "{{outcome}}" },
          ],
        },
        {
          kind: "time",
          title: "Taken away",
          queries: [{ expr: "sum by (kind) (increase(gc_purged_total[1h]))", legend: "{{kind}}" }],
        },
        {
          kind: "time",
          title: "Duration (mean)",
          unit: "s",
          mayBeEmpty: true,
          queries: [
            {
              expr: "sum(rate(gc_duration_seconds_sum[1h])) / (sum(rate(gc_duration_seconds_count[1h])) > 0)",
              legend: "a run",
            },
          ],
        },
      ],
    },
  ],
};
