import { catalogue, type MetricEntry, processMetricNames } from "./catalogue.ts";

/** The text of docs/METRICS.md. */
export async function metricsPage(): Promise<string> {
  const entries = catalogue();
  const subjects = [...new Set(entries.map(({ subject }) => subject))];
  const process = (await processMetricNames()).toSorted();
  return [
    "# Metrics",
    "",
    "Made from the code that declares them by `pnpm run generate:observability`; a test fails when this page is behind.",
    "",
    "Every node and submitter serves them at `GET /metrics`. Units are seconds, bytes and ether; a name ends with its unit. Counters and",
    "known labels exist from the start with 0, so that the first event is an increase. Label values are closed sets: reasons, types, states,",
    "and `node`, a trustee's id (at most 100). A transaction's id is never one.",
    "",
    "Eleven names are the specification's (§13.1): `votes_received_total`, `votes_rejected_byzantine_total`, `threshold_reached_total`,",
    "`transactions_aborted_byzantine_total`, `blockchain_submissions_total`, `submission_latency_seconds`, `active_votes`, `peer_reputation`,",
    "`etcd_operation_duration_seconds`, `gossipsub_messages_total`, `banned_peers_total` (a gauge in spite of its name, as printed there).",
    "",
    ...subjects.flatMap((subject) =>
      section(
        subject,
        entries.filter((e) => e.subject === subject),
      ),
    ),
    "## The process",
    "",
    "From prom-client, under their usual names, in every app:",
    "",
    ...process.map((name) => `- \`${name}\``),
    "",
  ].join("\n");
}

function section(subject: string, entries: readonly MetricEntry[]): readonly string[] {
  const apps = entries[0]?.apps.join(" and ") ?? "";
  return [
    `## ${subject} (${apps})`,
    "",
    "| Metric | Type | Labels | What it says |",
    "|---|---|---|---|",
    ...entries.map(
      (e) => `| \`${e.name}\` | ${e.kind} | ${labelsOf(e)} | ${e.help.replaceAll("|", "\\|")} |`,
    ),
    "",
  ];
}

function labelsOf({ labels, initial }: MetricEntry): string {
  if (labels.length === 0) return "";
  const names = labels.map((label) => `\`${label}\``).join(", ");
  return initial.length === 0 ? names : `${names}: ${initial.join(", ")}`;
}
