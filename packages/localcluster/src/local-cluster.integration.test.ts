import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join, relative } from "node:path";
import { parseClusterId, parseNodeId, parseTxId, parseValue, unwrap } from "@quorate/core";
import { waitUntil } from "@quorate/devkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { readEtcdPrefix } from "./etcd-raw.ts";
import { initCluster } from "./init-cluster.ts";
import { type LocalCluster, type LocalNode, startCluster } from "./local-cluster.ts";
import { type LocalServers, startLocalServers } from "./local-servers.ts";
import { startMisbehavingPeer } from "./misbehaving-peer-process.ts";
import { createNodeClient } from "./node-client.ts";

let directory: string;
let servers: LocalServers;
let cluster: LocalCluster;
const deaths: string[] = [];
const CLUSTER_ID = unwrap(parseClusterId("local-test"));

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "quorate-localcluster-"));
  servers = await startLocalServers({ directory: join(directory, "servers"), etcdMembers: 1 });
  cluster = await startCluster({
    servers,
    directory: join(directory, "cluster"),
    clusterId: CLUSTER_ID,
    trustees: 4,
    threshold: 3,
    protocol: { settleMs: 300 },
    absent: ["trustee-4"],
    onDeath: (app) => deaths.push(app.name),
  });
});

afterAll(async () => {
  await cluster?.stop();
  await servers?.stop();
  const moved = dirname(servers.postgres.databaseDir);
  if (relative(directory, moved).startsWith(".."))
    await rm(moved, { recursive: true, force: true });
  await rm(directory, { recursive: true, force: true });
});

function node(number: number): LocalNode {
  const found = cluster.nodes[number - 1];
  if (found === undefined) throw new Error(`no trustee ${number}`);
  return found;
}

async function etcd(path: string): Promise<Readonly<Record<string, string>>> {
  const entries = await readEtcdPrefix(
    servers.etcd.endpoints[0] ?? "",
    `/quorate/${CLUSTER_ID}/${path}`,
  );
  return Object.fromEntries(entries.map(({ key, value }) => [key, value]));
}

describe("a cluster of processes", () => {
  it("decides a value and brings it to the chain, with one trustee absent", async () => {
    expect(cluster.nodes.map((n) => [n.nodeId, n.running])).toEqual([
      ["trustee-1", true],
      ["trustee-2", true],
      ["trustee-3", true],
      ["trustee-4", false],
    ]);
    for (const number of [1, 2, 3]) await createNodeClient(node(number).url).vote("tx-a", "7");
    const until = ["CONFIRMED", "ABORTED_BYZANTINE"] as const;
    const end = await createNodeClient(node(1).url).transaction("tx-a", {
      until,
      timeoutMs: 30_000,
    });
    expect(end).toMatchObject({ status: "CONFIRMED", value: "7" });
    expect(await etcd("vote_counts/tx-a/")).toEqual({
      [`/quorate/${CLUSTER_ID}/vote_counts/tx-a/7`]: "3",
    });
    expect(await etcd("config/threshold")).toEqual({
      [`/quorate/${CLUSTER_ID}/config/threshold`]: "3",
    });
  });

  it("reads exactly the keys under a prefix", async () => {
    const names = (await readEtcdPrefix(servers.etcd.endpoints[0] ?? "", "/quorate/local-test/c"))
      .map(({ key }) => key)
      .filter((key) => !key.startsWith("/quorate/local-test/config/"));
    expect(names).toEqual([]);
  });

  it("keeps its trustee set: the same again is fine, another one is refused", async () => {
    expect(await initCluster(cluster.set, servers.etcd.endpoints)).toBe("already-there");
    const smaller = { ...cluster.set, threshold: 2 };
    expect(await initCluster(smaller, servers.etcd.endpoints)).toBe("another-set");
    await expect(
      startCluster({
        servers,
        directory: join(directory, "second"),
        clusterId: CLUSTER_ID,
        trustees: 1,
        threshold: 1,
      }),
    ).rejects.toThrow("etcd holds a cluster local-test already");
  });

  it("a killed node is a death only when nobody asked for it, and comes back when started", async () => {
    const killed = node(3);
    const before = killed.pid;
    await killed.kill();
    expect(killed.running).toBe(false);
    expect(deaths).toEqual([]);
    await killed.start();
    expect(killed.pid).not.toBe(before);
    process.kill(killed.pid ?? -1, "SIGKILL");
    await waitUntil(() => deaths.length > 0, { timeoutMs: 10_000, what: "the death" });
    expect(deaths).toEqual(["trustee-3"]);
    await killed.start();
  });

  it("a peer that signs two values is banned with proof, and its own key never runs twice", async () => {
    const nodeId = unwrap(parseNodeId("trustee-4"));
    await expect(startMisbehavingPeer(cluster, unwrap(parseNodeId("trustee-1")))).rejects.toThrow(
      "trustee-1 runs",
    );
    const peer = await startMisbehavingPeer(cluster, nodeId);
    try {
      const txId = unwrap(parseTxId("tx-b"));
      expect(await peer.publish(txId, unwrap(parseValue("1")))).toBe(3);
      await peer.publish(txId, unwrap(parseValue("2")));
      const peerId = cluster.set.byNodeId.get(nodeId)?.peerId;
      await waitUntil(async () => Object.keys(await etcd(`banned/${peerId}`)).length === 1, {
        timeoutMs: 20_000,
        what: "the ban",
      });
      const [ban] = Object.values(await etcd(`banned/${peerId}`));
      expect(JSON.parse(ban ?? "{}")).toMatchObject({ reason: "DOUBLE_VOTING", grade: "PROOF" });
    } finally {
      await peer.stop();
    }
  });
});
