import { SUBMISSION_MOVES, type SubmissionState, type TxId } from "@quorate/core";
import type {
  AbortOptions,
  EnqueueOutcome,
  NewSubmission,
  RecordItem,
  Sender,
  Submission,
} from "@quorate/ports";
import { StoreError } from "@quorate/ports";
import type { Pool } from "pg";

import {
  bigintOf,
  bigintOrNull,
  bytesOfHex,
  epochOf,
  hexOf,
  hexOrNull,
  numberOf,
  type Row,
  textOf,
  timeMsOf,
  timeMsOrNull,
  txIdOf,
  valueOf,
} from "../row.ts";
import { type Queries, withSession } from "../session.ts";

// In the order of ids: two processes that enqueue the same ids lock them in the same order.
const INSERT_TOMBSTONES = `
  INSERT INTO tombstone (tx_id, value)
  SELECT tx_id, value FROM unnest($1::text[], $2::numeric[]) AS new (tx_id, value)
  ORDER BY tx_id
  ON CONFLICT (tx_id) DO NOTHING
  RETURNING tx_id`;

// In the order given: seq, the order of arrival, comes from it.
const INSERT_SUBMISSIONS = `
  INSERT INTO submission (tx_id, key, value, trustee_epoch, decision_revision, chain_id)
  SELECT tx_id, key, value, trustee_epoch, decision_revision, $6
  FROM unnest($1::text[], $2::bytea[], $3::numeric[], $4::bigint[], $5::bigint[])
    WITH ORDINALITY AS new (tx_id, key, value, trustee_epoch, decision_revision, position)
  ORDER BY position`;

// Only confirmed submissions are ever archived, so a tombstone without a submission was FINALIZED.
const READ_TOMBSTONES = `
  SELECT t.tx_id, t.value, COALESCE(s.state, 'FINALIZED') AS state
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
  SET state = 'QUARANTINED', quarantine_reason = 'decided again, with value ' || conflict.value
  FROM conflict WHERE s.tx_id = conflict.tx_id`;

const PEEK_QUEUED = `
  SELECT tx_id, value FROM submission
  WHERE chain_id = $1 AND state = 'QUEUED' ORDER BY seq LIMIT $2`;

// The hash and block that hold the record: those of finality, or of the inclusion so far.
const SUBMISSION_COLUMNS = `
  s.tx_id, s.key, s.value, s.trustee_epoch, s.decision_revision, s.state, s.nonce,
  CASE s.state WHEN 'FINALIZED' THEN s.finalized_tx WHEN 'INCLUDED' THEN l.receipt_hash END AS tx_hash,
  CASE s.state WHEN 'FINALIZED' THEN s.finalized_block WHEN 'INCLUDED' THEN l.block_number END AS block_number,
  s.queued_at, s.finalized_at
  FROM submission s LEFT JOIN slot l
    ON l.chain_id = s.chain_id AND l.sender = s.sender AND l.nonce = s.nonce`;

const GET = `SELECT ${SUBMISSION_COLUMNS} WHERE s.tx_id = $1`;

const UNCONFIRMED = `
  SELECT ${SUBMISSION_COLUMNS}
  WHERE s.state = 'FINALIZED' AND s.confirmed_at IS NULL
  ORDER BY s.finalized_at, s.seq LIMIT $1`;

const MARK_CONFIRMED = `
  UPDATE submission SET confirmed_at = now()
  WHERE tx_id = ANY ($1::text[]) AND state = 'FINALIZED' AND confirmed_at IS NULL`;

