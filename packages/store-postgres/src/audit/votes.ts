import type { VoteRow } from "@quorate/ports";

import { jsonParameter, timeParameter } from "../row.ts";
import type { Queries } from "../session.ts";
import type { Revised } from "./revised.ts";

// Only votes that were not there before count for reputation: a batch that is
// repeated, or a snapshot taken anew after a compaction, adds nothing.
const INSERT_VOTES = `
  WITH added AS (
    INSERT INTO vote_history
      (tx_id, node_id, peer_id, epoch, value, signature, proof, issued_at, revision)
    SELECT * FROM unnest(
      $1::text[], $2::text[], $3::text[], $4::bigint[], $5::numeric[],
      $6::bytea[], $7::jsonb[], $8::timestamptz[], $9::bigint[])
    ON CONFLICT (tx_id, node_id) DO NOTHING
    RETURNING peer_id, node_id, issued_at
  ), per_peer AS (
    SELECT peer_id, max(node_id) AS node_id, count(*) AS votes, max(issued_at) AS last_seen
    FROM added GROUP BY peer_id ORDER BY peer_id
  )
  INSERT INTO node_reputation AS r (peer_id, node_id, total_votes, last_seen)
  SELECT peer_id, node_id, votes, last_seen FROM per_peer
  ON CONFLICT (peer_id) DO UPDATE SET
    node_id = excluded.node_id,
    total_votes = r.total_votes + excluded.total_votes,
    -- Before its first vote it is when the peer was noticed, which may be later than what it then signed.
    last_seen = CASE WHEN r.total_votes = 0 THEN excluded.last_seen
      ELSE GREATEST(r.last_seen, excluded.last_seen) END`;

export async function insertVotes(tx: Queries, rows: readonly Revised<VoteRow>[]): Promise<void> {
  if (rows.length === 0) return;
  await tx.query("recording votes", INSERT_VOTES, [
    rows.map(({ txId }) => txId),
    rows.map(({ nodeId }) => nodeId),
    rows.map(({ peerId }) => peerId),
    rows.map(({ epoch }) => epoch),
    rows.map(({ value }) => value),
    rows.map(({ signature }) => signature),
    rows.map(({ proofJson }) => jsonParameter(proofJson)),
    rows.map(({ issuedAtMs }) => timeParameter(issuedAtMs)),
    rows.map(({ revision }) => revision),
  ]);
}
