import type { SubmissionState, TxId } from "@quorate/core";
import type {
  AbortOptions,
  EnqueueOutcome,
  NewSubmission,
  RecordItem,
  Sender,
  SenderLease,
  SubmissionStore,
} from "@quorate/ports";
import type { Pool } from "pg";

import { bigintOf, bytesOfHex, numberOf, type Row, txIdOf, valueOf } from "../row.ts";
import { type Queries, withSession } from "../session.ts";
import { contradictByRecord, lockAgainstImport, settleByRecord } from "./chain-records.ts";
import { underLease } from "./lease.ts";
import { refused } from "./refused.ts";
import { recordItemOf, submissionStateOf } from "./submission-row.ts";

// In the order of ids: two processes that enqueue the same ids lock them in the same order.
const INSERT_TOMBSTONES = `
  INSERT INTO tombstone (tx_id, value)
  SELECT tx_id, value FROM unnest($1::text[], $2::numeric[]) AS new (tx_id, value)
  ORDER BY tx_id
  ON CONFLICT (tx_id) DO NOTHING
  RETURNING tx_id`;

// In the order given: seq, the order of arrival, comes from it. Gives those that the contract
// was found to hold already.
const INSERT_SUBMISSIONS = `
  WITH inserted AS (
    INSERT INTO submission (tx_id, key, value, trustee_epoch, decision_revision, chain_id)
    SELECT tx_id, key, value, trustee_epoch, decision_revision, $6
    FROM unnest($1::text[], $2::bytea[], $3::numeric[], $4::bigint[], $5::bigint[])
      WITH ORDINALITY AS new (tx_id, key, value, trustee_epoch, decision_revision, position)
    ORDER BY position
    RETURNING tx_id, chain_id, key
  )
  SELECT i.tx_id, record.value, record.block_number
  FROM inserted i JOIN chain_record record
    ON record.chain_id = i.chain_id AND record.key = i.key`;

const ARCHIVED_KEYS = `SELECT tx_id FROM submission_archive WHERE key = ANY ($1::bytea[]) LIMIT 1`;

// A tombstone without a submission is that of an archived one.
const READ_TOMBSTONES = `
  SELECT t.tx_id, t.value, s.state
  FROM tombstone t LEFT JOIN submission s USING (tx_id)
  WHERE t.tx_id = ANY ($1::text[])`;

const QUARANTINE_CONFLICTS = `
  WITH conflict AS (
    SELECT s.tx_id, new.value
    FROM unnest($1::text[], $2::numeric[]) AS new (tx_id, value)
    JOIN submission s ON s.tx_id = new.tx_id
    WHERE s.state IN ('QUEUED', 'ASSIGNED', 'INCLUDED')
    ORDER BY s.tx_id FOR UPDATE OF s
  )
  UPDATE submission s
  SET state = 'QUARANTINED', reason = 'decided again, with value ' || conflict.value
  FROM conflict WHERE s.tx_id = conflict.tx_id`;

const PEEK_QUEUED = `
  SELECT tx_id, value FROM submission
  WHERE chain_id = $1 AND state = 'QUEUED' ORDER BY seq LIMIT $2`;

const ABORT_QUEUED = `
  WITH aborting AS (
    SELECT tx_id FROM submission
    WHERE chain_id = $1 AND tx_id = ANY ($2::text[]) AND state = 'QUEUED'
    ORDER BY tx_id FOR UPDATE
  )
  UPDATE submission s SET state = 'ABORTED', reason = $3
  FROM aborting WHERE s.tx_id = aborting.tx_id
  RETURNING s.tx_id`;

const MARK_CONFIRMED = `
  UPDATE submission SET confirmed_at = now()
  WHERE tx_id = ANY ($1::text[]) AND state = 'FINALIZED' AND confirmed_at IS NULL`;

/** FINALIZED ones are counted one by one up to here, which takes a few ms. Retention keeps 30 days of them, which would take seconds. */
const FINALIZED_COUNTED_MAX = 10_000;

