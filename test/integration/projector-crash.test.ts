import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import {
  decideClaim,
  decideConfirm,
  doubleVotingEvidence,
  type PeerId,
  type Receipt,
  signReceipt,
  toBase64,
} from "@quorate/core";
import { type EtcdCluster, type PostgresServer, startEtcd, startPostgres } from "@quorate/devkit";
import type { TallyStore } from "@quorate/ports";
import { createEtcdTallyStore } from "@quorate/store-etcd";
import { migrate } from "@quorate/store-postgres";
import { systemClock } from "@quorate/telemetry";
import {
  castVotes,
  memoryLogger,
  nodeAt,
  type TestNode,
  testCluster,
  txIdOf,
  vote,
} from "@quorate/testkit";
import { Client } from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";

const CLUSTER = "crashes";
const POINTS = ["projector.before-append", "projector.after-append"] as const;
const ROUNDS = [...POINTS, ...POINTS.toReversed()];
const PROGRAM = fileURLToPath(new URL("./projector-process.ts", import.meta.url));
const NOW_MS = Date.UTC(2026, 0, 1);

// Three trustees misbehave in each round, each in its own way, and four always vote.
const cluster = testCluster({
  trustees: 4 + 3 * ROUNDS.length,
  threshold: 4,
  clusterId: CLUSTER,
});

let directory: string;
let etcd: EtcdCluster;
let postgres: PostgresServer;
let store: TallyStore;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "quorate-projector-"));
  etcd = await startEtcd({ dataDir: join(directory, "etcd"), members: 1 });
  postgres = await startPostgres({ dataDir: join(directory, "postgres") });
  const { clusterId } = cluster.set;
  store = createEtcdTallyStore(
    { hosts: etcd.endpoints, clusterId, requestTimeoutMs: 10_000, dialTimeoutMs: 10_000 },
    { clock: systemClock(), logger: memoryLogger() },
  );
  await store.start();
  await store.initCluster(cluster.set);
});

afterAll(async () => {
  await store?.stop();
  await postgres?.stop();
  await etcd?.stop();
  await rm(directory, { recursive: true, force: true });
});

/** One of everything that history keeps: votes to a confirmation, a proof, silences, a ban for a low score, a lift, receipts. */
async function makeHistory(round: number): Promise<void> {
  const [proven, silent, low] = [4, 5, 6].map((i) => nodeAt(cluster, i + 3 * round));
  if (proven === undefined || silent === undefined || low === undefined) throw new Error("none");
  const txId = `tx-${round}`;
  const detectedAtMs = NOW_MS + round * 1_000;
  await recordDoubleVote(proven, 4 + 3 * round, txId, detectedAtMs);
  await recordSilence(silent, txId, detectedAtMs);
  await store.liftBan({
    peerId: silent.peerId,
    nodeId: silent.nodeId,
    kind: "OPERATOR",
    by: "ada",
    reason: "its disk was replaced",
    liftedAtMs: detectedAtMs + 1,
    banReason: "SILENT_FAILURE",
  });
  const { peerId, nodeId } = low;
  await store.recordBan({
    peerId,
    nodeId,
    reason: "LOW_REPUTATION",
    grade: "OPINION",
    bannedAtMs: detectedAtMs,
    evidence: { type: "LOW_REPUTATION", nodeId, score: 0.1, bound: 0.3, violations: [] },
  });
  await store.recordReceipts([0, 1, 2].map((n) => receipt(low, round * 3 + n, peerId)));
  await confirmOne(`good-${round}`, [0, 1, 2, 3, 5 + 3 * round]);
}

async function recordDoubleVote(
  { peerId, nodeId }: TestNode,
  index: number,
  txId: string,
  detectedAtMs: number,
): Promise<void> {
  const evidence = doubleVotingEvidence(
    vote(cluster, index, txId, 7),
    vote(cluster, index, txId, 8),
  );
  const who = { peerId, nodeId, grade: "PROOF", evidence } as const;
  await store.recordViolation({
    violation: { ...who, txId: txIdOf(txId), type: "DOUBLE_VOTING", detectedAtMs },
    ban: { ...who, reason: "DOUBLE_VOTING", bannedAtMs: detectedAtMs },
  });
}

async function recordSilence(
  { peerId, nodeId }: TestNode,
  txId: string,
  detectedAtMs: number,
): Promise<void> {
  const observed = { openedAtMs: NOW_MS, deadlineAtMs: NOW_MS + 1, voted: [] };
  const evidence = { type: "SILENT_FAILURE", nodeId, ...observed } as const;
  const who = { peerId, nodeId, grade: "OPINION", evidence } as const;
  await store.recordViolation({
    violation: { ...who, txId: txIdOf(txId), type: "SILENT_FAILURE", detectedAtMs },
    ban: { ...who, reason: "SILENT_FAILURE", bannedAtMs: detectedAtMs },
  });
}

