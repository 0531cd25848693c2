import {
  bytesToHex,
  hash,
  parseEpoch,
  parseEvmAddress,
  parseNodeId,
  parseValue,
  peerIdOf,
  type TxId,
  unwrap,
  utf8,
} from "@quorate/core";
import { type PostgresServer, startPostgres } from "@quorate/devkit";
import type { AuditRow } from "@quorate/ports";
import { retentionContract, txIdOf } from "@quorate/testkit";
import type { Pool } from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";

import { createAuditLog } from "./audit-log.ts";
import { createRetentionStore } from "./retention-store.ts";
import { type Row, txIdOf as txIdOfRow } from "./row.ts";
import { createSubmissionStore } from "./submission-store.ts";
import { startTestServer, type TestServer } from "./testing/database.ts";

const SEVEN = unwrap(parseValue(7n));
const EPOCH = unwrap(parseEpoch(1));
const PEER = peerIdOf(hash(utf8("retention")));
const NODE = unwrap(parseNodeId("node-1"));
const SENDER = { chainId: 31_337, address: unwrap(parseEvmAddress(`0x${"11".repeat(20)}`)) };

let server: TestServer<PostgresServer>;
beforeAll(async () => {
  server = await startTestServer(startPostgres);
});
afterAll(() => server.stop());

async function ids(pool: Pool, table: string): Promise<readonly TxId[]> {
  const { rows } = await pool.query<Row>(`SELECT tx_id FROM ${table}`);
  return rows.map((row) => txIdOfRow(row, "tx_id"));
}

async function makeWorld() {
  const { pool, schema } = await server.world();
  const otherPool = server.pool(schema);
  const audit = createAuditLog(pool);
  const submissions = createSubmissionStore(pool);
  const lease = await submissions.becomeLeader(SENDER, 0n);
  let revision = 0n;
  const project = async (row: AuditRow): Promise<void> => {
    const expected = revision === 0n ? null : revision;
    revision += 1n;
    const outcome = await audit.append(expected, { revision, rows: [{ ...row, revision }] });
    expect(outcome).toBe("appended");
  };
  return {
    pool,
    store: createRetentionStore(pool),
    other: createRetentionStore(otherPool),
    transaction: (txId: TxId, status: string) =>
      project({
        kind: "transaction",
        txId,
        status,
        reason: status === "ABORTED_BYZANTINE" ? "SPLIT_VOTE" : null,
        value: status === "ABORTED_BYZANTINE" ? null : SEVEN,
        epoch: EPOCH,
        openedAtMs: 1_000,
        recordJson: "{}",
      }),
    submission: async (txId: TxId, stage: "queued" | "finalized" | "confirmed") => {
      const key = `0x${bytesToHex(hash(utf8(txId)))}` as const;
      await submissions.enqueue(
        [{ txId, key, value: SEVEN, epoch: EPOCH, decisionRevision: 1n }],
        SENDER,
      );
      if (stage !== "queued") await submissions.markAlreadyRecorded(lease, txId, 5n);
      if (stage === "confirmed") await submissions.markConfirmed([txId]);
    },
    vote: (txId: TxId) =>
      project({
        kind: "vote",
        txId,
        nodeId: NODE,
        peerId: PEER,
        epoch: EPOCH,
        value: SEVEN,
        signature: Uint8Array.of(1, 2, 3),
        proofJson: "{}",
        issuedAtMs: 1_000,
      }),
    // Past the guards, which let nobody make a row older.
    age: async (ms: number) => {
      const by = `interval '${ms} milliseconds'`;
      await pool.query(`
        BEGIN; SET LOCAL session_replication_role = replica;
        UPDATE transaction_history SET settled_at = settled_at - ${by};
        UPDATE submission SET confirmed_at = confirmed_at - ${by};
        UPDATE vote_history SET received_at = received_at - ${by};
        COMMIT`);
    },
    rows: async () => ({
      active: await ids(pool, "submission"),
      archived: await ids(pool, "submission_archive"),
      votes: await ids(pool, "vote_history"),
      archivedVotes: await ids(pool, "vote_history_archive"),
    }),
    close: async () => {
      await Promise.all([pool.end(), otherPool.end()]);
    },
  };
}

retentionContract("PostgreSQL", makeWorld);

test("an archived submission has every column that it had, and is archived, not queued, when it comes again", async () => {
  const world = await makeWorld();
  const txId = txIdOf("tx-whole");
  await world.submission(txId, "confirmed");
  const read = async (table: string): Promise<Row> =>
    (await world.pool.query<Row>(`SELECT * FROM ${table}`)).rows[0] ?? {};
  const before = await read("submission");
  expect(await world.store.archiveSubmissions({ confirmedForMs: 0, limit: 10 })).toBe(1);
  const { archived_at: archivedAt, ...after } = await read("submission_archive");
  expect(after).toEqual(before);
  expect(archivedAt).toBeInstanceOf(Date);
  await world.submission(txId, "queued");
  expect(await world.rows()).toMatchObject({ active: [], archived: [txId] });
  await world.close();
});

test("evidence, tombstones and transactions survive every retention", async () => {
  const world = await makeWorld();
  const txId = txIdOf("tx-for-ever");
  await world.submission(txId, "confirmed");
  await world.vote(txId);
  await world.transaction(txId, "CONFIRMED");
  await world.store.archiveSubmissions({ confirmedForMs: 0, limit: 10 });
  await world.store.retireVotes({ recordedForMs: 0, limit: 10, to: "delete" });
  await world.store.notePurged([txId], "all");
  expect(await ids(world.pool, "tombstone")).toEqual([txId]);
  expect(await ids(world.pool, "transaction_history")).toEqual([txId]);
  expect(await ids(world.pool, "vote_history")).toEqual([]);
  await world.close();
});
