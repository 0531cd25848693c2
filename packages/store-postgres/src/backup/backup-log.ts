import { type AbortOptions, StoreError } from "@quorate/ports";
import type { Pool } from "pg";
import { type Row, textOf } from "../row.ts";
import { withSession } from "../session.ts";
import { withConnection } from "./connection.ts";

export interface BackupMade {
  /** How long ago its PostgreSQL part was taken, in ms: the server's clock tells when that was. */
  readonly takenAgoMs: number;
  readonly tool: string;
  readonly directory: string;
  readonly bytes: number;
}

const DIRECTORY_LENGTH_MAX = 4_096;

const RECORD = `
  INSERT INTO backup_made (taken_at, tool, directory, bytes)
  VALUES (now() - make_interval(secs => $1), $2, $3, $4)`;

const LAST = `
  SELECT extract(epoch FROM taken_at)::text AS taken_at FROM backup_made
  ORDER BY taken_at DESC LIMIT 1`;

/**
 * Keeps that a backup was made, where the submitters' metrics find it. Called once the backup bears its name; repeating
 * it adds a row that says the same.
 * @throws StoreError REFUSED when the schema is older than such records or the role may not write them
 */
export async function recordBackup(
  where: AbortOptions & { readonly url: string; readonly schema: string },
  { takenAgoMs, tool, directory, bytes }: BackupMade,
): Promise<void> {
  await withConnection(where, async (connection) => {
    await connection.query("recording the backup", RECORD, [
      takenAgoMs / 1_000,
      tool,
      directory.slice(0, DIRECTORY_LENGTH_MAX),
      bytes,
    ]);
  });
}

/**
 * When the newest backup was taken, in seconds since the Unix epoch by the server's clock; 0 when none ever was.
 * @throws StoreError
 */
export async function lastBackupSeconds(pool: Pool, options: AbortOptions = {}): Promise<number> {
  const rows = await withSession(pool, options, (session) =>
    session.query("reading when the last backup was made", LAST),
  );
  const [last] = rows;
  return last === undefined ? 0 : secondsOf(last);
}

function secondsOf(row: Row): number {
  const seconds = Number(textOf(row, "taken_at"));
  if (Number.isFinite(seconds)) return seconds;
  throw new StoreError("CORRUPT", "a backup's time is not readable", { retryable: false });
}
