import { mkdtemp, rm } from "node:fs/promises";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseClusterId, unwrap } from "@quorate/core";
import { type ProcessExit, waitUntil } from "@quorate/devkit";
import {
  type LocalCluster,
  type LocalNode,
  type LocalServers,
  readEtcdPrefix,
  startCluster,
  startLocalServers,
} from "@quorate/localcluster";
import { createNodeClient, NodeApiError } from "@quorate/localcluster/client";
import { afterEach, describe, expect, test } from "vitest";
import { recordedOnChain } from "./chain-probe.ts";

const TRUSTEES = 5;
const THRESHOLD = 4;
const TRANSACTIONS = 60;
const WAVE = 6;

let directory: string | null = null;
let servers: LocalServers | null = null;
let cluster: LocalCluster | null = null;
let loading = false;

async function open(
  name: string,
  etcdMembers: 1 | 3,
  onDeath?: (name: string, exit: ProcessExit) => void,
): Promise<{ readonly servers: LocalServers; readonly cluster: LocalCluster }> {
  directory = await mkdtemp(join(tmpdir(), `quorate-${name}-`));
  servers = await startLocalServers({ directory: join(directory, "servers"), etcdMembers });
  cluster = await startCluster({
    servers,
    directory: join(directory, "cluster"),
    clusterId: unwrap(parseClusterId(name)),
    trustees: TRUSTEES,
    threshold: THRESHOLD,
    onDeath: (app, exit) => onDeath?.(app.name, exit),
  });
  return { servers, cluster };
}

afterEach(async () => {
  loading = false;
  await cluster?.stop();
  await servers?.stop();
  if (directory !== null) await rm(directory, { recursive: true, force: true });
  [directory, servers, cluster] = [null, null, null];
});

const TX_IDS = Array.from({ length: TRANSACTIONS }, (_, i) => `tx-${i}`);
const WAVES = Array.from({ length: TRANSACTIONS / WAVE }, (_, i) =>
  TX_IDS.slice(i * WAVE, (i + 1) * WAVE),
);

/** One vote, once. @returns whether the node said that it is recorded. */
async function voteOnce(node: LocalNode, txId: string): Promise<boolean> {
  try {
    return (await createNodeClient(node.url).vote(txId, "7")).outcome === "RECORDED";
  } catch (error) {
    // A dead node, or one that can't do it now; anything else is a finding.
    if (error instanceof NodeApiError && (error.retryable || error.code === "UNREACHABLE"))
      return false;
    throw error;
  }
}

/** As a client should: the same vote again until it is recorded. */
async function voteUntilRecorded(node: LocalNode, txId: string): Promise<void> {
  await waitUntil(() => voteOnce(node, txId), {
    timeoutMs: 40_000,
    what: `${node.name}'s vote on ${txId}`,
    pollMs: 200,
  });
}

async function storedVotes(endpoints: readonly string[], name: string): Promise<Set<string>> {
  for (const endpoint of endpoints)
    try {
      const prefix = `/quorate/${name}/votes/`;
      const entries = await readEtcdPrefix(endpoint, prefix, {
        signal: AbortSignal.timeout(5_000),
      });
      return new Set(entries.map(({ key }) => key.slice(prefix.length)));
    } catch {
      // That member is the one which was killed.
    }
  throw new Error("no etcd member answers");
}

async function allConfirmed(node: LocalNode): Promise<void> {
  const client = createNodeClient(node.url);
  for (const txId of TX_IDS) {
    const end = await client.transaction(txId, { until: ["CONFIRMED"], timeoutMs: 30_000 });
    expect([txId, end?.status, end?.value, end?.violations]).toEqual([txId, "CONFIRMED", "7", []]);
  }
}

async function everyValueOnce(): Promise<void> {
  if (servers === null || cluster === null) throw new Error("the cluster runs");
  const { values, unexpected } = await recordedOnChain(servers, cluster, TX_IDS);
  expect(unexpected).toBe(0);
  expect(values.size).toBe(TRANSACTIONS);
  for (const [txId, recorded] of values) expect([txId, recorded]).toEqual([txId, [7n]]);
}

function nodeAt(of: LocalCluster, index: number): LocalNode {
  const node = of.nodes[index];
  if (node === undefined) throw new Error(`no node ${index}`);
  return node;
}