const COUNTS = `SELECT state, count(*) AS count FROM submission GROUP BY state`;

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
  await insertSubmissions(tx, fresh, sender);

  const stored = new Map<TxId, Row>();
  const rows = await tx.query("reading tombstones", READ_TOMBSTONES, [[...firsts.keys()]]);
  for (const row of rows) stored.set(txIdOf(row, "tx_id"), row);

  const outcomes = submissions.map((item): EnqueueOutcome => {
    const row = stored.get(item.txId) ?? {};
    const storedValue = valueOf(row, "value");
    if (storedValue !== item.value) return { kind: "conflict", storedValue };
    if (isNew.has(item.txId) && firsts.get(item.txId) === item) return { kind: "queued" };
    return { kind: "exists", state: submissionStateOf(row, "state") };
  });
  const conflicts = submissions.filter((_, index) => outcomes[index]?.kind === "conflict");
  if (conflicts.length > 0) {
    await tx.query("quarantining a conflict", QUARANTINE_CONFLICTS, [
      conflicts.map(({ txId }) => txId),
      conflicts.map(({ value }) => value),
    ]);
  }
  return outcomes;
}

async function insertSubmissions(
  tx: Queries,
  fresh: readonly NewSubmission[],
  sender: Sender,
): Promise<void> {
  if (fresh.length === 0) return;
  await tx.query("enqueueing", INSERT_SUBMISSIONS, [
    fresh.map(({ txId }) => txId),
    fresh.map(({ key }) => bytesOfHex(key)),
    fresh.map(({ value }) => value),
    fresh.map(({ epoch }) => epoch),
    fresh.map(({ decisionRevision }) => decisionRevision),
    sender.chainId,
  ]);
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

export async function get(
  pool: Pool,
  txId: TxId,
  options: AbortOptions,
): Promise<Submission | null> {
  return withSession(pool, options, async (session) => {
    const [row] = await session.query("reading a submission", GET, [txId]);
    return row === undefined ? null : submissionOf(row);
  });
}

export async function unconfirmed(
  pool: Pool,
  limit: number,
  options: AbortOptions,
): Promise<readonly Submission[]> {
  return withSession(pool, options, async (session) => {
    const rows = await session.query("reading unconfirmed submissions", UNCONFIRMED, [limit]);
    return rows.map(submissionOf);
  });
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
    for (const row of await session.query("counting submissions", COUNTS)) {
      result[submissionStateOf(row, "state")] = numberOf(row, "count");
    }
    return result;
  });
}

export function recordItemOf(row: Row): RecordItem {
  return { txId: txIdOf(row, "tx_id"), value: valueOf(row, "value") };
}

export function submissionStateOf(row: Row, column: string): SubmissionState {
  const state = textOf(row, column);
  if (isSubmissionState(state)) return state;
  throw new StoreError("CORRUPT", `unknown submission state ${state}`, { retryable: false });
}

function isSubmissionState(text: string): text is SubmissionState {
  return Object.hasOwn(SUBMISSION_MOVES, text);
}

function submissionOf(row: Row): Submission {
  return {
    txId: txIdOf(row, "tx_id"),
    key: hexOf(row, "key"),
    value: valueOf(row, "value"),
    epoch: epochOf(row, "trustee_epoch"),
    decisionRevision: bigintOf(row, "decision_revision"),
    state: submissionStateOf(row, "state"),
    nonce: bigintOrNull(row, "nonce"),
    txHash: hexOrNull(row, "tx_hash"),
    blockNumber: bigintOrNull(row, "block_number"),
    queuedAtMs: timeMsOf(row, "queued_at"),
    finalizedAtMs: timeMsOrNull(row, "finalized_at"),
  };
}

/** Reads a slot's batch, `[[tx_id, value], …]`. */
export function recordItemsOf(row: Row, column: string): readonly RecordItem[] {
  const payload: unknown = row[column];
  if (!Array.isArray(payload)) {
    throw new StoreError("CORRUPT", `column ${column} should hold a list`, { retryable: false });
  }
  return payload.map((entry: unknown) => {
    const [txId, value]: readonly unknown[] = Array.isArray(entry) ? entry : [];
    return recordItemOf({ tx_id: txId, value });
  });
}

/** The batch as it is stored. Values as text: JSON numbers end at 2^53. */
export function payloadOf(items: readonly RecordItem[]): string {
  return JSON.stringify(items.map(({ txId, value }) => [txId, value.toString()]));
}
