import type { TxId, Value } from "@quorate/core";
import type { TransactionRow } from "@quorate/ports";

import { bigintOf, bigintOrNull, booleanOf, jsonParameter, textOf, timeParameter } from "../row.ts";
import type { Queries } from "../session.ts";
import { MAY_FOLLOW } from "./contradictions.ts";
import type { Revised } from "./revised.ts";

const KNOWN = `
  SELECT tx_id, revision, decided_revision, status = 'ABORTED_BYZANTINE' AND revision <= $2 AS closed
  FROM transaction_history WHERE tx_id = ANY($1::text[])`;

// One row per transaction: its newest revision. An older one that comes again changes nothing, and what an
// earlier etcd (up to revision $10) had decided is not undone by one that was restored from before.
const UPSERT_TRANSACTIONS = `
  INSERT INTO transaction_history AS t
    (tx_id, status, reason, value, epoch, opened_at, record, revision, decided_revision)
  SELECT DISTINCT ON (tx_id)
    tx_id, status, reason, value, epoch, opened_at, record, revision, decided_revision
  FROM unnest(
    $1::text[], $2::text[], $3::text[], $4::numeric[], $5::bigint[],
    $6::timestamptz[], $7::jsonb[], $8::bigint[], $9::bigint[])
    WITH ORDINALITY AS new
      (tx_id, status, reason, value, epoch, opened_at, record, revision, decided_revision, position)
  ORDER BY tx_id, revision DESC, position
  ON CONFLICT (tx_id) DO UPDATE SET
    status = excluded.status, reason = excluded.reason, value = excluded.value,
    epoch = excluded.epoch, opened_at = excluded.opened_at, record = excluded.record,
    revision = excluded.revision,
    decided_revision = COALESCE(t.decided_revision, excluded.decided_revision)
    WHERE excluded.revision > t.revision
      AND (t.revision > $10 OR ${MAY_FOLLOW.replaceAll("n.", "excluded.")})`;

/** A transaction at the revision at which it was first seen decided. */
export interface Decided {
  readonly txId: TxId;
  readonly value: Value;
  readonly revision: bigint;
}

/**
 * @param offset revisions up to this one are of an earlier etcd
 * @returns the ones that are decided and were not before.
 */
export async function upsertTransactions(
  tx: Queries,
  rows: readonly Revised<TransactionRow>[],
  offset: bigint,
): Promise<readonly Decided[]> {
  if (rows.length === 0) return [];
  const decided = await newlyDecided(tx, rows, offset);
  await tx.query("recording transactions", UPSERT_TRANSACTIONS, [
    rows.map(({ txId }) => txId),
    rows.map(({ status }) => status),
    rows.map(({ reason }) => reason),
    rows.map(({ value }) => value),
    rows.map(({ epoch }) => epoch),
    rows.map(({ openedAtMs }) => timeParameter(openedAtMs)),
    rows.map(({ recordJson }) => jsonParameter(recordJson)),
    rows.map(({ revision }) => revision),
    rows.map(({ txId }) => decided.get(txId)?.revision ?? null),
    offset,
  ]);
  return [...decided.values()];
}

function isDecided<R extends TransactionRow>(row: R): row is R & { readonly value: Value } {
  return (row.status === "SUBMITTED" || row.status === "CONFIRMED") && row.value !== null;
}

async function newlyDecided(
  tx: Queries,
  rows: readonly Revised<TransactionRow>[],
  offset: bigint,
): Promise<ReadonlyMap<TxId, Decided>> {
  const candidates = rows.filter(isDecided);
  if (candidates.length === 0) return new Map();
  const known = await tx.query("looking up transactions", KNOWN, [
    [...new Set(candidates.map(({ txId }) => txId))],
    offset,
  ]);
  const byTxId = new Map(known.map((row) => [textOf(row, "tx_id"), row]));
  const decided = new Map<TxId, Decided>();
  for (const { txId, value, revision } of candidates) {
    const before = byTxId.get(txId);
    if (before !== undefined) {
      if (bigintOrNull(before, "decided_revision") !== null) continue;
      if (bigintOf(before, "revision") >= revision || booleanOf(before, "closed")) continue;
    }
    const other = decided.get(txId);
    if (other === undefined || revision < other.revision)
      decided.set(txId, { txId, value, revision });
  }
  return decided;
}
