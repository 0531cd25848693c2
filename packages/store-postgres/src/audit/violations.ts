import type { ViolationRow } from "@quorate/ports";

import { timeParameter } from "../row.ts";
import type { Queries } from "../session.ts";
import type { Revised } from "./revised.ts";

// The rule, violation by violation in order of revision: PROOF sets the score to 0,
// MINORITY_VOTE halves it, SILENT_FAILURE takes 0.1 from it but not below 0. All of
// a peer's new violations are folded at once: halving and subtracting turn s into
// factor * s - loss, where a loss is halved by every minority vote after it; and to
// stop at 0 once, at the end, gives the same as to stop at each step, for once a
// partial result is negative no later step can lift it above 0.
const INSERT_VIOLATIONS = `
  WITH added AS (
    INSERT INTO byzantine_violations
      (tx_id, peer_id, node_id, violation_type, grade, evidence_json, detected_at, revision)
    SELECT tx_id, peer_id, node_id, violation_type, grade, evidence_json, detected_at, revision
    FROM unnest(
      $1::text[], $2::text[], $3::text[], $4::text[], $5::text[],
      $6::jsonb[], $7::timestamptz[], $8::bigint[])
      WITH ORDINALITY AS new (tx_id, peer_id, node_id, violation_type, grade,
        evidence_json, detected_at, revision, position)
    ORDER BY revision, position
    ON CONFLICT (tx_id, peer_id, violation_type) DO NOTHING
    RETURNING id, peer_id, node_id, violation_type, grade, detected_at, revision
  ), ranked AS (
    SELECT *, count(*) FILTER (WHERE violation_type = 'MINORITY_VOTE') OVER (
      PARTITION BY peer_id ORDER BY revision DESC, id DESC
      ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS halvings_after
    FROM added
  ), per_peer AS (
    SELECT
      peer_id,
      max(node_id) AS node_id,
      count(*) AS violations,
      min(detected_at) AS noticed_at,
      CASE WHEN bool_or(grade = 'PROOF') THEN 0.0
        ELSE power(0.5, count(*) FILTER (WHERE violation_type = 'MINORITY_VOTE')) END AS factor,
      COALESCE(sum(0.1 * power(0.5, halvings_after))
        FILTER (WHERE violation_type = 'SILENT_FAILURE'), 0.0) AS loss
    FROM ranked GROUP BY peer_id ORDER BY peer_id
  )
  INSERT INTO node_reputation AS r
    (peer_id, node_id, reputation_score, violations_count, last_seen)
  SELECT peer_id, node_id, GREATEST(0.0, factor - loss), violations, noticed_at FROM per_peer
  ON CONFLICT (peer_id) DO UPDATE SET
    node_id = COALESCE(excluded.node_id, r.node_id),
    violations_count = r.violations_count + excluded.violations_count,
    reputation_score = (
      SELECT GREATEST(0.0, p.factor * r.reputation_score - p.loss)
      FROM per_peer p WHERE p.peer_id = r.peer_id)`;

export async function insertViolations(
  tx: Queries,
  rows: readonly Revised<ViolationRow>[],
): Promise<void> {
  if (rows.length === 0) return;
  await tx.query("recording violations", INSERT_VIOLATIONS, [
    rows.map(({ txId }) => txId),
    rows.map(({ peerId }) => peerId),
    rows.map(({ nodeId }) => nodeId),
    rows.map(({ type }) => type),
    rows.map(({ grade }) => grade),
    rows.map(({ evidenceJson }) => evidenceJson),
    rows.map(({ detectedAtMs }) => timeParameter(detectedAtMs)),
    rows.map(({ revision }) => revision),
  ]);
}
