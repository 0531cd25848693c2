import type { ViolationType } from "@quorate/core";
import type { ViolationRow, ViolationSummary } from "@quorate/ports";

import {
  bigintOf,
  booleanOf,
  jsonParameter,
  oneOf,
  type Row,
  timeMsOf,
  timeParameter,
  txIdOf,
} from "../row.ts";
import type { Queries } from "../session.ts";
import { type Noticed, noticedOf } from "./noticed.ts";
import type { Revised } from "./revised.ts";

const TYPES: readonly ViolationType[] = [
  "DOUBLE_VOTING",
  "MINORITY_VOTE",
  "INVALID_SIGNATURE",
  "SILENT_FAILURE",
];

const INSERT_VIOLATIONS = `
  INSERT INTO byzantine_violations
    (tx_id, peer_id, node_id, violation_type, grade, evidence_json, detected_at, borne_out, revision)
  SELECT tx_id, peer_id, node_id, violation_type, grade, evidence_json, detected_at, borne_out, revision
  FROM unnest(
    $1::text[], $2::text[], $3::text[], $4::text[], $5::text[],
    $6::jsonb[], $7::timestamptz[], $8::boolean[], $9::bigint[])
    WITH ORDINALITY AS new (tx_id, peer_id, node_id, violation_type, grade,
      evidence_json, detected_at, borne_out, revision, position)
  ORDER BY revision, position
  ON CONFLICT (tx_id, peer_id, violation_type) DO NOTHING
  RETURNING peer_id, node_id, violation_type, detected_at AS noticed_at, borne_out, revision`;

const OF_PEER = `
  SELECT tx_id, violation_type, detected_at FROM byzantine_violations
  WHERE peer_id = $1 AND borne_out
  ORDER BY revision DESC, id DESC LIMIT $2`;

export interface NewViolation extends Noticed {
  readonly type: ViolationType;
  readonly borneOut: boolean;
  readonly revision: bigint;
}

/** @returns the ones that were not there before, in order of revision. */
export async function insertViolations(
  tx: Queries,
  rows: readonly Revised<ViolationRow>[],
): Promise<readonly NewViolation[]> {
  if (rows.length === 0) return [];
  const recorded = await tx.query("recording violations", INSERT_VIOLATIONS, [
    rows.map(({ txId }) => txId),
    rows.map(({ peerId }) => peerId),
    rows.map(({ nodeId }) => nodeId),
    rows.map(({ type }) => type),
    rows.map(({ grade }) => grade),
    rows.map(({ evidenceJson }) => jsonParameter(evidenceJson)),
    rows.map(({ detectedAtMs }) => timeParameter(detectedAtMs)),
    rows.map(({ borneOut }) => borneOut),
    rows.map(({ revision }) => revision),
  ]);
  return recorded.map((row) => ({
    ...noticedOf(row),
    type: typeOf(row),
    borneOut: booleanOf(row, "borne_out"),
    revision: bigintOf(row, "revision"),
  }));
}

export async function readViolationsOf(
  queries: Queries,
  peerId: string,
  limit: number,
): Promise<readonly ViolationSummary[]> {
  const rows = await queries.query("reading a peer's violations", OF_PEER, [peerId, limit]);
  return rows.map((row) => ({
    txId: txIdOf(row, "tx_id"),
    type: typeOf(row),
    detectedAtMs: timeMsOf(row, "detected_at"),
  }));
}

function typeOf(row: Row): ViolationType {
  return oneOf(row, "violation_type", TYPES);
}
