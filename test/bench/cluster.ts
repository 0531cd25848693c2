import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseClusterId, unwrap } from "@quorate/core";
import { type LocalCluster, type LocalServers, startCluster } from "@quorate/localcluster";
import type { Clock, Logger } from "@quorate/ports";
import { createEtcdTallyStore } from "@quorate/store-etcd";
import { quantile } from "./quantile.ts";

export interface ClusterBenchResult {
  readonly signatureBatching: boolean;
  readonly nodes: number;
  readonly threshold: number;
  /** Transactions that reached THRESHOLD_REACHED a second, with as many votes as the cluster takes. */
  readonly saturationDecidedPerSecond: number;
  readonly halfLoadDecidedPerSecond: number;
  /** From the first byte of a transaction's votes to the decision as an etcd watcher sees it. */
  readonly halfLoadP50Ms: number;
  readonly halfLoadP99Ms: number;
  readonly gossipMessagesPerVote: number;
  readonly signaturesPerVote: number;
  /** CPU of all node processes over recorded votes; null where /proc is not there. */
  readonly cpuMsPerVote: number | null;
  readonly votes: number;
  readonly undecided: number;
}

export interface ClusterBenchRequest {
  readonly servers: LocalServers;
  readonly directory: string;
  readonly signatureBatching: boolean;
  /** Of each of the two phases. */
  readonly seconds: number;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly onProgress: (message: string) => void;
}

const NODES = 5;
const THRESHOLD = 4;
/** Transactions in one request; each goes to all five nodes at once. */
const SATURATION_BATCH = 64;
const SATURATION_REQUESTS = 6;

/** Five node processes with real gossip, driven over their HTTP API; no submitter, for the decision is what is measured. */
export async function benchCluster(request: ClusterBenchRequest): Promise<ClusterBenchResult> {
  const { servers, signatureBatching, onProgress } = request;
  const clusterId = unwrap(
    parseClusterId(`bench-${signatureBatching ? "batched" : "single"}-${process.pid}`),
  );
  const cluster = await startCluster({
    servers,
    directory: request.directory,
    clusterId,
    trustees: NODES,
    threshold: THRESHOLD,
    protocol: { deadlineMs: 600_000 },
    logLevel: "error",
    withSubmitter: false,
    absent: Array.from({ length: NODES }, (_, i) => `trustee-${i + 1}`),
  });
  try {
    if (!signatureBatching) turnBatchingOff(cluster);
    await Promise.all(cluster.nodes.map((node) => node.start()));
    onProgress("five nodes are ready");
    return await measure(cluster, request);
  } finally {
    await cluster.stop();
  }
}

function turnBatchingOff(cluster: LocalCluster): void {
  for (const node of cluster.nodes) {
    const config = JSON.parse(readFileSync(node.configFile, "utf8")) as object;
    writeFileSync(
      node.configFile,
      JSON.stringify({ ...config, publisher: { windowMs: 4, frameVotesMax: 1 } }),
    );
  }
}

async function measure(
  cluster: LocalCluster,
  request: ClusterBenchRequest,
): Promise<ClusterBenchResult> {
  const { servers, clock, logger, onProgress } = request;
  const decidedAtMs = new Map<string, number>();
  const store = createEtcdTallyStore(
    {
      hosts: servers.etcd.endpoints,
      clusterId: cluster.clusterId,
      requestTimeoutMs: 10_000,
      dialTimeoutMs: 10_000,
    },
    { clock, logger },
  );
  await store.start();
  const stop = new AbortController();
  const watching = store
    .watch(
      await store.revision(),
      (set) => {
        for (const change of set.changes)
          if (change.kind === "status" && change.status === "THRESHOLD_REACHED")
            if (!decidedAtMs.has(change.txId)) decidedAtMs.set(change.txId, performance.now());
      },
      { signal: stop.signal },
    )
    .catch(() => {});
  try {
    // Warm up: connections, compiled code, meshes.
    await saturate(cluster, "warm", 1);
    const before = await totals(cluster);
    const saturation = await saturate(cluster, "full", request.seconds);
    const after = await totals(cluster);
    const full = countDecided(decidedAtMs, "full-") / saturation.seconds;
    onProgress(`saturation: ${full.toFixed(0)} decided transactions a second`);
    const half = await offer(cluster, "half", full / 2, request.seconds);
    const latencies = [...half.sentAtMs].flatMap(([txId, sentMs]) => {
      const decidedMs = decidedAtMs.get(txId);
      return decidedMs === undefined ? [] : [decidedMs - sentMs];
    });
    const votes = saturation.transactions * NODES;
    const cpuMs = before.cpuMs === null || after.cpuMs === null ? null : after.cpuMs - before.cpuMs;
    return {
      signatureBatching: request.signatureBatching,
      nodes: NODES,
      threshold: THRESHOLD,
      saturationDecidedPerSecond: full,
      halfLoadDecidedPerSecond: latencies.length / half.seconds,
      halfLoadP50Ms: quantile(latencies, 0.5),
      halfLoadP99Ms: quantile(latencies, 0.99),
      gossipMessagesPerVote: (after.published - before.published) / votes,
      signaturesPerVote: (after.frames - before.frames) / votes,
      cpuMsPerVote: cpuMs === null ? null : cpuMs / votes,
      votes,
      undecided: half.sentAtMs.size - latencies.length,
    };
  } finally {
    stop.abort();
    await watching;
    await store.stop();
  }
}

