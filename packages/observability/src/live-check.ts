import type { LocalCluster } from "@quorate/localcluster";
import { createNodeClient } from "@quorate/localcluster/client";
import { readAlerts } from "./alert-rules.ts";
import { catalogue, type MetricApp, processMetricNames, seriesNames } from "./catalogue.ts";
import { DASHBOARDS } from "./dashboards/all.ts";
import { FOREIGN_METRICS, lintObservability } from "./lint.ts";
import type { PrometheusServer, RuleState } from "./prometheus-server.ts";
import { runTools } from "./promtool.ts";
import { ROOT } from "./root.ts";

export interface LiveReport {
  readonly ok: boolean;
  /** One sentence per fault. */
  readonly faults: readonly string[];
  readonly panelQueries: number;
  /** Of those, without an answer where that is no fault. */
  readonly emptyAllowed: readonly string[];
  readonly alertRules: number;
  readonly firing: readonly string[];
  /** Their condition holds, not for long enough yet: on a loaded machine there may be some. */
  readonly pending: readonly string[];
  readonly metrics: number;
  readonly tools: readonly { readonly command: string; readonly ok: boolean | null }[];
}

/** Every trustee votes alike on each of them. @returns how many were voted on */
export async function castLoad(
  cluster: LocalCluster,
  { forMs, everyMs, signal }: { forMs: number; everyMs: number; signal: AbortSignal },
  pause: (ms: number) => Promise<void>,
): Promise<number> {
  const clients = cluster.nodes.map(({ url }) => createNodeClient(url));
  const rounds = Math.floor(forMs / everyMs);
  for (let i = 0; i < rounds && !signal.aborted; i++) {
    await Promise.all(
      clients.map((client) => client.vote(`watched-${i}`, String(i), { signal }).catch(() => {})),
    );
    await pause(everyMs);
  }
  return rounds;
}

/** Asks a running Prometheus for all that panels and alerts ask for, and holds the names against the catalogue. */
export async function checkLive(
  prometheus: PrometheusServer,
  cluster: LocalCluster,
): Promise<LiveReport> {
  const alerts = readAlerts(ROOT);
  const dashboards = Object.values(DASHBOARDS);
  const faults = [...(await lintObservability(ROOT, alerts, dashboards))];
  const emptyAllowed: string[] = [];
  let panelQueries = 0;
  for (const { uid, rows } of dashboards)
    for (const { panels } of rows)
      for (const { title, queries, mayBeEmpty } of panels)
        for (const { expr } of queries) {
          panelQueries += 1;
          const where = `panel "${title}" of ${uid}: ${expr}`;
          const answer = await prometheus.query(expr).catch((error: unknown) => String(error));
          if (typeof answer === "string") faults.push(`${where}: ${answer}`);
          else if (answer.length === 0 && mayBeEmpty === true) emptyAllowed.push(where);
          else if (answer.length === 0) faults.push(`${where}: no answer`);
        }
  for (const { alert, expr } of alerts) {
    const answer = await prometheus.query(expr).catch((error: unknown) => String(error));
    if (typeof answer === "string") faults.push(`alert ${alert}: ${answer}`);
  }
  const rules = await prometheus.rules();
  for (const { name, health, lastError } of rules)
    if (health !== "ok") faults.push(`alert ${name} is ${health}: ${lastError}`);
  if (rules.length !== alerts.length)
    faults.push(`Prometheus has ${rules.length} rules, the checkout ${alerts.length}`);
  const names = await prometheus.metricNames();
  for (const name of FOREIGN_METRICS)
    if (!names.has(name)) faults.push(`${name} is provided by nobody here`);
  const [node] = cluster.nodes;
  if (node !== undefined) faults.push(...(await checkNames("node", node.url)));
  faults.push(...(await checkNames("submitter", cluster.submitter.url)));
  const tools = await runTools();
  for (const { command, ok, output } of tools)
    if (ok === false) faults.push(`${command}: ${output}`);
  return {
    ok: faults.length === 0,
    faults,
    panelQueries,
    emptyAllowed,
    alertRules: rules.length,
    firing: namesOf(rules, "firing"),
    pending: namesOf(rules, "pending"),
    metrics: catalogue().length,
    tools: tools.map(({ command, ok }) => ({ command, ok })),
  };
}

function namesOf(rules: readonly RuleState[], state: string): readonly string[] {
  return [...new Set(rules.filter((rule) => rule.state === state).map(({ name }) => name))];
}

/**
 * Waits until the alerts' conditions hold, whether or not for long enough to ring.
 * @returns those that never did
 */
export async function awaitActive(
  prometheus: PrometheusServer,
  names: readonly string[],
  { timeoutMs, everyMs }: { readonly timeoutMs: number; readonly everyMs: number },
  pause: (ms: number) => Promise<void>,
): Promise<readonly string[]> {
  for (let waitedMs = 0; ; waitedMs += everyMs) {
    const rules = await prometheus.rules();
    const active = new Set([...namesOf(rules, "pending"), ...namesOf(rules, "firing")]);
    const missing = names.filter((name) => !active.has(name));
    if (missing.length === 0 || waitedMs >= timeoutMs) return missing;
    await pause(everyMs);
  }
}

/** What an app serves is what the catalogue says of it, and nothing else. */
async function checkNames(app: MetricApp, url: string): Promise<readonly string[]> {
  const text = await (await fetch(`${url}/metrics`)).text();
  const served = new Set([...text.matchAll(/^# TYPE (\S+) /gm)].map(([, name]) => name ?? ""));
  const declared = catalogue().filter(({ apps }) => apps.includes(app));
  const expected = new Set([...declared.map(({ name }) => name), ...(await processMetricNames())]);
  return [
    ...declared
      .filter(({ name }) => !served.has(name))
      .map(({ name }) => `the ${app} does not serve ${name}`),
    ...[...served]
      .filter((name) => !expected.has(name))
      .map((name) => `the ${app} serves ${name}, which the catalogue does not have`),
    ...declared
      .filter((entry) => !entry.labels.includes("node") && entry.initial.length > 0)
      .filter((entry) => !seriesNames(entry).some((name) => text.includes(`\n${name}{`)))
      .map(({ name }) => `the ${app} serves no series of ${name}`),
  ];
}
