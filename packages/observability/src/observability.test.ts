import { readFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { type AlertRule, readAlerts } from "./alert-rules.ts";
import { catalogue } from "./catalogue.ts";
import { DASHBOARDS } from "./dashboards/all.ts";
import { generatedFiles } from "./generated-files.ts";
import { lintObservability } from "./lint.ts";
import type { DashboardSpec } from "./panel.ts";
import { ROOT } from "./root.ts";

const SPECIFIED = [
  "votes_received_total",
  "votes_rejected_byzantine_total",
  "threshold_reached_total",
  "transactions_aborted_byzantine_total",
  "blockchain_submissions_total",
  "submission_latency_seconds",
  "active_votes",
  "peer_reputation",
  "etcd_operation_duration_seconds",
  "gossipsub_messages_total",
  "banned_peers_total",
];
const SPECIFIED_ALERTS = [
  "HighByzantineRate",
  "TransactionAborted",
  "EtcdClusterUnhealthy",
  "PostgreSQLDown",
  "HighSubmissionLatency",
  "LowReputationNodes",
  "NetworkPartitionSuspected",
  "GarbageCollectionFailed",
];

let alerts: readonly AlertRule[];
const dashboards = Object.values(DASHBOARDS);
const first = (): AlertRule => {
  const [rule] = alerts;
  if (rule === undefined) throw new Error("no alerts");
  return rule;
};
const oneMore = (expr: string): readonly DashboardSpec[] => [
  ...dashboards,
  {
    uid: "more",
    title: "More",
    description: "",
    rows: [{ title: "", panels: [{ kind: "time", title: "More", queries: [{ expr }] }] }],
  },
];

beforeAll(() => {
  alerts = readAlerts(ROOT);
});

describe("what operators watch", () => {
  test("has every metric of the specification under its printed name [spec §13.1]", () => {
    const names = new Set(catalogue().map(({ name }) => name));
    expect(SPECIFIED.filter((name) => !names.has(name))).toEqual([]);
  });

  test("has every alert of the specification [spec §13.3]", () => {
    const names = new Set(alerts.map(({ alert }) => alert));
    expect(SPECIFIED_ALERTS.filter((name) => !names.has(name))).toEqual([]);
  });

  test("names no metric twice, and none by a transaction", () => {
    const names = catalogue().map(({ name }) => name);
    expect(names.filter((name, i) => names.indexOf(name) !== i)).toEqual([]);
    const labels = new Set(catalogue().flatMap((entry) => entry.labels));
    for (const forbidden of ["tx", "tx_id", "txId", "value", "hash", "peer"])
      expect([...labels]).not.toContain(forbidden);
  });

  test("holds together: metrics, panels, alerts, their tests and runbooks", async () => {
    expect(await lintObservability(ROOT, alerts, dashboards)).toEqual([]);
  });

  test("is generated: the files in the checkout are what the code says", async () => {
    for (const [path, text] of await generatedFiles())
      expect(readFileSync(join(ROOT, path), "utf8"), path).toBe(text);
  });

  test("shows each dashboard under an id of its own, with whichever Prometheus is chosen", async () => {
    const uids = dashboards.map(({ uid }) => uid);
    expect(new Set(uids).size).toBe(uids.length);
    for (const [path, text] of await generatedFiles())
      if (path.endsWith(".json")) {
        expect(text).toContain('"uid": "${datasource}"');
        expect(text).toContain('"/runbooks/"');
      }
  });
});

describe("the lint", () => {
  test("sees a metric that nobody provides, on a panel and in an alert", async () => {
    expect(await lintObservability(ROOT, alerts, oneMore("rate(nowhere_total[1m])"))).toEqual([
      'panel "More" of more asks for nowhere_total, which nobody provides',
    ]);
    const rules = [...alerts.slice(1), { ...first(), expr: "nowhere > 1" }];
    expect(await lintObservability(ROOT, rules, dashboards)).toContain(
      `alert ${first().alert} asks for nowhere, which nobody provides`,
    );
  });

  test("sees a metric that nobody asks for", async () => {
    const without = dashboards.filter(({ uid }) => uid !== "quorate-network");
    expect(await lintObservability(ROOT, alerts, without)).toContain(
      "gossip_mesh_peers is on no panel and in no alert",
    );
  });

  test("sees an alert without a test, a runbook, a severity or words, and a runbook without an alert", async () => {
    const stray = { ...first(), alert: "Stray", severity: "", annotations: {} };
    const faults = await lintObservability(ROOT, [...alerts.slice(1), stray], dashboards);
    for (const fault of [
      "alert Stray has no severity",
      "alert Stray has no summary",
      "alert Stray does not name its runbook",
      "alert Stray has no test in which it fires",
      "runbook Stray.md is missing",
      `runbook ${first().alert}.md belongs to no alert`,
    ])
      expect(faults).toContain(fault);
  });
});