// Beyond that it is what the planner believes of the table, less the exact counts of the others:
// some per cent off between two runs of autovacuum, and never below what was counted.
const COUNTS = `
  WITH few AS (
    SELECT state, count(*) AS count FROM submission
    WHERE state = ANY ('{QUEUED,ASSIGNED,INCLUDED,ABORTED,QUARANTINED}'::text[])
    GROUP BY state
  ), finalized AS (
    SELECT count(*) AS count
    FROM (SELECT 1 FROM submission WHERE state = 'FINALIZED' LIMIT $1) AS counted
  )
  SELECT state, count FROM few
  UNION ALL
  SELECT 'FINALIZED', CASE WHEN count < $1 THEN count ELSE GREATEST(count,
    (SELECT reltuples::bigint FROM pg_class WHERE oid = 'submission'::regclass)
      - (SELECT COALESCE(sum(count), 0)::bigint FROM few)) END
  FROM finalized`;

export async function enqueue(
  pool: Pool,
  submissions: readonly NewSubmission[],
  sender: Sender,
  options: AbortOptions,
): Promise<readonly EnqueueOutcome[]> {
  if (submissions.length === 0) return [];
  return withSession(pool, options, (session) =>
    session.transaction((tx) => enqueueIn(tx, submissions, sender)),
  );
}

async function enqueueIn(
  tx: Queries,
  submissions: readonly NewSubmission[],
  sender: Sender,
): Promise<readonly EnqueueOutcome[]> {
  await lockAgainstImport(tx);
  // Of two inputs with one id the first is new, the second is judged against it.
  const firsts = new Map<TxId, NewSubmission>();
  for (const item of submissions) if (!firsts.has(item.txId)) firsts.set(item.txId, item);
  const candidates = [...firsts.values()];
  const inserted = await tx.query("writing tombstones", INSERT_TOMBSTONES, [
    candidates.map(({ txId }) => txId),
    candidates.map(({ value }) => value),
  ]);
  const isNew = new Set(inserted.map((row) => txIdOf(row, "tx_id")));
  const fresh = candidates.filter(({ txId }) => isNew.has(txId));
  const records = await insertSubmissions(tx, fresh, sender);

  const stored = new Map<TxId, Row>();
  const rows = await tx.query("reading tombstones", READ_TOMBSTONES, [[...firsts.keys()]]);
  for (const row of rows) stored.set(txIdOf(row, "tx_id"), row);

  // By the first of the call's inputs that says another value; those after it are told so.
  const conflicts = new Map<TxId, NewSubmission>();
  const outcomes = submissions.map((item) => {
    const isFirst = isNew.has(item.txId) && firsts.get(item.txId) === item;
    const outcome = isFirst
      ? newOutcome(item, records.get(item.txId))
      : repeatedOutcome(item, stored.get(item.txId) ?? {}, conflicts.has(item.txId));
    if (outcome.kind === "conflict" && !conflicts.has(item.txId)) conflicts.set(item.txId, item);
    return outcome;
  });
  if (conflicts.size > 0) {
    const first = [...conflicts.values()];
    await tx.query("quarantining a conflict", QUARANTINE_CONFLICTS, [
      first.map(({ txId }) => txId),
      first.map(({ value }) => value),
    ]);
  }
  return outcomes;
}

function newOutcome({ value }: NewSubmission, record: Row | undefined): EnqueueOutcome {
  if (record === undefined) return { kind: "queued" };
  const storedValue = valueOf(record, "value");
  return storedValue === value
    ? { kind: "recorded", blockNumber: bigintOf(record, "block_number") }
    : { kind: "conflict", storedValue };
}

/** @param contradicted an earlier input of the call has another value: what was not final is QUARANTINED */
function repeatedOutcome(
  { value }: NewSubmission,
  row: Row,
  contradicted: boolean,
): EnqueueOutcome {
  const storedValue = valueOf(row, "value");
  if (row["state"] === null) return { kind: "archived", storedValue };
  if (storedValue !== value) return { kind: "conflict", storedValue };
  const state = submissionStateOf(row, "state");
  const isFinal = state === "FINALIZED" || state === "ABORTED";
  return { kind: "exists", state: contradicted && !isFinal ? "QUARANTINED" : state };
}

