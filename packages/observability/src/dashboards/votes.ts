import type { DashboardSpec } from "../panel.ts";

export const votes: DashboardSpec = {
  uid: "quorate-votes",
  title: "Quorate / Votes and Byzantine behaviour",
  description: "Who votes, who does not, who cheats, and what is refused.",
  rows: [
    {
      title: "Participation",
      panels: [
        {
          kind: "time",
          title: "Recorded votes by trustee",
          unit: "ops",
          note: "All nodes see the same votes: the largest figure of any node.",
          queries: [{ expr: "max by (node) (rate(trustee_votes_total[1m]))", legend: "{{node}}" }],
        },
        {
          kind: "time",
          title: "Missed votes by trustee",
          note: "Deadlines that passed without a vote, where it was held against the trustee.",
          queries: [
            {
              expr: "max by (node) (increase(trustee_missed_votes_total[15m]))",
              legend: "{{node}}",
            },
          ],
        },
        {
          kind: "time",
          title: "Late votes by trustee",
          queries: [
            { expr: "max by (node) (increase(trustee_late_votes_total[15m]))", legend: "{{node}}" },
          ],
        },
        {
          kind: "time",
          title: "Reputation",
          red: 0.5,
          below: true,
          note: "From 1 (spotless) to 0; below 0.3 a trustee is banned.",
          queries: [{ expr: "max by (node) (peer_reputation)", legend: "{{node}}" }],
        },
        {
          kind: "time",
          title: "Votes received",
          unit: "ops",
          queries: [
            {
              expr: "sum by (instance, source) (rate(votes_received_total[1m]))",
              legend: "{{instance}} {{source}}",
            },
          ],
        },
        {
          kind: "time",
          title: "Votes under one signature",
          note: "Own votes in each published frame.",
          mayBeEmpty: true,
          queries: [
            {
              expr: 'sum by (instance) (rate(votes_received_total{source="local"}[1m])) / (sum by (instance) (rate(vote_frames_published_total[1m])) > 0)',
              legend: "{{instance}}",
            },
          ],
        },
      ],
    },
    {
      title: "Byzantine behaviour",
      panels: [
        {
          kind: "time",
          title: "Violations",
          queries: [
            {
              expr: "sum by (type) (increase(votes_rejected_byzantine_total[5m]))",
              legend: "{{type}}",
            },
          ],
        },
        {
          kind: "time",
          title: "Bans in force",
          queries: [{ expr: "max(banned_peers_total)", legend: "banned" }],
        },
        {
          kind: "time",
          title: "Ban to enforcement (p99)",
          unit: "s",
          red: 0.01,
          mayBeEmpty: true,
          queries: [
            {
              expr: "histogram_quantile(0.99, sum by (le) (rate(ban_enforcement_seconds_bucket[5m])))",
              legend: "p99",
            },
          ],
        },
        {
          kind: "time",
          title: "Bans by score, withheld, struck",
          queries: [
            { expr: "sum(increase(reputation_bans_total[15m]))", legend: "for a low score" },
            { expr: "max(reputation_bans_withheld)", legend: "withheld" },
            { expr: "sum(increase(bans_struck_total[15m]))", legend: "forged, struck" },
          ],
        },
        {
          kind: "time",
          title: "Outages judged",
          queries: [{ expr: "sum(increase(outage_judgements_total[15m]))", legend: "deadlines" }],
        },
      ],
    },
    {
      title: "Refusals and receipts",
      panels: [
        {
          kind: "time",
          title: "Refused at admission",
          unit: "ops",
          queries: [
            { expr: "sum by (reason) (rate(votes_rejected_total[1m])) > 0", legend: "{{reason}}" },
          ],
          mayBeEmpty: true,
        },
        {
          kind: "time",
          title: "Refused, in receipts",
          unit: "ops",
          mayBeEmpty: true,
          queries: [
            { expr: "sum by (reason) (rate(receipts_total[1m])) > 0", legend: "{{reason}}" },
          ],
        },
        {
          kind: "time",
          title: "Receipts",
          queries: [
            { expr: "sum by (instance) (receipts_unwritten)", legend: "{{instance}} waiting" },
            { expr: "sum(increase(receipts_aggregated_total[5m]))", legend: "counted together" },
            { expr: "sum(increase(receipts_lost_total[5m]))", legend: "lost" },
          ],
        },
      ],
    },
    {
      title: "Recording",
      panels: [
        {
          kind: "time",
          title: "Votes that wait to be recorded",
          queries: [{ expr: "sum by (instance) (pending_votes)", legend: "{{instance}}" }],
        },
        {
          kind: "time",
          title: "Reception to record",
          unit: "s",
          mayBeEmpty: true,
          queries: [0.5, 0.99].map((q) => ({
            expr: `histogram_quantile(${q}, sum by (le) (rate(vote_record_seconds_bucket[1m])))`,
            legend: `p${q * 100}`,
          })),
        },
        {
          kind: "time",
          title: "Transactions in one commit (mean)",
          mayBeEmpty: true,
          queries: [
            {
              expr: "sum(rate(commit_batch_transactions_sum[1m])) / (sum(rate(commit_batch_transactions_count[1m])) > 0)",
              legend: "transactions",
            },
          ],
        },
        {
          kind: "time",
          title: "Lost races",
          unit: "ops",
          queries: [{ expr: "sum(rate(commit_conflicts_total[1m]))", legend: "decided again" }],
        },
      ],
    },
  ],
};
