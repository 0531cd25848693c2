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

  const put = async (key: string, value: string): Promise<void> => {
    await etcd.put(`${ROOT}${key}`).value(value);
  };
  const forgeStatus = async (txId: string, status: string): Promise<void> => {
    await put(`transactions/${txId}`, forgedRecord);
    await put(`vote_counts/${txId}/7`, "4");
    await put(`transaction_status/${txId}`, status);
  };
  await forgeStatus("no-votes", "THRESHOLD_REACHED");
  await put("decisions/claimed", "SUBMIT:7");
  await forgeStatus("claimed", "SUBMITTED");
  for (const [key, value] of votes) {
    const nodeId = key.split("/").at(-1) ?? "";
    await put(`votes/copied/${nodeId}`, value);
    await put(`votes/copied-claimed/${nodeId}`, value);
    // The readable fields name the new transaction's value; the signed bytes do not.
    await put(`votes/edited/${nodeId}`, JSON.stringify({ ...JSON.parse(value), value: "9" }));
    await put(`votes/junk/${nodeId}`, "{not json");
  }
  await forgeStatus("copied", "THRESHOLD_REACHED");
  await forgeStatus("copied-claimed", "SUBMITTED");
  await forgeStatus("edited", "THRESHOLD_REACHED");
  await forgeStatus("junk", "THRESHOLD_REACHED");
  await put("transaction_status/nonsense", "APPROVED");

  await blocksPass(servers.anvil.rpcUrl, 4n);
  const all = ["honest-1", "no-votes", "claimed", "copied", "copied-claimed", "edited", "junk"];
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
  for (const txId of ["no-votes", "claimed", "copied", "copied-claimed"])
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
