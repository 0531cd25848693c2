import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { parseClusterId, unwrap } from "@quorate/core";
import { stopAll } from "@quorate/devkit";
import { startCluster, startLocalServers } from "@quorate/localcluster";
import { createNodeClient } from "@quorate/localcluster/client";
import { awaitActive, castLoad, checkLive, type LiveReport } from "./live-check.ts";
import { startPrometheus } from "./prometheus-server.ts";

const HELP = `Usage: npm run check:observability -- [--json]

Starts a cluster of four trustees on this machine, a real Prometheus that scrapes it, and votes for half a
minute. Then it asks Prometheus for every panel and every alert, holds what is served against the catalogue
of metrics, runs the tests of the alerts, and stops a node and the submitter to see who notices. Exit code 0: all is well. 1: something is wrong. Takes about
a minute.
`;
const TRUSTEES = 4;
const LOAD = { forMs: 30_000, everyMs: 500 };
// Longer than the submitter and the collector wait between two looks.
const SETTLE_MS = 6_000;
/** What a person must be told when one of four nodes and the only submitter are gone. */
const RING_WHEN_STOPPED = ["NodeDown", "QuorumAtRisk", "SubmitterDown", "SubmitterWithoutLeader"];
// A node's presence ends with its lease.
const RINGING = { timeoutMs: 60_000, everyMs: 1_000 };
const INTERRUPTED = 130;

const say = (text: string): void => void process.stderr.write(`${text}\n`);
const hostOf = (url: string): string => new URL(url).host;

async function check(directory: string, signal: AbortSignal): Promise<LiveReport> {
  const servers = await startLocalServers({
    directory: join(directory, "servers"),
    etcdMembers: 1,
    signal,
  });
  say("etcd, PostgreSQL and Anvil are up");
  const cluster = await startCluster({
    servers,
    directory: join(directory, "cluster"),
    clusterId: unwrap(parseClusterId("watched")),
    trustees: TRUSTEES,
    threshold: TRUSTEES - 1,
    signal,
  });
  const prometheus = await startPrometheus({
    directory: join(directory, "prometheus"),
    targets: {
      "quorate-node": cluster.nodes.map(({ url }) => hostOf(url)),
      "quorate-submitter": [hostOf(cluster.submitter.url)],
      etcd: servers.etcd.endpoints.map(hostOf),
    },
  });
  say(`a cluster of ${TRUSTEES} is up, Prometheus scrapes it at ${prometheus.url}`);
  const pause = (ms: number): Promise<void> => sleep(ms, undefined, { signal });
  const voted = await castLoad(cluster, { ...LOAD, signal }, pause);
  say(`voted on ${voted} transactions; now two disagree, and that must ring`);
  // Two against two: neither value can get three votes.
  await Promise.all(
    cluster.nodes.map(({ url }, i) =>
      createNodeClient(url)
        .vote("disputed", String(i % 2), { signal })
        .catch(() => {}),
    ),
  );
  await pause(SETTLE_MS);
  const report = await checkLive(prometheus, cluster);
  say("now a node and the only submitter are stopped, and that must ring, too");
  await cluster.nodes.at(-1)?.stop({ signal });
  await cluster.submitter.stop({ signal });
  const silent = await awaitActive(prometheus, RING_WHEN_STOPPED, RINGING, pause);
  await prometheus.stop();
  await cluster.stop();
  await servers.stop();
  const faults = [
    ...report.faults,
    ...silent.map((name) => `a node and the submitter were stopped and ${name} did not notice`),
  ];
  if (!report.firing.includes("TransactionAborted"))
    faults.push("a transaction was aborted and TransactionAborted did not fire");
  return { ...report, ok: faults.length === 0, faults };
}

function render(report: LiveReport): string {
  const lines = [
    `${report.panelQueries} panel queries, ${report.emptyAllowed.length} of them empty where they may be`,
    `${report.alertRules} alert rules, firing now: ${report.firing.join(", ") || "none"}; pending: ${report.pending.join(", ") || "none"}`,
    `${report.metrics} metrics in the catalogue`,
    ...report.tools.map(
      ({ command, ok }) => `${ok === null ? "not here" : ok ? "ok" : "FAIL"}  ${command}`,
    ),
    ...report.faults.map((fault) => `FAULT  ${fault}`),
    report.ok ? "all is well" : `${report.faults.length} faults`,
  ];
  return lines.join("\n");
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: { json: { type: "boolean" }, help: { type: "boolean", short: "h" } },
  });
  if (values.help === true) {
    process.stdout.write(HELP);
    return 0;
  }
  const stopped = new AbortController();
  for (const name of ["SIGINT", "SIGTERM"] as const)
    process.once(name, () => stopped.abort(new Error(name)));
  const directory = await mkdtemp(join(tmpdir(), "quorate-observability-"));
  try {
    const report = await check(directory, stopped.signal);
    process.stdout.write(
      `${values.json === true ? JSON.stringify(report, null, 2) : render(report)}\n`,
    );
    return report.ok ? 0 : 1;
  } catch (error) {
    say(`The check failed: ${error instanceof Error ? error.message : String(error)}`);
    return stopped.signal.aborted ? INTERRUPTED : 1;
  } finally {
    await stopAll();
    await rm(directory, { recursive: true, force: true });
  }
}

process.exitCode = await main();