/** @returns for those that the contract was found to hold, what it holds: they are settled or quarantined. */
async function insertSubmissions(
  tx: Queries,
  fresh: readonly NewSubmission[],
  sender: Sender,
): Promise<ReadonlyMap<TxId, Row>> {
  if (fresh.length === 0) return new Map();
  const keys = fresh.map(({ key }) => bytesOfHex(key));
  const rows = await tx.query("enqueueing", INSERT_SUBMISSIONS, [
    fresh.map(({ txId }) => txId),
    keys,
    fresh.map(({ value }) => value),
    fresh.map(({ epoch }) => epoch),
    fresh.map(({ decisionRevision }) => decisionRevision),
    sender.chainId,
  ]);
  const [other] = await tx.query("looking into the archive", ARCHIVED_KEYS, [keys]);
  if (other !== undefined) {
    throw refused(`a key belongs to another transaction id, ${txIdOf(other, "tx_id")}`);
  }
  const records = new Map(rows.map((row) => [txIdOf(row, "tx_id"), row]));
  const agrees = ({ txId, value }: NewSubmission): boolean => {
    const row = records.get(txId);
    return row !== undefined && valueOf(row, "value") === value;
  };
  const found = fresh.filter(({ txId }) => records.has(txId));
  await settleByRecord(
    tx,
    found.filter(agrees).map(({ txId }) => txId),
  );
  await contradictByRecord(
    tx,
    found.filter((item) => !agrees(item)).map(({ txId }) => txId),
  );
  return records;
}

export async function peekQueued(
  pool: Pool,
  sender: Sender,
  limit: number,
  options: AbortOptions,
): Promise<readonly RecordItem[]> {
  return withSession(pool, options, async (session) => {
    const rows = await session.query("reading the queue", PEEK_QUEUED, [sender.chainId, limit]);
    return rows.map(recordItemOf);
  });
}

export async function abortQueued(
  pool: Pool,
  lease: SenderLease,
  txIds: readonly TxId[],
  reason: string,
  options: AbortOptions,
): ReturnType<SubmissionStore["abortQueued"]> {
  const outcome = await underLease(pool, lease, options, async (tx) => {
    const parameters = [lease.chainId, txIds, reason];
    const rows = await tx.query("aborting submissions", ABORT_QUEUED, parameters);
    const moved = new Set(rows.map((row) => txIdOf(row, "tx_id")));
    return [...new Set(txIds)].filter((txId) => moved.has(txId));
  });
  return outcome === "fenced" ? { kind: "fenced" } : { kind: "done", aborted: outcome };
}

export async function markConfirmed(
  pool: Pool,
  txIds: readonly TxId[],
  options: AbortOptions,
): Promise<void> {
  if (txIds.length === 0) return;
  await withSession(pool, options, (session) =>
    session.transaction((tx) => tx.query("marking confirmed", MARK_CONFIRMED, [txIds])),
  );
}

/** Exact but for FINALIZED, which is an estimate beyond ten thousand. Archived ones are not counted. */
export async function counts(
  pool: Pool,
  options: AbortOptions,
): Promise<Readonly<Record<SubmissionState, number>>> {
  return withSession(pool, options, async (session) => {
    const result: Record<SubmissionState, number> = {
      QUEUED: 0,
      ASSIGNED: 0,
      INCLUDED: 0,
      FINALIZED: 0,
      ABORTED: 0,
      QUARANTINED: 0,
    };
    for (const row of await session.query("counting submissions", COUNTS, [
      FINALIZED_COUNTED_MAX,
    ])) {
      result[submissionStateOf(row, "state")] = numberOf(row, "count");
    }
    return result;
  });
}
