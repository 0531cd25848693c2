import type { DashboardSpec } from "../panel.ts";

const LATENCY = (q: number, stage: string): string =>
  `histogram_quantile(${q}, sum by (le) (rate(submission_latency_seconds_bucket{stage="${stage}"}[5m])))`;

export const submitter: DashboardSpec = {
  uid: "quorate-submitter",
  title: "Quorate / Submitter and chain",
  description: "What waits, what was sent, what it costs, and who leads.",
  rows: [
    {
      title: "Now",
      panels: [
        {
          kind: "stat",
          title: "Leaders",
          red: 1,
          below: true,
          queries: [{ expr: "sum(submitter_leader)" }],
        },
        {
          kind: "stat",
          title: "Frozen",
          red: 1,
          queries: [{ expr: "max(submitter_frozen)" }],
        },
        {
          kind: "stat",
          title: "Balance (ether)",
          red: 0.1,
          below: true,
          queries: [{ expr: "min(submitter_balance_ether)" }],
        },
        {
          kind: "stat",
          title: "Nonces in flight",
          queries: [{ expr: "max(submitter_nonce_gap)" }],
        },
        {
          kind: "stat",
          title: "Oldest waiting",
          unit: "s",
          red: 600,
          queries: [{ expr: "max(submissions_oldest_pending_seconds)" }],
        },
        {
          kind: "stat",
          title: "Fee cap reached",
          red: 1,
          queries: [{ expr: "max(submitter_fee_cap_reached)" }],
        },
      ],
    },
    {
      title: "Queue",
      panels: [
        {
          kind: "time",
          title: "Submissions by state",
          queries: [{ expr: "max by (state) (submissions)", legend: "{{state}}" }],
        },
        {
          kind: "time",
          title: "Claims",
          unit: "ops",
          note: "What the submitter made of decided transactions. Unbacked and conflict are alarms.",
          queries: [
            {
              expr: "sum by (outcome) (rate(submission_claims_total[1m]))",
              legend: "{{outcome}}",
            },
          ],
        },
        {
          kind: "time",
          title: "Final or failed",
          unit: "ops",
          queries: [
            {
              expr: "sum by (outcome) (rate(blockchain_submissions_total[1m]))",
              legend: "{{outcome}}",
            },
          ],
        },
        {
          kind: "time",
          title: "Queue to broadcast",
          unit: "s",
          red: 5,
          mayBeEmpty: true,
          queries: [0.5, 0.95, 0.99].map((q) => ({
            expr: LATENCY(q, "broadcast"),
            legend: `p${q * 100}`,
          })),
        },
        {
          kind: "time",
          title: "Queue to inclusion and finality (p99)",
          unit: "s",
          mayBeEmpty: true,
          queries: ["included", "finalized"].map((stage) => ({
            expr: LATENCY(0.99, stage),
            legend: stage,
          })),
        },
        {
          kind: "time",
          title: "Lowest unmined nonce waits",
          unit: "s",
          red: 300,
          queries: [{ expr: "max(submitter_head_of_line_seconds)", legend: "head of the line" }],
        },
      ],
    },
    {
      title: "Sending",
      panels: [
        {
          kind: "time",
          title: "Signed, by kind",
          queries: [
            {
              expr: "sum by (kind) (increase(submission_attempts_total[5m]))",
              legend: "{{kind}}",
            },
          ],
        },
        {
          kind: "time",
          title: "Endpoints' answers",
          queries: [
            {
              expr: "sum by (outcome) (increase(submission_sends_total[5m]))",
              legend: "{{outcome}}",
            },
          ],
        },
        {
          kind: "time",
          title: "Balance (ether)",
          queries: [{ expr: "min(submitter_balance_ether)", legend: "balance" }],
        },
      ],
    },
    {
      title: "Chain and history",
      panels: [
        {
          kind: "time",
          title: "RPC endpoints",
          queries: [
            { expr: "min(chain_endpoints_up)", legend: "good" },
            { expr: "max(chain_endpoints)", legend: "configured" },
          ],
        },
        {
          kind: "time",
          title: "Age of the newest block",
          unit: "s",
          red: 120,
          queries: [{ expr: "min(chain_head_age_seconds)", legend: "age" }],
        },
        {
          kind: "time",
          title: "Differences and failed looks",
          queries: [
            { expr: "max(submitter_history_differences)", legend: "records not known" },
            {
              expr: "sum by (what) (increase(submitter_watch_failures_total[5m]))",
              legend: "look at {{what}} failed",
            },
          ],
        },
        {
          kind: "state",
          title: "Who leads",
          width: 24,
          queries: [{ expr: "submitter_leader", legend: "{{instance}}" }],
        },
      ],
    },
  ],
};