function countDecided(decidedAtMs: ReadonlyMap<string, number>, prefix: string): number {
  return [...decidedAtMs.keys()].filter((txId) => txId.startsWith(prefix)).length;
}

/** Closed loop: as many requests in flight as keep every node busy. */
async function saturate(
  cluster: LocalCluster,
  prefix: string,
  seconds: number,
): Promise<{ readonly transactions: number; readonly seconds: number }> {
  const startedMs = performance.now();
  const endMs = startedMs + seconds * 1_000;
  let next = 0;
  let done = 0;
  const worker = async (): Promise<void> => {
    while (performance.now() < endMs) {
      const first = next;
      next += SATURATION_BATCH;
      const ids = Array.from({ length: SATURATION_BATCH }, (_, i) => `${prefix}-${first + i}`);
      await castEverywhere(cluster, ids);
      done += ids.length;
    }
  };
  await Promise.all(Array.from({ length: SATURATION_REQUESTS }, worker));
  return { transactions: done, seconds: (performance.now() - startedMs) / 1_000 };
}

/** Open loop: transactions come at a rate, whether or not earlier ones are decided. */
async function offer(
  cluster: LocalCluster,
  prefix: string,
  perSecond: number,
  seconds: number,
): Promise<{ readonly sentAtMs: ReadonlyMap<string, number>; readonly seconds: number }> {
  const sentAtMs = new Map<string, number>();
  const pending: Promise<void>[] = [];
  const startedMs = performance.now();
  const total = Math.floor(perSecond * seconds);
  let sent = 0;
  while (sent < total) {
    const elapsed = (performance.now() - startedMs) / 1_000;
    const due = Math.min(total, Math.floor(elapsed * perSecond), sent + 256);
    if (due > sent) {
      const ids = Array.from({ length: due - sent }, (_, i) => `${prefix}-${sent + i}`);
      const nowMs = performance.now();
      for (const id of ids) sentAtMs.set(id, nowMs);
      pending.push(castEverywhere(cluster, ids));
      sent = due;
    }
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  await Promise.all(pending);
  return { sentAtMs, seconds: (performance.now() - startedMs) / 1_000 };
}

async function castEverywhere(cluster: LocalCluster, ids: readonly string[]): Promise<void> {
  const body = JSON.stringify({ votes: ids.map((txId) => ({ txId, value: "7" })) });
  await Promise.all(
    cluster.nodes.map(async (node) => {
      const response = await fetch(`${node.url}/v1/votes/batch`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body,
      });
      const answer = (await response.json()) as { results?: { httpStatus: number }[] };
      // 202: taken, and not recorded yet; whether it is decided is what the watcher counts.
      const bad = answer.results?.find(
        ({ httpStatus }) => httpStatus !== 200 && httpStatus !== 202,
      );
      if (!response.ok || bad !== undefined)
        throw new Error(`${node.name} refused a vote: ${JSON.stringify(bad ?? answer)}`);
    }),
  );
}

interface Totals {
  readonly cpuMs: number | null;
  readonly published: number;
  readonly frames: number;
}

async function totals(cluster: LocalCluster): Promise<Totals> {
  let cpuMs: number | null = 0;
  let published = 0;
  let frames = 0;
  for (const node of cluster.nodes) {
    const text = await (await fetch(`${node.url}/metrics`)).text();
    published += sum(text, /^gossipsub_messages_total\{[^}]*direction="out"[^}]*\} (\S+)$/gm);
    frames += sum(text, /^vote_frames_published_total(?:\{\})? (\S+)$/gm);
    const used = node.pid === null ? null : cpuMsOf(node.pid);
    cpuMs = cpuMs === null || used === null ? null : cpuMs + used;
  }
  return { cpuMs, published, frames };
}

function sum(text: string, pattern: RegExp): number {
  let total = 0;
  for (const match of text.matchAll(pattern)) total += Number(match[1]);
  return total;
}

/** User and system time of a process, in ms; Linux counts them in hundredths of a second. */
function cpuMsOf(pid: number): number | null {
  try {
    const fields = readFileSync(join("/proc", String(pid), "stat"), "utf8")
      .split(") ")[1]
      ?.split(" ");
    return (Number(fields?.[11]) + Number(fields?.[12])) * 10;
  } catch {
    return null;
  }
}
