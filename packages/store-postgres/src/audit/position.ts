import type { HistoryLineage } from "@quorate/ports";

import { bigintOf, bigintOrNull, numberOf, type Row, textOf } from "../row.ts";
import type { Queries } from "../session.ts";

const READ = `SELECT revision, revision_offset, restarts, lineage_id FROM projector_position`;
const LOCK = `${READ} FOR UPDATE`;
const MOVE = `UPDATE projector_position SET revision = $1, updated_at = now()`;
const ADOPT = `UPDATE projector_position SET lineage_id = $1`;
// History begins again where it had come to: what the other etcd brings is later than all of it.
const RESTART = `
  UPDATE projector_position SET
    lineage_id = $1, restarts = restarts + 1, revision_offset = COALESCE(revision, 0),
    updated_at = now()`;
const NOTE_RESTART = `
  INSERT INTO history_restart (from_lineage, to_lineage, revision_offset, reason)
  VALUES ($1, $2, $3, $4)`;

/** Where history stands. */
export interface Position {
  /** In etcd's own revisions; null before the first batch of this lineage. */
  readonly revision: bigint | null;
  /** What is added to etcd's revisions in the tables. */
  readonly offset: bigint;
  readonly lineage: HistoryLineage;
}

export async function readPosition(queries: Queries): Promise<Position> {
  const [row = {}] = await queries.query("reading the position", READ);
  return positionOf(row);
}

/** Reads the position and keeps every other projector from moving it until the transaction ends. */
export async function lockPosition(tx: Queries): Promise<Position> {
  const [row = {}] = await tx.query("locking the position", LOCK);
  return positionOf(row);
}

/** @param revision as the tables count, with the offset */
export async function movePosition(tx: Queries, revision: bigint): Promise<void> {
  await tx.query("moving the position", MOVE, [revision]);
}

/** Must hold the lock on the position. */
export async function setLineage(
  tx: Queries,
  from: Position,
  next: { readonly id: string; readonly reason: string | null },
): Promise<void> {
  if (next.reason === null) {
    await tx.query("adopting a lineage", ADOPT, [next.id]);
    return;
  }
  await tx.query("beginning a lineage", RESTART, [next.id]);
  const { offset } = await readPosition(tx);
  await tx.query("noting the restart of history", NOTE_RESTART, [
    from.lineage.id,
    next.id,
    offset,
    next.reason,
  ]);
}

function positionOf(row: Row): Position {
  const stored = bigintOrNull(row, "revision");
  const offset = bigintOf(row, "revision_offset");
  const restarts = numberOf(row, "restarts");
  const id = row["lineage_id"] === null ? null : textOf(row, "lineage_id");
  // Right after a restart the stored revision is the last one of the etcd before.
  const fresh = stored === null || (restarts > 0 && stored === offset);
  return { revision: fresh ? null : stored - offset, offset, lineage: { id, restarts } };
}
