import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { run, type Terminal } from "@quorate/cli";
import { parseClusterId, parseNodeId, unwrap } from "@quorate/core";
import { waitUntil } from "@quorate/devkit";
import {
  type AddedNode,
  type LocalCluster,
  type LocalServers,
  startCluster,
  startLocalServers,
} from "@quorate/localcluster";
import { createNodeClient, type NodeClient, type NodeStatus } from "@quorate/localcluster/client";
import { afterAll, beforeAll, expect, test } from "vitest";
import { recordedOnChain } from "./chain-probe.ts";

/** By number: 1 to 4 from the beginning, 5 comes later. */
type Trustee = 1 | 2 | 3 | 4 | 5;

const FIFTH = unwrap(parseNodeId("trustee-5"));
/** What the specification allows a node that joins. [spec §16.1] */
const JOIN_MS_MAX = 30_000;

let directory: string;
let servers: LocalServers;
let cluster: LocalCluster;
let fifth: AddedNode;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "quorate-trustees-"));
  servers = await startLocalServers({ directory: join(directory, "servers"), etcdMembers: 1 });
  cluster = await startCluster({
    servers,
    directory: join(directory, "cluster"),
    clusterId: unwrap(parseClusterId("changing")),
    trustees: 4,
    threshold: 3,
    // What is opened here before a change must still be open after it, on a slow machine too.
    protocol: { deadlineMs: 600_000 },
  });
});

afterAll(async () => {
  await cluster?.stop();
  await servers?.stop();
  await rm(directory, { recursive: true, force: true });
});

function node(number: Trustee): NodeClient {
  const url = number === 5 ? fifth.url : cluster.nodes[number - 1]?.url;
  return createNodeClient(url ?? "");
}

async function votes(txId: string, numbers: readonly Trustee[]): Promise<void> {
  for (const number of numbers)
    expect(await node(number).vote(txId, "7")).toMatchObject({ outcome: "RECORDED" });
}

/** Waits for the end and says how it ended: status, epoch, who voted. */
async function end(txId: string): Promise<string> {
  const until = ["CONFIRMED", "ABORTED_BYZANTINE"] as const;
  const tx = await node(2).transaction(txId, { until, timeoutMs: 60_000 });
  const voters = tx?.votes.map((v) => v.nodeId.at(-1)).join("");
  return `${tx?.status} in epoch ${tx?.epoch} by ${voters}`;
}

async function statusUntil(
  number: Trustee,
  holds: (status: NodeStatus) => boolean,
  what: string,
): Promise<NodeStatus> {
  let status = await node(number).status();
  await waitUntil(
    async () => {
      status = await node(number).status();
      return holds(status);
    },
    { timeoutMs: JOIN_MS_MAX, what, pollMs: 100 },
  );
  return status;
}

interface Said {
  readonly stdout: string[];
  readonly stderr: string[];
}

/** The command line, in this process. */
async function trustee(argv: readonly string[], said: Said = { stdout: [], stderr: [] }) {
  const plain = (text: string): string => text;
  const style = { bold: plain, dim: plain, good: plain, bad: plain, warn: plain };
  const terminal: Terminal = {
    data: (text) => void said.stdout.push(text),
    note: (text) => void said.stderr.push(text),
    style,
    dataStyle: style,
  };
  const where = [
    "--etcd",
    servers.etcd.endpoints.join(","),
    "--cluster",
    join(directory, "cluster", "cluster.json"),
  ];
  const code = await run(["trustee", ...argv, ...where], terminal);
  return { code, stdout: said.stdout.join("\n"), stderr: said.stderr.join("\n") };
}

test("a node with one bootstrap address is seen within 30 s, and has no say until it is admitted", async () => {
  await votes("old", [1]);
  fifth = await cluster.addNode(FIFTH);
  const { peerId } = fifth.trustee;
  const seen = await statusUntil(
    3,
    (s) => s.observers.some((o) => o.peerId === peerId),
    "trustee-5 to be seen by trustee-3",
  );
  expect(seen.observers).toMatchObject([{ nodeId: "trustee-5", peerId, draining: false }]);
  // Found by the one it was told of: the others' connections are enough for a threshold.
  const own = await statusUntil(
    5,
    (s) => s.checks.every((c) => c.ok || c.name === "membership"),
    "trustee-5 to have everything but membership",
  );
  expect(own.ready).toBe(false);
  expect(own.checks.find((c) => c.name === "membership")?.detail).toContain(
    `to admit it: quorate trustee add trustee-5 --peer-id ${peerId}`,
  );
  await expect(node(5).vote("early", "7")).rejects.toMatchObject({ code: "NOT_A_TRUSTEE" });
  expect(await node(2).transaction("early")).toBeNull();
});

