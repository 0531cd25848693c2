import { parseNodeId, unwrap } from "@quorate/core";
import type { Contradiction, TransactionRow, VoteRow } from "@quorate/ports";

import { jsonParameter, oneOf, textOf, txIdOf } from "../row.ts";
import type { Queries } from "../session.ts";
import type { Revised } from "./revised.ts";

/** SQL that says whether a row `n` of this etcd may follow the row `t` of an earlier one: what was decided stays so. */
export const MAY_FOLLOW = `(
  t.status NOT IN ('SUBMITTED', 'CONFIRMED', 'ABORTED_BYZANTINE')
  OR n.value IS NOT DISTINCT FROM t.value
    AND (n.status = t.status OR n.status = 'CONFIRMED' AND t.status = 'SUBMITTED'))`;

// An older word of the same kind (not decided yet) is no contradiction, it is only older.
const NOTE_TRANSACTIONS = `
  INSERT INTO history_contradiction (kind, tx_id, recorded, found, revision)
  SELECT 'transaction', n.tx_id,
    t.record || jsonb_build_object('status', t.status),
    n.record || jsonb_build_object('status', n.status), n.revision
  FROM unnest($1::text[], $2::text[], $3::numeric[], $4::jsonb[], $5::bigint[])
    AS n (tx_id, status, value, record, revision)
  JOIN transaction_history t ON t.tx_id = n.tx_id AND t.revision <= $6
  WHERE n.status IN ('SUBMITTED', 'CONFIRMED', 'ABORTED_BYZANTINE')
    AND NOT ${MAY_FOLLOW}
    -- Confirmed before, and being confirmed again.
    AND NOT (n.status = 'SUBMITTED' AND t.status = 'CONFIRMED' AND n.value = t.value)
  ORDER BY n.revision
  ON CONFLICT (kind, tx_id, node_id, found_md5) DO NOTHING`;

const NOTE_VOTES = `
  INSERT INTO history_contradiction (kind, tx_id, node_id, recorded, found, revision)
  SELECT 'vote', n.tx_id, n.node_id, t.proof, n.proof, n.revision
  FROM unnest($1::text[], $2::text[], $3::numeric[], $4::jsonb[], $5::bigint[])
    AS n (tx_id, node_id, value, proof, revision)
  JOIN vote_history t ON t.tx_id = n.tx_id AND t.node_id = n.node_id
  WHERE t.revision <= $6 AND t.value <> n.value
  ORDER BY n.revision
  ON CONFLICT (kind, tx_id, node_id, found_md5) DO NOTHING`;

const NEWEST = `
  SELECT kind, tx_id, node_id, recorded::text AS recorded, found::text AS found
  FROM history_contradiction ORDER BY id DESC LIMIT $1`;

/** Keeps what the rows say otherwise than those of an earlier etcd, up to revision `offset`. Before the rows are recorded. */
export async function noteContradictions(
  tx: Queries,
  offset: bigint,
  rows: {
    readonly transactions: readonly Revised<TransactionRow>[];
    readonly votes: readonly Revised<VoteRow>[];
  },
): Promise<void> {
  const { transactions, votes } = rows;
  if (transactions.length > 0)
    await tx.query("noting contradictions", NOTE_TRANSACTIONS, [
      transactions.map(({ txId }) => txId),
      transactions.map(({ status }) => status),
      transactions.map(({ value }) => value),
      transactions.map(({ recordJson }) => jsonParameter(recordJson)),
      transactions.map(({ revision }) => revision),
      offset,
    ]);
  if (votes.length > 0)
    await tx.query("noting contradicting votes", NOTE_VOTES, [
      votes.map(({ txId }) => txId),
      votes.map(({ nodeId }) => nodeId),
      votes.map(({ value }) => value),
      votes.map(({ proofJson }) => jsonParameter(proofJson)),
      votes.map(({ revision }) => revision),
      offset,
    ]);
}

export async function readContradictions(
  queries: Queries,
  limit: number,
): Promise<readonly Contradiction[]> {
  const rows = await queries.query("reading contradictions", NEWEST, [limit]);
  return rows.map((row) => {
    const kind = oneOf(row, "kind", ["transaction", "vote"]);
    return {
      kind,
      txId: txIdOf(row, "tx_id"),
      nodeId: kind === "vote" ? unwrap(parseNodeId(textOf(row, "node_id"))) : null,
      recordedJson: textOf(row, "recorded"),
      foundJson: textOf(row, "found"),
    };
  });
}
