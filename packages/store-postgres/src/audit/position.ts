import { bigintOrNull } from "../row.ts";
import type { Queries } from "../session.ts";

const READ = `SELECT revision FROM projector_position`;
const LOCK = `SELECT revision FROM projector_position FOR UPDATE`;
const MOVE = `UPDATE projector_position SET revision = $1, updated_at = now()`;

export async function readPosition(queries: Queries): Promise<bigint | null> {
  const [row = {}] = await queries.query("reading the position", READ);
  return bigintOrNull(row, "revision");
}

/** Reads the position and keeps every other projector from moving it until the transaction ends. */
export async function lockPosition(tx: Queries): Promise<bigint | null> {
  const [row = {}] = await tx.query("locking the position", LOCK);
  return bigintOrNull(row, "revision");
}

export async function movePosition(tx: Queries, revision: bigint): Promise<void> {
  await tx.query("moving the position", MOVE, [revision]);
}
