import { type Receipt, receiptFromJson, receiptToJson } from "@quorate/core";
import { type ReceiptRow, type ReceiptsPage, StoreError } from "@quorate/ports";

import { bigintOf, type Row, timeParameter } from "../row.ts";
import type { Queries } from "../session.ts";
import type { Revised } from "./revised.ts";

const INSERT_RECEIPTS = `
  INSERT INTO discard_receipts
    (node_id, run_started_at_ms, sequence, issued_at, reason, count, tx_id, voter, author,
     receipt, revision)
  SELECT node_id, run_started_at_ms, sequence, issued_at, reason, count, tx_id, voter, author,
    receipt, revision
  FROM unnest(
    $1::text[], $2::bigint[], $3::bigint[], $4::timestamptz[], $5::text[], $6::bigint[],
    $7::text[], $8::text[], $9::text[], $10::jsonb[], $11::bigint[])
    WITH ORDINALITY AS new (node_id, run_started_at_ms, sequence, issued_at, reason, count,
      tx_id, voter, author, receipt, revision, position)
  ORDER BY revision, position
  ON CONFLICT (node_id, run_started_at_ms, sequence) DO NOTHING`;

const PAGE = `
  SELECT id, receipt FROM discard_receipts
  WHERE $1::bigint IS NULL OR id < $1::bigint
  ORDER BY id DESC LIMIT $2`;

export async function insertReceipts(
  tx: Queries,
  rows: readonly Revised<ReceiptRow>[],
): Promise<void> {
  if (rows.length === 0) return;
  const receipts = rows.map(({ receipt }) => receipt);
  await tx.query("recording receipts", INSERT_RECEIPTS, [
    receipts.map(({ nodeId }) => nodeId),
    receipts.map(({ runStartedAtMs }) => runStartedAtMs),
    receipts.map(({ sequence }) => sequence),
    receipts.map(({ issuedAtMs }) => timeParameter(issuedAtMs)),
    receipts.map(({ reason }) => reason),
    receipts.map(({ count }) => count),
    receipts.map(({ txId }) => txId),
    receipts.map(({ voter }) => voter),
    receipts.map(({ author }) => author),
    receipts.map((receipt) => JSON.stringify(receiptToJson(receipt))),
    rows.map(({ revision }) => revision),
  ]);
}

export async function readReceipts(
  queries: Queries,
  page: { readonly before: string | null; readonly limit: number },
): Promise<ReceiptsPage> {
  const rows = await queries.query("reading receipts", PAGE, [page.before, page.limit]);
  const last = rows.at(-1);
  const full = last !== undefined && rows.length === page.limit;
  return {
    receipts: rows.map(receiptOf),
    next: full ? bigintOf(last, "id").toString() : null,
  };
}

function receiptOf(row: Row): Receipt {
  const read = receiptFromJson(row["receipt"]);
  if (read.ok) return read.value;
  throw new StoreError("CORRUPT", `a recorded receipt is not readable: ${read.error}`, {
    retryable: false,
  });
}