test("once admitted it votes and its vote counts", async () => {
  const { peerId, evmAddress } = fifth.trustee;
  const add = ["add", "trustee-5", "--peer-id", peerId, "--evm-address", evmAddress];
  const tried = await trustee([...add, "--dry-run"]);
  expect([tried.code, tried.stdout]).toEqual([0, expect.stringContaining("nothing was changed")]);
  expect((await node(1).status()).epoch).toBe(1);
  const added = await trustee(add);
  expect(added.code, added.stderr).toBe(0);
  expect(added.stdout).toMatch(/^threshold +3 of 4 → 3 of 5$/m);
  await fifth.start();
  const status = await statusUntil(2, (s) => s.epoch === 2, "trustee-2 to know of epoch 2");
  expect(status.observers).toEqual([]);
  await votes("new", [5, 1, 2]);
  expect(await end("new")).toBe("CONFIRMED in epoch 2 by 125");
});

test("what opened before keeps its trustees and its threshold", async () => {
  await expect(node(5).vote("old", "7")).rejects.toMatchObject({
    code: "NOT_A_TRUSTEE",
    message: expect.stringContaining("old opened in epoch 1"),
  });
  await votes("old", [2]);
  expect((await node(3).transaction("old"))?.status).toBe("COLLECTING");
  await votes("old", [3]);
  expect(await end("old")).toBe("CONFIRMED in epoch 1 by 123");
  await votes("old", [4]);
});

test("a removed trustee is waited for, its vote counts on what was open and on nothing new", async () => {
  await votes("new", [3, 4]);
  await votes("in-flight", [2, 5]);
  const said: Said = { stdout: [], stderr: [] };
  const removing = trustee(["remove", "trustee-1", "--wait"], said);
  await waitUntil(() => said.stderr.some((s) => s.includes("1 open transaction needs trustee-1")), {
    timeoutMs: 20_000,
    what: "the removal to wait for the transaction",
  });
  const seen = await statusUntil(4, (s) => s.epoch === 3, "trustee-4 to know of epoch 3");
  expect(seen.observers).toMatchObject([{ nodeId: "trustee-1", draining: true }]);
  await statusUntil(1, (s) => s.epoch === 3, "trustee-1 to know of epoch 3");
  await expect(node(1).vote("after", "7")).rejects.toMatchObject({
    code: "NOT_A_TRUSTEE",
    message: expect.stringContaining("epoch 3"),
  });
  expect(said.stdout.join("\n")).not.toContain("may be stopped");
  await votes("in-flight", [1]);
  expect(await end("in-flight")).toBe("CONFIRMED in epoch 2 by 125");
  const removed = await removing;
  expect(removed.code, removed.stderr).toBe(0);
  expect(removed.stdout).toContain("nothing needs trustee-1 any more");
  const listed = await trustee(["list", "--epochs"]);
  expect(listed.stdout).toMatch(/^2 +3 of 5 +\+trustee-5$/m);
  expect(listed.stdout).toMatch(/^3 +3 of 4 +-trustee-1$/m);
});

test("the others go on without it, and every value reaches the chain once", async () => {
  await cluster.nodes[0]?.stop();
  await votes("after", [2, 4, 5]);
  expect(await end("after")).toBe("CONFIRMED in epoch 3 by 245");
  const all = ["old", "new", "in-flight", "after"];
  const { values, unexpected } = await recordedOnChain(servers, cluster, all);
  expect(Object.fromEntries(values)).toEqual(Object.fromEntries(all.map((id) => [id, [7n]])));
  expect(unexpected).toBe(0);
  expect((await node(2).status()).trustees.filter((t) => t.banned)).toEqual([]);
});
