import type { BanEntry, BanRow, LiftRow } from "@quorate/ports";

import {
  jsonParameter,
  nodeIdOrNull,
  oneOf,
  peerIdOf,
  textParameter,
  timeMsOf,
  timeParameter,
} from "../row.ts";
import type { Queries } from "../session.ts";
import { type Noticed, noticedOf } from "./noticed.ts";
import type { Revised } from "./revised.ts";

// A later ban replaces an earlier one, except that a PROOF ban is permanent and an
// OPINION never takes its place (R7). One that was lifted since does not come back
// when its row comes again. At one revision a ban stands: only the present state of an
// etcd tells of both at once, and in that the ban is there. Nor does what an etcd tells
// again of an earlier one (up to revision $10) replace a ban that was later than it.
const UPSERT_BANS = `
  WITH newest AS (
    SELECT DISTINCT ON (peer_id) *
    FROM unnest(
      $1::text[], $2::text[], $3::text[], $4::text[], $5::timestamptz[], $6::jsonb[], $7::bigint[])
      WITH ORDINALITY AS new
        (peer_id, node_id, reason, grade, banned_at, evidence_json, revision, position)
    WHERE NOT EXISTS (
      SELECT 1 FROM ban_lifts l WHERE l.peer_id = new.peer_id AND l.revision > new.revision)
    -- A lift that is known of an earlier etcd keeps the revision that it had there.
    AND NOT EXISTS (
      SELECT 1 FROM unnest($8::text[], $9::bigint[]) AS l (peer_id, revision)
      WHERE l.peer_id = new.peer_id AND l.revision > new.revision)
    ORDER BY peer_id, (grade = 'PROOF') DESC, revision DESC, position
  )
  INSERT INTO banned_peers AS b
    (peer_id, node_id, reason, grade, banned_at, evidence_json, revision)
  SELECT peer_id, node_id, reason, grade, banned_at, evidence_json, revision FROM newest
  ON CONFLICT (peer_id) DO UPDATE SET
    node_id = excluded.node_id, reason = excluded.reason, grade = excluded.grade,
    banned_at = excluded.banned_at, evidence_json = excluded.evidence_json,
    revision = excluded.revision
    WHERE excluded.revision > b.revision AND (excluded.grade = 'PROOF' OR b.grade = 'OPINION')
      AND (b.revision > $10 OR excluded.banned_at >= b.banned_at OR excluded.grade <> b.grade)
  RETURNING peer_id, node_id, banned_at AS noticed_at`;

/**
 * Must come after `insertLifts`.
 * @param lifts those of the same batch
 * @param offset revisions up to this one are of an earlier etcd
 * @returns whose ban is new.
 */
export async function upsertBans(
  tx: Queries,
  rows: readonly Revised<BanRow>[],
  lifts: readonly Revised<LiftRow>[],
  offset: bigint,
): Promise<readonly Noticed[]> {
  if (rows.length === 0) return [];
  const recorded = await tx.query("recording bans", UPSERT_BANS, [
    rows.map(({ peerId }) => peerId),
    rows.map(({ nodeId }) => nodeId),
    rows.map(({ reason }) => textParameter(reason)),
    rows.map(({ grade }) => grade),
    rows.map(({ bannedAtMs }) => timeParameter(bannedAtMs)),
    rows.map(({ evidenceJson }) => jsonParameter(evidenceJson)),
    rows.map(({ revision }) => revision),
    lifts.map(({ peerId }) => peerId),
    lifts.map(({ revision }) => revision),
    offset,
  ]);
  return recorded.map(noticedOf);
}

const LOST = `
  SELECT b.peer_id, b.node_id, b.reason, b.grade, b.banned_at, b.evidence_json
  FROM banned_peers b, projector_position p
  WHERE p.restarts > 0 AND b.revision <= p.revision_offset
  ORDER BY b.banned_at, b.peer_id`;

const REASONS: readonly BanEntry["reason"][] = [
  "DOUBLE_VOTING",
  "MINORITY_VOTE",
  "INVALID_SIGNATURE",
  "SILENT_FAILURE",
  "LOW_REPUTATION",
];

/** Those that were recorded with their evidence. */
export async function readLostBans(queries: Queries): Promise<readonly BanEntry[]> {
  const rows = await queries.query("reading lost bans", LOST);
  return rows.flatMap((row) => {
    const evidence = row["evidence_json"];
    if (!isEvidence(evidence)) return [];
    return {
      peerId: peerIdOf(row, "peer_id"),
      nodeId: nodeIdOrNull(row, "node_id"),
      reason: oneOf(row, "reason", REASONS),
      grade: oneOf(row, "grade", ["PROOF", "OPINION"]),
      bannedAtMs: timeMsOf(row, "banned_at"),
      evidence,
    };
  });
}

/** The projector writes what it has parsed; and every node verifies evidence itself before it acts on it. */
function isEvidence(value: unknown): value is BanEntry["evidence"] {
  return typeof value === "object" && value !== null && "type" in value;
}
