import type { BanRow } from "@quorate/ports";

import { timeParameter } from "../row.ts";
import type { Queries } from "../session.ts";
import type { Revised } from "./revised.ts";

// A later ban replaces an earlier one (the first may have been lifted), except that
// a PROOF ban is permanent and an OPINION never takes its place. (R7)
const UPSERT_BANS = `
  WITH newest AS (
    SELECT DISTINCT ON (peer_id) *
    FROM unnest(
      $1::text[], $2::text[], $3::text[], $4::text[], $5::timestamptz[], $6::bigint[])
      WITH ORDINALITY AS new (peer_id, node_id, reason, grade, banned_at, revision, position)
    ORDER BY peer_id, (grade = 'PROOF') DESC, revision DESC, position
  ), banned AS (
    INSERT INTO banned_peers AS b (peer_id, node_id, reason, grade, banned_at, revision)
    SELECT peer_id, node_id, reason, grade, banned_at, revision FROM newest
    ON CONFLICT (peer_id) DO UPDATE SET
      node_id = excluded.node_id, reason = excluded.reason, grade = excluded.grade,
      banned_at = excluded.banned_at, revision = excluded.revision
      WHERE excluded.revision > b.revision AND (excluded.grade = 'PROOF' OR b.grade = 'OPINION')
    RETURNING b.peer_id, b.node_id, b.banned_at
  )
  INSERT INTO node_reputation AS r (peer_id, node_id, reputation_score, last_seen)
  SELECT peer_id, node_id, 0.0, banned_at FROM banned
  ON CONFLICT (peer_id) DO UPDATE SET
    node_id = COALESCE(excluded.node_id, r.node_id), reputation_score = 0.0`;

export async function upsertBans(tx: Queries, rows: readonly Revised<BanRow>[]): Promise<void> {
  if (rows.length === 0) return;
  await tx.query("recording bans", UPSERT_BANS, [
    rows.map(({ peerId }) => peerId),
    rows.map(({ nodeId }) => nodeId),
    rows.map(({ reason }) => reason),
    rows.map(({ grade }) => grade),
    rows.map(({ bannedAtMs }) => timeParameter(bannedAtMs)),
    rows.map(({ revision }) => revision),
  ]);
}
