import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { recordKeyOf } from "@quorate/chain-evm";
import { run } from "@quorate/cli";
import {
  DIFFERS_REASON,
  HISTORY_REASON,
  parseClusterId,
  parseTxId,
  RESTORED_REASON,
  unwrap,
} from "@quorate/core";
import { waitUntil } from "@quorate/devkit";
import {
  type LocalCluster,
  type LocalServers,
  readEtcdPrefix,
  startCluster,
  startLocalServers,
} from "@quorate/localcluster";
import { createNodeClient } from "@quorate/localcluster/client";
import type { Sender } from "@quorate/ports";
import { createPool, createSubmissionStore, schemaOf } from "@quorate/store-postgres";
import { memoryLogger } from "@quorate/testkit";
import type { Pool } from "pg";
import { toEventSelector } from "viem";
import { afterAll, beforeAll, expect, test } from "vitest";
import { blocksPass } from "./chain-probe.ts";

const RECORDED = toEventSelector("Recorded(bytes32,uint64)");
const DUPLICATE = toEventSelector("Duplicate(bytes32,uint64,uint64)");
const clusterId = unwrap(parseClusterId("restored"));
const schema = schemaOf(clusterId);

let directory: string;
let servers: LocalServers;
let cluster: LocalCluster;
let pool: Pool;
let sender: Sender;
/** Taken when only the first transactions were there. */
let backup: string;
/** All that was ever voted on, with its value. */
const voted = new Map<string, bigint>();
const undo: (() => Promise<unknown>)[] = [];

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "quorate-restore-"));
  undo.push(() => rm(directory, { recursive: true, force: true }));
  servers = await startLocalServers({ directory: join(directory, "servers"), etcdMembers: 1 });
  undo.push(() => servers.stop());
  cluster = await startCluster({
    servers,
    directory: join(directory, "cluster"),
    clusterId,
    trustees: 2,
    threshold: 2,
    // What is voted on again after a restore must not be cut off by a slow machine.
    protocol: { deadlineMs: 600_000 },
  });
  undo.push(() => cluster.stop());
  pool = createPool({ url: servers.postgres.url, schema, logger: memoryLogger() });
  undo.push(() => pool.end());
  sender = { chainId: servers.anvil.chainId, address: cluster.submitterAddress };
  await vote("a-1", "a-2", "a-3");
  await allOnChain();
  await projected("a-3", "CONFIRMED");
  backup = join(directory, "backup");
  await quorate("backup", "--config", cluster.submitter.configFile, "--out", backup);
  expect(await quorate("backup", "verify", backup, "--json")).toMatchObject({ ok: true });
  await vote("b-1", "b-2", "b-3");
  await allOnChain();
}, 180_000);

afterAll(async () => {
  for (const step of undo.toReversed()) await step();
}, 60_000);

/** All trustees vote; the value is new for each id, and the same each time that id is voted on. */
async function vote(...txIds: readonly string[]): Promise<void> {
  for (const txId of txIds) {
    const value = voted.get(txId) ?? BigInt(voted.size + 1);
    voted.set(txId, value);
    for (const { url } of cluster.nodes) await createNodeClient(url).vote(txId, value.toString());
  }
}

interface OnChain {
  readonly recorded: ReadonlyMap<string, readonly bigint[]>;
  /** Second records that only the contract itself stopped, and records of what nobody voted on. */
  readonly others: number;
}

