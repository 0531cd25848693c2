import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parse } from "yaml";
import type { AlertRule } from "./alert-rules.ts";
import { catalogue, processMetricNames, seriesNames } from "./catalogue.ts";
import type { DashboardSpec } from "./panel.ts";
import { namesIn } from "./promql-names.ts";

/** What etcd and Prometheus themselves provide and is asked for here; a live check holds them against real ones. */
export const FOREIGN_METRICS: readonly string[] = [
  "ALERTS",
  "up",
  "etcd_disk_backend_commit_duration_seconds_bucket",
  "etcd_disk_wal_fsync_duration_seconds_bucket",
  "etcd_mvcc_db_total_size_in_bytes",
  "etcd_mvcc_db_total_size_in_use_in_bytes",
  "etcd_server_has_leader",
  "etcd_server_leader_changes_seen_total",
  "etcd_server_proposals_failed_total",
  "etcd_server_proposals_pending",
  "etcd_server_quota_backend_bytes",
];

const SEVERITIES: readonly string[] = ["critical", "warning"];

/**
 * Holds metrics, panels and alerts against each other, both ways.
 * @returns one sentence per fault; empty when all is well.
 */
export async function lintObservability(
  root: string,
  alerts: readonly AlertRule[],
  dashboards: readonly DashboardSpec[],
): Promise<readonly string[]> {
  const entries = catalogue();
  const process = (await processMetricNames()).flatMap((name) => [
    name,
    ...seriesNames({ name, kind: "histogram" }),
  ]);
  const known = new Set([...entries.flatMap(seriesNames), ...process, ...FOREIGN_METRICS]);
  const used = new Set<string>();
  const faults: string[] = [];
  const use = (where: string, expr: string): void => {
    for (const name of namesIn(expr)) {
      used.add(name);
      if (!known.has(name)) faults.push(`${where} asks for ${name}, which nobody provides`);
    }
  };
  for (const { uid, rows } of dashboards)
    for (const { panels } of rows)
      for (const { title, queries } of panels)
        for (const { expr } of queries) use(`panel "${title}" of ${uid}`, expr);
  for (const rule of alerts) use(`alert ${rule.alert}`, rule.expr);
  for (const entry of entries)
    if (!seriesNames(entry).some((name) => used.has(name)))
      faults.push(`${entry.name} is on no panel and in no alert`);
  for (const name of FOREIGN_METRICS)
    if (!used.has(name)) faults.push(`${name} is listed as foreign and used nowhere`);
  return [...faults, ...lintAlerts(root, alerts), ...lintRunbooks(root, alerts)];
}

function lintAlerts(root: string, alerts: readonly AlertRule[]): readonly string[] {
  const faults: string[] = [];
  const seen = new Set<string>();
  for (const { file, alert, severity, annotations } of alerts) {
    if (seen.has(alert)) faults.push(`alert ${alert} is there twice`);
    seen.add(alert);
    if (!SEVERITIES.includes(severity)) faults.push(`alert ${alert} has no severity`);
    for (const name of ["summary", "description"])
      if (!annotations[name]) faults.push(`alert ${alert} has no ${name}`);
    if (annotations.runbook_url !== `deploy/runbooks/${alert}.md`)
      faults.push(`alert ${alert} does not name its runbook`);
    const tests = testsOf(root, file);
    if (!tests.fires.has(alert)) faults.push(`alert ${alert} has no test in which it fires`);
    if (!tests.quiet.has(alert)) faults.push(`alert ${alert} has no test in which it is quiet`);
  }
  return faults;
}

interface TestFile {
  readonly tests: readonly {
    readonly promql_expr_test: readonly {
      readonly expr: string;
      readonly exp_samples: readonly unknown[];
    }[];
  }[];
}

/** The alerts that some test of the rules' file expects to fire, and those that some expects to be quiet. */
function testsOf(root: string, file: string): Readonly<Record<"fires" | "quiet", Set<string>>> {
  const text = readFileSync(join(root, "deploy/prometheus/tests", file), "utf8");
  const { tests } = parse(text) as TestFile;
  const found = { fires: new Set<string>(), quiet: new Set<string>() };
  for (const { expr, exp_samples: samples } of tests.flatMap((t) => t.promql_expr_test)) {
    const alert = /alertname="(\w+)"/.exec(expr)?.[1];
    if (alert !== undefined) found[samples.length > 0 ? "fires" : "quiet"].add(alert);
  }
  return found;
}

function lintRunbooks(root: string, alerts: readonly AlertRule[]): readonly string[] {
  const directory = join(root, "deploy/runbooks");
  const names = new Set(alerts.map(({ alert }) => `${alert}.md`));
  const missing = [...names]
    .filter((name) => !existsSync(join(directory, name)))
    .map((name) => `runbook ${name} is missing`);
  const orphans = readdirSync(directory)
    .filter((name) => !names.has(name))
    .map((name) => `runbook ${name} belongs to no alert`);
  const thin = [...names].flatMap((name) => {
    if (!existsSync(join(directory, name))) return [];
    const text = readFileSync(join(directory, name), "utf8");
    return ["## What it means", "## Check", "## Do", "## Escalate"]
      .filter((heading) => !text.includes(`\n${heading}\n`))
      .map((heading) => `runbook ${name} lacks "${heading}"`);
  });
  return [...missing, ...orphans, ...thin];
}
