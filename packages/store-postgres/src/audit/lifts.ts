import type { BanLift } from "@quorate/core";
import type { LiftRow } from "@quorate/ports";

import { bigintOf, oneOf, textParameter, timeParameter } from "../row.ts";
import type { Queries } from "../session.ts";
import { type Noticed, noticedOf } from "./noticed.ts";
import type { Revised } from "./revised.ts";

const KINDS: readonly BanLift["kind"][] = ["OPERATOR", "UNPROVEN"];

// In order of revision. A lift's key in etcd is written once, so the revision names it; over a restored etcd, its time does.
const INSERT_LIFTS = `
  INSERT INTO ban_lifts
    (peer_id, node_id, kind, lifted_by, reason, lifted_at, ban_reason, revision)
  SELECT peer_id, node_id, kind, lifted_by, reason, lifted_at, ban_reason, revision
  FROM unnest(
    $1::text[], $2::text[], $3::text[], $4::text[], $5::text[],
    $6::timestamptz[], $7::text[], $8::bigint[])
    WITH ORDINALITY AS new
      (peer_id, node_id, kind, lifted_by, reason, lifted_at, ban_reason, revision, position)
  WHERE NOT EXISTS (
    SELECT 1 FROM ban_lifts l WHERE l.peer_id = new.peer_id AND l.lifted_at = new.lifted_at)
  ORDER BY revision, position
  ON CONFLICT (peer_id, revision) DO NOTHING
  RETURNING peer_id, node_id, kind, lifted_at AS noticed_at, revision`;

// Revisions tell what came first within one etcd. A ban of an earlier one (up to revision $6) ends only by a lift that was
// not known when it was recorded, that is later in time too, and that ends bans of its grade (an operator's ends no PROOF).
const REMOVE_BANS = `
  DELETE FROM banned_peers b
  USING unnest($1::text[], $2::bigint[], $3::timestamptz[], $4::text[], $5::boolean[])
    AS lifted (peer_id, revision, lifted_at, kind, is_new)
  WHERE b.peer_id = lifted.peer_id AND CASE WHEN b.revision > $6
    THEN b.revision < lifted.revision
    ELSE lifted.is_new AND b.banned_at <= lifted.lifted_at
      AND (b.grade = 'OPINION' OR lifted.kind = 'UNPROVEN') END
  RETURNING b.peer_id, b.node_id, b.banned_at AS noticed_at`;

export interface NewLift extends Noticed {
  readonly liftKind: BanLift["kind"];
  readonly revision: bigint;
}

/**
 * Records lifts, and takes the bans they end out of the present ones.
 * @param offset revisions up to this one are of an earlier etcd
 * @returns the new ones, and whose ban has ended.
 */
export async function insertLifts(
  tx: Queries,
  rows: readonly Revised<LiftRow>[],
  offset: bigint,
): Promise<{ readonly lifts: readonly NewLift[]; readonly ended: readonly Noticed[] }> {
  if (rows.length === 0) return { lifts: [], ended: [] };
  const recorded = await tx.query("recording lifts", INSERT_LIFTS, [
    rows.map(({ peerId }) => peerId),
    rows.map(({ nodeId }) => nodeId),
    rows.map(({ liftKind }) => liftKind),
    rows.map(({ by }) => textParameter(by)),
    rows.map(({ reason }) => textParameter(reason)),
    rows.map(({ liftedAtMs }) => timeParameter(liftedAtMs)),
    rows.map(({ banReason }) => banReason),
    rows.map(({ revision }) => revision),
  ]);
  const lifts = recorded.map((row) => ({
    ...noticedOf(row),
    liftKind: oneOf(row, "kind", KINDS),
    revision: bigintOf(row, "revision"),
  }));
  const fresh = new Set(lifts.map(({ peerId, revision }) => `${peerId}/${revision}`));
  const ended = await tx.query("removing lifted bans", REMOVE_BANS, [
    rows.map(({ peerId }) => peerId),
    rows.map(({ revision }) => revision),
    rows.map(({ liftedAtMs }) => timeParameter(liftedAtMs)),
    rows.map(({ liftKind }) => liftKind),
    rows.map(({ peerId, revision }) => fresh.has(`${peerId}/${revision}`)),
    offset,
  ]);
  return { lifts, ended: ended.map(noticedOf) };
}
