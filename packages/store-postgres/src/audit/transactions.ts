import type { TransactionRow } from "@quorate/ports";

import { timeParameter } from "../row.ts";
import type { Queries } from "../session.ts";
import type { Revised } from "./revised.ts";

// One row per transaction: its newest revision. An older one that comes again changes nothing.
const UPSERT_TRANSACTIONS = `
  INSERT INTO transaction_history AS t
    (tx_id, status, reason, value, epoch, opened_at, record, revision)
  SELECT DISTINCT ON (tx_id) tx_id, status, reason, value, epoch, opened_at, record, revision
  FROM unnest(
    $1::text[], $2::text[], $3::text[], $4::numeric[], $5::bigint[],
    $6::timestamptz[], $7::jsonb[], $8::bigint[])
    WITH ORDINALITY AS new (tx_id, status, reason, value, epoch, opened_at, record, revision, position)
  ORDER BY tx_id, revision DESC, position
  ON CONFLICT (tx_id) DO UPDATE SET
    status = excluded.status, reason = excluded.reason, value = excluded.value,
    epoch = excluded.epoch, opened_at = excluded.opened_at, record = excluded.record,
    revision = excluded.revision
    WHERE excluded.revision > t.revision`;

export async function upsertTransactions(
  tx: Queries,
  rows: readonly Revised<TransactionRow>[],
): Promise<void> {
  if (rows.length === 0) return;
  await tx.query("recording transactions", UPSERT_TRANSACTIONS, [
    rows.map(({ txId }) => txId),
    rows.map(({ status }) => status),
    rows.map(({ reason }) => reason),
    rows.map(({ value }) => value),
    rows.map(({ epoch }) => epoch),
    rows.map(({ openedAtMs }) => timeParameter(openedAtMs)),
    rows.map(({ recordJson }) => recordJson),
    rows.map(({ revision }) => revision),
  ]);
}