/** The contract's raw logs, read past our own client. */
async function onChain(): Promise<OnChain> {
  const response = await fetch(servers.anvil.rpcUrl, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({
      jsonrpc: "2.0",
      id: 1,
      method: "eth_getLogs",
      params: [{ address: cluster.recorder.address, fromBlock: "0x0", toBlock: "latest" }],
    }),
  });
  const body = (await response.json()) as {
    readonly result: readonly { readonly topics: readonly string[]; readonly data: string }[];
  };
  const names = new Map<string, string>(
    [...voted.keys()].map((txId) => [recordKeyOf(clusterId, unwrap(parseTxId(txId))), txId]),
  );
  const recorded = new Map<string, bigint[]>();
  let others = 0;
  for (const { topics, data } of body.result) {
    const txId = names.get(topics[1] ?? "");
    if (topics[0] === DUPLICATE) others++;
    else if (topics[0] === RECORDED && txId === undefined) others++;
    else if (topics[0] === RECORDED && txId !== undefined)
      recorded.set(txId, [...(recorded.get(txId) ?? []), BigInt(data)]);
  }
  return { recorded, others };
}

/** Waits until everything that was voted on is recorded, and says it was once, with its value. */
async function allOnChain(): Promise<void> {
  await waitUntil(async () => (await onChain()).recorded.size === voted.size, {
    timeoutMs: 60_000,
    what: "all values to be recorded",
    pollMs: 100,
  });
  expectOnce(await onChain());
}

function expectOnce({ recorded, others }: OnChain): void {
  for (const [txId, values] of recorded) expect([txId, values]).toEqual([txId, [voted.get(txId)]]);
  expect(others).toBe(0);
}

async function projected(txId: string, status: string): Promise<void> {
  await waitUntil(
    async () =>
      (
        await pool.query("SELECT 1 FROM transaction_history WHERE tx_id = $1 AND status = $2", [
          txId,
          status,
        ])
      ).rowCount === 1,
    { timeoutMs: 30_000, what: `${txId} to be ${status} in history`, pollMs: 50 },
  );
}

async function frozenBecause(): Promise<string | null> {
  const state = await createSubmissionStore(pool).senderState(sender);
  return state?.frozen?.reason ?? null;
}

async function restoreDatabase(): Promise<void> {
  const to = ["--postgres", servers.postgres.url, "--replace", "--cluster-id", clusterId];
  await quorate("restore", "--from", backup, ...to);
}

/** The command line, in this process. @returns what it prints with --json, else nothing */
async function quorate(...argv: readonly string[]): Promise<unknown> {
  const said: string[] = [];
  const data: string[] = [];
  const plain = (text: string): string => text;
  const style = { bold: plain, dim: plain, good: plain, bad: plain, warn: plain };
  const code = await run(argv, {
    data: (text) => void data.push(text),
    note: (text) => void said.push(text),
    style,
    dataStyle: style,
  });
  expect(code, said.join("\n")).toBe(0);
  return argv.includes("--json") ? JSON.parse(data.join("\n")) : null;
}

/** Starts the submitter, which is not ready before somebody thaws its sender, and waits until it has looked at the chain. */
async function startFrozen(): Promise<{ readonly thaw: () => Promise<void> }> {
  const starting = cluster.submitter.start();
  // Reported by whoever thaws.
  starting.catch(() => {});
  await waitUntil(async () => (await frozenBecause())?.startsWith(DIFFERS_REASON) === true, {
    timeoutMs: 45_000,
    what: "the submitter to find what differs",
    pollMs: 100,
  });
  return {
    thaw: async () => {
      await createSubmissionStore(pool).thaw(sender, "ada");
      await starting;
    },
  };
}

test("a restored dump of yesterday sends nothing again, and nothing at all before somebody has looked", async () => {
  await cluster.submitter.stop();
  // Decided while it is away, so that the restored submitter finds work at once.
  await vote("c-1");
  await restoreDatabase();
  expect(await frozenBecause()).toMatch(new RegExp(`^${RESTORED_REASON}`));
  const { thaw } = await startFrozen();
  await blocksPass(servers.anvil.rpcUrl, 2n);
  expect((await onChain()).recorded.has("c-1")).toBe(false);
  await thaw();
  await vote("c-2");
  await allOnChain();
  await projected("c-2", "CONFIRMED");
  // What was decided after the backup is in history again, out of etcd.
  await projected("b-3", "CONFIRMED");
  const { rows } = await pool.query(
    "SELECT count(*)::int AS submissions FROM submission WHERE state <> 'FINALIZED'",
  );
  expect(rows).toEqual([{ submissions: 0 }]);
});

