import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { serverVersions, startEtcd, stopAll } from "@quorate/devkit";
import { startLocalServers } from "@quorate/localcluster";
import { createLogger, systemClock } from "@quorate/telemetry";
import { benchCluster, type ClusterBenchResult } from "./cluster.ts";
import {
  type AlgorithmOneResult,
  benchAlgorithmOne,
  benchCommitPath,
  benchRawPuts,
  type CommitPathResult,
  type RawPutsResult,
} from "./etcd-commit.ts";
import { measureMachine } from "./machine.ts";

const HELP = `Measures Quorate on this machine; every figure of one table comes from the same run.

  npm run bench [-- --json] [--only etcd|cluster] [--quick]

  --json    one JSON document on standard output
  --only    only the commit path through etcd, or only the whole cluster
  --quick   a third of the work; noisier
`;

const VOTES_PER_TX = 5;
const WRITERS = 5;

interface EtcdRow {
  readonly members: 1 | 3;
  readonly algorithmOne: AlgorithmOneResult;
  readonly commitPath: CommitPathResult;
  readonly rawPuts: RawPutsResult;
  /** Unique votes a second: ours over the specification's Algorithm 1. */
  readonly timesAlgorithmOne: number;
  /** Unique votes a second: ours over bare batched puts. */
  readonly shareOfRaw: number;
}

/** Turns that our path and the raw limit take, of which the median counts. */
const ROUNDS = 5;

function median<T extends { readonly votesPerSecond: number }>(runs: readonly T[]): T {
  const sorted = runs.toSorted((a, b) => a.votesPerSecond - b.votesPerSecond);
  const middle = sorted[Math.floor(sorted.length / 2)];
  if (middle === undefined) throw new Error("no run to take the median of");
  return middle;
}

const progress = (message: string): void => void process.stderr.write(`bench: ${message}\n`);

async function benchEtcd(members: 1 | 3, quick: boolean, directory: string): Promise<EtcdRow> {
  const etcd = await startEtcd({ dataDir: join(directory, `etcd-${members}`), members });
  try {
    const scale = quick ? 1 / 3 : 1;
    const target = { hosts: etcd.endpoints, votesPerTx: VOTES_PER_TX };
    progress(`${members} etcd member(s): the specification's Algorithm 1`);
    const algorithmOne = await benchAlgorithmOne({
      ...target,
      transactions: Math.round(200 * scale),
      writers: WRITERS,
    });
    const work = {
      ...target,
      transactions: Math.round(6_000 * scale),
      concurrency: 8,
    };
    const ours = { ...work, writers: WRITERS, batch: 56 };
    const raw = { ...work, batch: 120 };
    // Compiled code and page caches favour whoever comes second, so both are warmed up, and
    // then take turns: the machine is not ours alone, and the median of each is what is compared.
    await benchCommitPath({ ...ours, transactions: 1_500 });
    await benchRawPuts({ ...raw, transactions: 1_500 });
    const commitPaths: CommitPathResult[] = [];
    const rawRuns: RawPutsResult[] = [];
    for (let round = 1; round <= ROUNDS; round++) {
      progress(
        `${members} etcd member(s): Quorate's commit path and bare puts, ${round}/${ROUNDS}`,
      );
      commitPaths.push(await benchCommitPath(ours));
      rawRuns.push(await benchRawPuts(raw));
    }
    const commitPath = {
      ...median(commitPaths),
      wrongTallies: commitPaths.reduce((sum, run) => sum + run.wrongTallies, 0),
    };
    const rawPuts = median(rawRuns);
    return {
      members,
      algorithmOne,
      commitPath,
      rawPuts,
      timesAlgorithmOne: commitPath.votesPerSecond / algorithmOne.uniqueVotesPerSecond,
      shareOfRaw: commitPath.votesPerSecond / rawPuts.votesPerSecond,
    };
  } finally {
    await etcd.stop();
  }
}

