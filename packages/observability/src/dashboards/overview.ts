import type { DashboardSpec } from "../panel.ts";

const LAG_P99 = (stage: string): string =>
  `histogram_quantile(0.99, sum by (le) (rate(submission_latency_seconds_bucket{stage="${stage}"}[5m])))`;

export const overview: DashboardSpec = {
  uid: "quorate-overview",
  title: "Quorate / Overview",
  description: "Is the cluster deciding, and does what it decides reach the chain?",
  rows: [
    {
      title: "Now",
      panels: [
        {
          kind: "stat",
          title: "Trustees that can vote",
          note: "Present in etcd and not banned.",
          queries: [{ expr: "max(quorum_trustees_reachable)" }],
        },
        { kind: "stat", title: "Votes needed", queries: [{ expr: "max(quorum_threshold)" }] },
        {
          kind: "stat",
          title: "To spare",
          note: "Trustees that may still be lost.",
          red: 1,
          below: true,
          queries: [{ expr: "max(quorum_trustees_reachable) - max(quorum_threshold)" }],
        },
        { kind: "stat", title: "Trustees", queries: [{ expr: "max(quorum_trustees)" }] },
        {
          kind: "stat",
          title: "Banned",
          red: 1,
          queries: [{ expr: "max(banned_peers_total)" }],
        },
        {
          kind: "stat",
          title: "Firing alerts",
          red: 1,
          mayBeEmpty: true,
          queries: [{ expr: 'count(ALERTS{alertstate="firing"}) or vector(0)' }],
        },
      ],
    },
    {
      title: "Decisions",
      panels: [
        {
          kind: "time",
          title: "Decided and aborted",
          unit: "ops",
          queries: [
            { expr: "sum(rate(threshold_reached_total[1m]))", legend: "threshold reached" },
            {
              expr: "sum by (reason) (rate(transactions_aborted_byzantine_total[1m]))",
              legend: "aborted: {{reason}}",
            },
          ],
        },
        {
          kind: "time",
          title: "Share that reached the threshold",
          unit: "percentunit",
          mayBeEmpty: true,
          note: "Of what was decided within 15 minutes. Empty while nothing is.",
          queries: [
            {
              expr: "sum(increase(threshold_reached_total[15m])) / ((sum(increase(threshold_reached_total[15m])) + sum(increase(transactions_aborted_byzantine_total[15m]))) > 0)",
              legend: "reached",
            },
          ],
        },
        {
          kind: "time",
          title: "Open transactions",
          queries: [{ expr: "max(active_votes)", legend: "open" }],
        },
        {
          kind: "time",
          title: "From the queue to the chain (p99)",
          unit: "s",
          note: "Broadcast, inclusion and finality are three figures: the last two are the chain's own time.",
          mayBeEmpty: true,
          queries: ["broadcast", "included", "finalized"].map((stage) => ({
            expr: LAG_P99(stage),
            legend: stage,
          })),
        },
        {
          kind: "time",
          title: "Submissions on their way",
          queries: [
            {
              expr: 'max by (state) (submissions{state=~"QUEUED|ASSIGNED|INCLUDED|QUARANTINED"})',
              legend: "{{state}}",
            },
          ],
        },
        {
          kind: "time",
          title: "Final on the chain",
          unit: "ops",
          queries: [
            {
              expr: "sum by (outcome) (rate(blockchain_submissions_total[1m]))",
              legend: "{{outcome}}",
            },
          ],
        },
      ],
    },
    {
      title: "Fit for work",
      panels: [
        {
          kind: "state",
          title: "Nodes' checks",
          width: 12,
          queries: [{ expr: "node_check", legend: "{{instance}} {{check}}" }],
        },
        {
          kind: "state",
          title: "Processes that answer",
          width: 12,
          queries: [{ expr: 'up{job=~"quorate-.*|etcd"}', legend: "{{job}} {{instance}}" }],
        },
      ],
    },
  ],
};