function receipt({ nodeId, signer }: TestNode, sequence: number, peerId: PeerId): Receipt {
  return signReceipt(
    {
      clusterId: cluster.set.clusterId,
      nodeId,
      peerId,
      sequence,
      runStartedAtMs: NOW_MS,
      issuedAtMs: NOW_MS + sequence,
      reason: "quota",
      count: 1,
      firstAtMs: NOW_MS,
      lastAtMs: NOW_MS,
      messageHash: toBase64(new Uint8Array(32)),
      txId: null,
      voter: null,
      author: null,
      forwarder: null,
    },
    (message) => signer.sign(message),
  );
}

/** The one that was let in again votes too, and so makes up for a hundredth of its penalty. */
async function confirmOne(txId: string, voters: readonly number[]): Promise<void> {
  const { set, verify } = cluster;
  const { epochVersion } = await store.readConfig();
  const votes = voters.map((i) => vote(cluster, i, txId, 7));
  await castVotes(store, set, epochVersion, { txId: txIdOf(txId), votes });
  const reached = await store.read(txIdOf(txId));
  const claim = decideClaim(reached.snapshot, set, verify);
  if (claim.kind !== "claim") throw new Error(`no claim: ${claim.kind}`);
  await store.commit([{ version: reached.version, writes: claim.writes }], epochVersion);
  const claimed = await store.read(txIdOf(txId));
  const writes = decideConfirm(claimed.snapshot, { txHash: "0x01", blockNumber: "1" });
  if (writes === null) throw new Error("no confirmation");
  await store.commit([{ version: claimed.version, writes }], epochVersion);
}

/** Runs a projector until it is at the tally's present revision, or until it dies. @returns how it ended */
async function project(schema: string, dieAt = ""): Promise<string> {
  const [endpoint = ""] = etcd.endpoints;
  const until = (await store.revision()).toString();
  const args = [endpoint, CLUSTER, postgres.url, schema, until, dieAt];
  const child = spawn(process.execPath, ["--conditions=@quorate/source", PROGRAM, ...args], {
    stdio: ["ignore", "inherit", "inherit"],
    timeout: 30_000,
    killSignal: "SIGTERM",
  });
  const [code, signal] = (await once(child, "exit")) as [number | null, string | null];
  return signal ?? `code ${String(code)}`;
}

const TABLES: Readonly<Record<string, string>> = {
  position: "SELECT revision::text FROM projector_position",
  votes: "SELECT tx_id, node_id, revision::text FROM vote_history ORDER BY 1, 2",
  violations: `SELECT tx_id, peer_id, violation_type, evidence_json, borne_out, revision::text
    FROM byzantine_violations ORDER BY id`,
  bans: "SELECT peer_id, reason, grade, evidence_json, revision::text FROM banned_peers ORDER BY 1",
  lifts: "SELECT peer_id, lifted_by, reason, lifted_at, revision::text FROM ban_lifts ORDER BY id",
  receipts:
    "SELECT node_id, sequence::text, receipt, revision::text FROM discard_receipts ORDER BY id",
  transactions: `SELECT tx_id, status, record, revision::text, decided_revision::text
    FROM transaction_history ORDER BY 1`,
  reputations: "SELECT * FROM node_reputation ORDER BY peer_id",
};

async function dump(schema: string): Promise<Readonly<Record<string, readonly unknown[]>>> {
  const client = new Client({ connectionString: postgres.url });
  await client.connect();
  try {
    await client.query(`SET search_path TO ${schema}`);
    const tables: Record<string, readonly unknown[]> = {};
    for (const [name, text] of Object.entries(TABLES))
      tables[name] = (await client.query(text)).rows;
    return tables;
  } finally {
    await client.end();
  }
}

test("a projector killed before and after its commits leaves everything in history once, as one that never died", async () => {
  for (const schema of ["dying", "living"])
    await migrate({ url: postgres.url, schema, logger: memoryLogger() });
  for (const [round, point] of ROUNDS.entries()) {
    await makeHistory(round);
    const before = await dump("dying");
    expect(await project("dying", point)).toBe("SIGKILL");
    const after = await dump("dying");
    // Before the append it left nothing; after it, all of that batch.
    if (point === "projector.before-append") expect(after).toEqual(before);
    else expect(after["position"]).not.toEqual(before["position"]);
  }
  expect(await project("dying")).toBe("code 0");
  expect(await project("living")).toBe("code 0");
  const dying = await dump("dying");
  expect(dying).toEqual(await dump("living"));
  const rounds = ROUNDS.length;
  const counts = Object.fromEntries(
    Object.entries(dying).map(([name, rows]) => [name, rows.length]),
  );
  expect(counts).toEqual({
    position: 1,
    votes: 5 * rounds,
    violations: 2 * rounds,
    bans: 2 * rounds,
    lifts: rounds,
    receipts: 3 * rounds,
    transactions: rounds,
    reputations: 4 + 3 * rounds,
  });
  const penalties = (dying["reputations"] ?? [])
    .map((row) => Number(Reflect.get(Object(row), "penalty")))
    .filter((penalty) => penalty > 0);
  // Lifted to a half, and one decided transaction.
  expect(penalties).toEqual(ROUNDS.map(() => 0.5 * 0.99));
});