async function benchClusters(quick: boolean, directory: string): Promise<ClusterBenchResult[]> {
  const clock = systemClock();
  const logger = createLogger({ level: "error", pretty: false, destination: "stderr" });
  const servers = await startLocalServers({
    directory: join(directory, "servers"),
    etcdMembers: 1,
  });
  const results: ClusterBenchResult[] = [];
  try {
    for (const signatureBatching of [true, false]) {
      progress(`whole cluster, ${signatureBatching ? "many votes" : "one vote"} a signature`);
      results.push(
        await benchCluster({
          servers,
          directory: join(directory, signatureBatching ? "batched" : "single"),
          signatureBatching,
          seconds: quick ? 4 : 10,
          clock,
          logger,
          onProgress: progress,
        }),
      );
    }
  } finally {
    await servers.stop();
  }
  return results;
}

const whole = (n: number): string => Math.round(n).toLocaleString("en-US");

function printEtcd(rows: readonly EtcdRow[]): void {
  console.log("\nThrough etcd: five writers, five votes a transaction, all guards on");
  console.table(
    rows.map((row) => ({
      "etcd members": row.members,
      "Algorithm 1, votes/s": whole(row.algorithmOne.uniqueVotesPerSecond),
      "its wrong tallies": `${row.algorithmOne.wrongTallies} of ${row.algorithmOne.transactions}`,
      "Quorate, votes/s": whole(row.commitPath.votesPerSecond),
      "decided tx/s": whole(row.commitPath.decidedPerSecond),
      "p50/p99 ms": `${row.commitPath.p50Ms.toFixed(1)} / ${row.commitPath.p99Ms.toFixed(1)}`,
      "wrong tallies": row.commitPath.wrongTallies,
      "raw puts, votes/s": whole(row.rawPuts.votesPerSecond),
      "times Algorithm 1": `${row.timesAlgorithmOne.toFixed(0)}x`,
      "share of raw": `${(row.shareOfRaw * 100).toFixed(0)} %`,
    })),
  );
}

function printClusters(results: readonly ClusterBenchResult[]): void {
  console.log("\nThe whole cluster: five node processes, real gossip, one etcd member");
  console.table(
    results.map((r) => ({
      "votes a signature": r.signatureBatching ? "up to 256" : "1",
      "decided tx/s": whole(r.saturationDecidedPerSecond),
      "at half load: tx/s": whole(r.halfLoadDecidedPerSecond),
      "p50/p99 ms": `${r.halfLoadP50Ms.toFixed(1)} / ${r.halfLoadP99Ms.toFixed(1)}`,
      "messages/vote": r.gossipMessagesPerVote.toFixed(3),
      "signatures/vote": r.signaturesPerVote.toFixed(3),
      "CPU ms/vote": r.cpuMsPerVote?.toFixed(3) ?? "unknown",
      undecided: r.undecided,
    })),
  );
}

async function main(): Promise<number> {
  let options: { json?: boolean; only?: string; quick?: boolean; help?: boolean };
  try {
    options = parseArgs({
      options: {
        json: { type: "boolean" },
        only: { type: "string" },
        quick: { type: "boolean" },
        help: { type: "boolean", short: "h" },
      },
    }).values;
  } catch (error) {
    process.stderr.write(`bench: ${(error as Error).message}\n\n${HELP}`);
    return 2;
  }
  if (options.help === true) {
    console.log(HELP);
    return 0;
  }
  const { only, quick = false } = options;
  if (only !== undefined && only !== "etcd" && only !== "cluster") {
    process.stderr.write(`bench: --only must be etcd or cluster, but is ${only}\n`);
    return 2;
  }
  const directory = await mkdtemp(join(tmpdir(), "quorate-bench-"));
  try {
    const etcd =
      only === "cluster"
        ? []
        : [await benchEtcd(1, quick, directory), await benchEtcd(3, quick, directory)];
    const cluster = only === "etcd" ? [] : await benchClusters(quick, directory);
    const machine = measureMachine();
    if (options.json === true)
      console.log(
        JSON.stringify({ machine, servers: await serverVersions(), etcd, cluster }, null, 2),
      );
    else {
      console.log(
        `${machine.cpus} × ${machine.model}, Node ${machine.node}, one Ed25519 verification ${machine.verifyMicros} µs; every server on this machine`,
      );
      if (etcd.length > 0) printEtcd(etcd);
      if (cluster.length > 0) printClusters(cluster);
    }
    return 0;
  } finally {
    await stopAll();
    await rm(directory, { recursive: true, force: true });
  }
}

process.exitCode = await main();
