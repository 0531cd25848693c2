import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseClusterId, unwrap } from "@quorate/core";
import {
  type LocalCluster,
  type LocalServers,
  readEtcdPrefix,
  startCluster,
  startLocalServers,
} from "@quorate/localcluster";
import { createNodeClient } from "@quorate/localcluster/client";
import { Etcd3 } from "etcd3";
import { Client } from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import { blocksPass, recordedOnChain } from "./chain-probe.ts";

const ROOT = "/quorate/forgery/";

let directory: string;
let servers: LocalServers;
let cluster: LocalCluster;
let etcd: Etcd3;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "quorate-forged-"));
  servers = await startLocalServers({ directory: join(directory, "servers"), etcdMembers: 1 });
  cluster = await startCluster({
    servers,
    directory: join(directory, "cluster"),
    clusterId: unwrap(parseClusterId("forgery")),
    trustees: 4,
    threshold: 3,
  });
  etcd = new Etcd3({ hosts: [...servers.etcd.endpoints] });
});

afterAll(async () => {
  etcd?.close();
  await cluster?.stop();
  await servers?.stop();
  await rm(directory, { recursive: true, force: true });
});

async function settle(txId: string, value: string): Promise<void> {
  const clients = cluster.nodes.map((node) => createNodeClient(node.url));
  await Promise.all(clients.map((client) => client.vote(txId, value)));
  const end = await clients[0]?.transaction(txId, { until: ["CONFIRMED"], timeoutMs: 30_000 });
  expect(end?.status).toBe("CONFIRMED");
}

async function stored(prefix: string): Promise<ReadonlyMap<string, string>> {
  const [endpoint = ""] = servers.etcd.endpoints;
  const entries = await readEtcdPrefix(endpoint, `${ROOT}${prefix}`);
  return new Map(entries.map(({ key, value }) => [key.slice(ROOT.length), value]));
}

async function queuedInPostgres(): Promise<readonly string[]> {
  const status: unknown = await (await fetch(`${cluster.submitter.url}/v1/status`)).json();
  const schema = typeof status === "object" && status !== null ? Reflect.get(status, "schema") : "";
  const client = new Client({ connectionString: servers.postgres.url });
  await client.connect();
  try {
    const { rows } = await client.query<{ tx_id: string }>(
      `SELECT tx_id FROM "${String(schema)}".submission ORDER BY tx_id`,
    );
    return rows.map((row) => row.tx_id);
  } finally {
    await client.end();
  }
}

test("what is written straight into etcd without valid votes reaches neither queue nor chain", async () => {
  await settle("honest-1", "7");
  const votes = await stored("votes/honest-1/");
  const record = (await stored("transactions/honest-1")).get("transactions/honest-1");
  expect(votes.size).toBe(4);
  if (record === undefined) throw new Error("an honest transaction has a record");
  // As it stood when the threshold was reached: nothing on the chain yet.
  const forgedRecord = JSON.stringify({ ...JSON.parse(record), chain: null });

  // All keys in one revision, as a node's own commit would write them, or one after the other.
  const forge = async (keys: Readonly<Record<string, string>>, how: "at once" | "bit by bit") => {
    const puts = Object.entries(keys).map(([key, value]) => etcd.put(`${ROOT}${key}`).value(value));
    if (how === "at once") {
      const { succeeded } = await etcd
        .if(`${ROOT}nothing`, "Version", "==", 0)
        .then(...puts)
        .commit();
      expect(succeeded).toBe(true);
    } else for (const one of puts) await one;
  };
  const state = (txId: string, status: string): Readonly<Record<string, string>> => ({
    [`transactions/${txId}`]: forgedRecord,
    [`vote_counts/${txId}/7`]: "4",
    ...(status === "SUBMITTED" ? { [`decisions/${txId}`]: "SUBMIT:7" } : {}),
    [`transaction_status/${txId}`]: status,
  });
  const copies = (txId: string, change: (vote: string) => string = (vote) => vote) =>
    Object.fromEntries(
      [...votes].map(([key, vote]) => [`votes/${txId}/${key.split("/").at(-1)}`, change(vote)]),
    );
  const edited = (vote: string): string => JSON.stringify({ ...JSON.parse(vote), value: "9" });
  await forge(state("no-votes", "THRESHOLD_REACHED"), "at once");
  await forge(state("no-votes-slow", "THRESHOLD_REACHED"), "bit by bit");
  await forge(state("claimed", "SUBMITTED"), "at once");
  await forge({ ...copies("copied"), ...state("copied", "THRESHOLD_REACHED") }, "at once");
  await forge({ ...copies("copied-claimed"), ...state("copied-claimed", "SUBMITTED") }, "at once");
  // The readable fields name another value; the signed bytes do not.
  await forge({ ...copies("edited", edited), ...state("edited", "THRESHOLD_REACHED") }, "at once");
  const junk = copies("junk", () => "{not json");
  await forge({ ...junk, ...state("junk", "THRESHOLD_REACHED") }, "at once");
  await forge({ "transaction_status/nonsense": "APPROVED" }, "bit by bit");

  await blocksPass(servers.anvil.rpcUrl, 4n);
  const forged = [
    "no-votes",
    "no-votes-slow",
    "claimed",
    "copied",
    "copied-claimed",
    "edited",
    "junk",
  ];
  const all = ["honest-1", ...forged];
  const before = await recordedOnChain(servers, cluster, all);
  expect([...before.values]).toEqual([["honest-1", [7n]]]);
  expect(before.unexpected).toBe(0);
  expect(await queuedInPostgres()).toEqual(["honest-1"]);

  // The forgeries stand in nobody's way.
  await settle("honest-2", "8");
  const after = await recordedOnChain(servers, cluster, [...all, "honest-2"]);
  expect([...after.values]).toEqual([
    ["honest-1", [7n]],
    ["honest-2", [8n]],
  ]);
  expect(after.unexpected).toBe(0);
  expect(await queuedInPostgres()).toEqual(["honest-1", "honest-2"]);
  expect(cluster.submitter.running).toBe(true);
  expect(cluster.nodes.every((node) => node.running)).toBe(true);
  const log = await readFile(cluster.submitter.logFile, "utf8");
  for (const txId of forged)
    expect(log).toMatch(
      new RegExp(`not backed by votes.*"txId":"${txId}"|"txId":"${txId}".*not backed by votes`),
    );
});

test("real votes for a transaction whose status was forged decide it as they would have", async () => {
  await etcd.put(`${ROOT}transaction_status/taken-over`).value("THRESHOLD_REACHED");
  await settle("taken-over", "5");
  const { values } = await recordedOnChain(servers, cluster, ["taken-over"]);
  expect([...values]).toEqual([["taken-over", [5n]]]);
});