test("a dump that was put back by hand, without a word, is noticed by the nonces on the chain", async () => {
  await cluster.submitter.stop();
  await vote("d-1");
  const lineage = await pool.query("SELECT lineage_id FROM projector_position");
  await restoreDatabase();
  // As pg_dump and psql would leave it.
  await pool.query("UPDATE sender SET frozen = false, frozen_reason = NULL, frozen_at = NULL");
  await pool.query("UPDATE projector_position SET lineage_id = $1", [lineage.rows[0]?.lineage_id]);
  const { thaw } = await startFrozen();
  const log = await pool.query("SELECT reason FROM operator_log ORDER BY id");
  const reasons = log.rows.map(({ reason }: { reason: string }) => reason);
  expect(reasons.filter((reason) => reason.startsWith(HISTORY_REASON))).toHaveLength(1);
  expect((await onChain()).recorded.has("d-1")).toBe(false);
  await thaw();
  await allOnChain();
});

test("an etcd restored from an older snapshot leads to no second record, and history goes on", async () => {
  await cluster.stop();
  await restoreEtcd();
  const held = await readEtcdPrefix(
    servers.etcd.endpoints[0] ?? "",
    `/quorate/${clusterId}/decisions/`,
  );
  expect(new Set(held.map(({ key }) => key.split("/").at(-1)))).toEqual(
    new Set(["a-1", "a-2", "a-3"]),
  );
  await Promise.all([cluster.submitter, ...cluster.nodes].map((app) => app.start()));
  // Its votes are lost, and its trustees give the same ones again.
  await vote("b-1", "e-1");
  await allOnChain();
  for (const { url } of cluster.nodes.slice(0, 1))
    for (const txId of ["b-1", "e-1"])
      expect(
        await createNodeClient(url).transaction(txId, { until: ["CONFIRMED"], timeoutMs: 30_000 }),
      ).toMatchObject({ status: "CONFIRMED" });
  await projected("e-1", "CONFIRMED");
  // Known to history alone now.
  for (const txId of ["b-2", "b-3", "c-2"]) await projected(txId, "CONFIRMED");
  expect(
    (await pool.query("SELECT reason FROM history_restart ORDER BY id DESC LIMIT 1")).rows,
  ).toEqual([{ reason: expect.stringContaining("it is the cluster ") }]);
  expect((await pool.query("SELECT 1 FROM history_contradiction")).rowCount).toBe(0);
  await blocksPass(servers.anvil.rpcUrl, 2n);
  expectOnce(await onChain());
});

/** As an operator does it: the member's directory anew, out of the snapshot. */
async function restoreEtcd(): Promise<void> {
  const [member] = servers.etcd.members;
  if (member === undefined) throw new Error("there is an etcd");
  const { name, peerUrl } = member;
  await member.stop();
  const dataDir = join(directory, "servers", "etcd", name);
  await rm(dataDir, { recursive: true });
  const of = ["--etcd-data-dir", dataDir, "--etcd-name", name, "--etcd-peer-url", peerUrl];
  expect(await quorate("restore", "--from", backup, ...of, "--json")).toMatchObject({
    etcd: { restored: name, commands: [] },
  });
  await member.restart();
}

test("both restored lead to no second record either", async () => {
  await cluster.stop();
  await restoreEtcd();
  await restoreDatabase();
  await Promise.all(cluster.nodes.map((app) => app.start()));
  // Recorded long ago, and known neither to etcd nor to the database.
  await vote("b-2", "f-1");
  const { thaw } = await startFrozen();
  expect((await onChain()).recorded.has("f-1")).toBe(false);
  await thaw();
  await allOnChain();
  for (const txId of ["b-2", "f-1"]) await projected(txId, "CONFIRMED");
  expectOnce(await onChain());
});