describe("a crash loses no vote that was answered for", () => {
  test("a node is killed in the middle, and comes back", async () => {
    const started = await open("nodecrash", 1);
    const { nodes } = started.cluster;
    const victim = nodeAt(started.cluster, 4);
    const recorded = new Set<string>();
    for (const [i, wave] of WAVES.entries()) {
      const votes = wave.flatMap((txId) =>
        nodes.map(async (node) => {
          if (await voteOnce(node, txId)) recorded.add(`${txId}/${node.nodeId}`);
        }),
      );
      // While this wave's votes are under way.
      if (i === 4) await victim.kill();
      await Promise.all(votes);
    }
    expect(victim.running).toBe(false);
    expect(recorded.size).toBeGreaterThanOrEqual(TRANSACTIONS * (TRUSTEES - 1));
    await allConfirmed(nodeAt(started.cluster, 0));
    const stored = await storedVotes(started.servers.etcd.endpoints, "nodecrash");
    expect([...recorded].filter((vote) => !stored.has(vote))).toEqual([]);
    await everyValueOnce();

    // It votes again as if nothing had happened, and that makes no double vote.
    await victim.start();
    await Promise.all(TX_IDS.map((txId) => voteUntilRecorded(victim, txId)));
    const complete = await storedVotes(started.servers.etcd.endpoints, "nodecrash");
    expect(complete.size).toBe(TRANSACTIONS * TRUSTEES);
    await allConfirmed(victim);
    await everyValueOnce();
  });

  test("etcd's leader is killed in the middle", async () => {
    const started = await open("leadercrash", 3);
    const { etcd } = started.servers;
    const recorded = new Set<string>();
    for (const [i, wave] of WAVES.entries()) {
      const votes = wave.flatMap((txId) =>
        started.cluster.nodes.map(async (node) => {
          await voteUntilRecorded(node, txId);
          recorded.add(`${txId}/${node.nodeId}`);
        }),
      );
      if (i === 4) await etcd.members[await etcd.leaderIndex()]?.kill();
      await Promise.all(votes);
    }
    expect(recorded.size).toBe(TRANSACTIONS * TRUSTEES);
    await allConfirmed(nodeAt(started.cluster, 0));
    const stored = await storedVotes(etcd.endpoints, "leadercrash");
    expect([...recorded].filter((vote) => !stored.has(vote))).toEqual([]);
    expect(stored.size).toBe(TRANSACTIONS * TRUSTEES);
    await everyValueOnce();
  });
});

/** A vote on a connection of its own. @returns the HTTP status, or why there was none. */
function postVote(url: string, txId: string): Promise<number | string> {
  return new Promise((resolve) => {
    const body = JSON.stringify({ txId, value: "7" });
    const call = request(
      `${url}/v1/votes`,
      {
        method: "POST",
        agent: false,
        headers: { "content-type": "application/json", "content-length": body.length },
      },
      (response) => {
        response.resume();
        response.once("end", () => resolve(response.statusCode ?? 0));
        response.once("error", (error) => resolve(error.message));
      },
    );
    call.once("error", (error) => resolve("code" in error ? String(error.code) : error.message));
    call.end(body);
  });
}

describe("SIGTERM", () => {
  test("a node under load answers or refuses every request, and ends with 0 within 30 s", async () => {
    const ended = Promise.withResolvers<ProcessExit>();
    const started = await open("drain", 1, (name, exit) => {
      if (name === "trustee-1") ended.resolve(exit);
    });
    const [node, ...others] = started.cluster.nodes;
    if (node === undefined || node.pid === null) throw new Error("the first node runs");
    // Others' votes come in all the while, so that there is always something to drain.
    loading = true;
    const load = others.map(async (other) => {
      for (let i = 0; loading; i++) await postVote(other.url, `load-${i}`);
    });
    const answers: Promise<number | string>[] = [];
    for (let i = 0; i < 200; i++) answers.push(postVote(node.url, `drain-${i}`));
    await Promise.race(answers);
    const signalledMs = performance.now();
    process.kill(node.pid, "SIGTERM");
    // These come while it stops: refused with an answer, or not let in at all.
    const late: Promise<number | string>[] = [];
    const exit = await waitForExit(ended.promise, () =>
      late.push(postVote(node.url, `late-${late.length}`)),
    );
    expect(performance.now() - signalledMs).toBeLessThan(30_000);
    expect(exit).toMatchObject({ code: 0 });
    const early = await Promise.all(answers);
    const unlike = (
      seen: readonly (number | string)[],
      ...allowed: (number | string)[]
    ): unknown[] => seen.filter((answer) => !allowed.includes(answer));
    expect(unlike(early, 200, 503)).toEqual([]);
    expect(early).toContain(200);
    // The last of these come while the port closes: they were never taken in.
    expect(unlike(await Promise.all(late), 200, 503, "ECONNREFUSED", "ECONNRESET")).toEqual([]);
    // What it said is recorded, is.
    const stored = await storedVotes(started.servers.etcd.endpoints, "drain");
    const claimed = early.flatMap((status, i) => (status === 200 ? [`drain-${i}/trustee-1`] : []));
    expect(claimed.filter((vote) => !stored.has(vote))).toEqual([]);
    loading = false;
    await Promise.all(load);
  });
});

/** Keeps asking until the process has ended. */
async function waitForExit(
  ended: Promise<ProcessExit>,
  ask: () => void,
): Promise<ProcessExit | null> {
  let exit: ProcessExit | null = null;
  void ended.then((seen) => {
    exit = seen;
  });
  await waitUntil(
    () => {
      if (exit === null) ask();
      return exit !== null;
    },
    { timeoutMs: 35_000, what: "the node to end", pollMs: 20 },
  );
  return exit;
}
