import type { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";

import { mayThawItself } from "@quorate/core";
import { type AbortOptions, type Logger, StoreError } from "@quorate/ports";
import { from } from "pg-copy-streams";

import { migrate } from "../migrate.ts";
import { knownMigrations } from "../migration-files.ts";
import { numberOf, textOf } from "../row.ts";
import type { Queries } from "../session.ts";
import { toStoreError } from "../store-error.ts";
import {
  countRelations,
  quoted,
  readTables,
  type SequenceState,
  type TableShape,
} from "./catalog.ts";
import { type Connection, withConnection } from "./connection.ts";
import type { DumpedSender } from "./dump.ts";

export interface LoadParameters extends AbortOptions {
  readonly url: string;
  readonly schema: string;
  /** Applied to the schema that was backed up, in order. */
  readonly migrations: readonly string[];
  readonly tables: readonly (TableShape & { readonly rows: number })[];
  readonly sequences: readonly SequenceState[];
  readonly senders: readonly DumpedSender[];
  /** A table's rows, as `PostgresDump.rows` gave them. */
  readonly rows: (table: TableShape) => Readable;
  /** Why all senders stay frozen until somebody has looked, at most 200 characters. */
  readonly reason: string;
  /** A name for what is there already; null refuses to touch it. */
  readonly keepAs: string | null;
  readonly logger: Logger;
}

export interface LoadReport {
  readonly rows: number;
  readonly senders: number;
  /** The schema that was there before, under its new name. */
  readonly keptAs: string | null;
  /** Applied besides those of the backup. */
  readonly migrated: readonly string[];
}

/**
 * Makes the schema anew out of a backup: at the backup's own migrations, loaded in one transaction in which every sender
 * is frozen too, then brought up to date. The schema must not exist or be empty, unless it may be kept under another
 * name. What fails leaves the database as it was.
 * @throws StoreError SCHEMA, REFUSED, CORRUPT, UNAVAILABLE, TIMEOUT
 */
export async function loadPostgres(parameters: LoadParameters): Promise<LoadReport> {
  const { url, schema, signal, logger } = parameters;
  await checkMigrations(parameters.migrations);
  let existed: Before | null = null;
  try {
    existed = await makeRoom(parameters);
    await migrate({
      url,
      schema,
      logger,
      count: parameters.migrations.length,
      ...(signal === undefined ? {} : { signal }),
    });
    const rows = await withConnection(parameters, (connection) =>
      inTransaction(connection, () => loadAll(connection, parameters)),
    );
    const migrated = await migrate({
      url,
      schema,
      logger,
      ...(signal === undefined ? {} : { signal }),
    });
    const senders = await withConnection(parameters, (connection) =>
      inTransaction(connection, () => mark(connection, parameters)),
    );
    return {
      rows,
      senders,
      keptAs: existed === "kept" ? parameters.keepAs : null,
      migrated,
    };
  } catch (error) {
    await undo(parameters, existed).catch((failure: unknown) => {
      logger.error("what was there before the restore could not be put back", { failure });
      if (existed === "kept") throw notPutBack(parameters, error);
    });
    throw error;
  }
}

/** The runner applies what is in its directory in order: the backup's must be the beginning of it. */
async function checkMigrations(migrations: readonly string[]): Promise<void> {
  const names = await knownMigrations();
  const strange = migrations.find((name, at) => names[at] !== name);
  if (strange === undefined && migrations.length > 0) return;
  throw new StoreError(
    "SCHEMA",
    strange === undefined
      ? "the backup names no migrations"
      : `the backup was made with migration ${strange}, which this version does not have at that place: restore it with the version that made it`,
    { retryable: false },
  );
}

type Before = "missing" | "empty" | "kept";

async function makeRoom(parameters: LoadParameters): Promise<Before> {
  const { schema, keepAs } = parameters;
  return await withConnection(parameters, async (connection) => {
    const relations = await countRelations(connection, schema);
    if (relations === null) return "missing";
    if (relations === 0) return "empty";
    if (keepAs === null)
      throw new StoreError(
        "REFUSED",
        `schema ${schema} holds ${relations} tables and views; a restore goes into an empty one, or puts what is there aside when it is told to (--replace)`,
        { retryable: false },
      );
    await connection.query(
      "putting the schema aside",
      `ALTER SCHEMA ${quoted(schema)} RENAME TO ${quoted(keepAs)}`,
    );
    return "kept";
  });
}

function notPutBack({ schema, keepAs }: LoadParameters, error: unknown): StoreError {
  const why = error instanceof Error ? error.message : String(error);
  return new StoreError(
    error instanceof StoreError ? error.code : "UNAVAILABLE",
    `${why}; what was in schema ${schema} before is whole and could not be put back: it is kept in schema ${keepAs}`,
    { retryable: false, cause: error },
  );
}

/** Only what this restore has made is dropped. @param before null when making room failed, and it is not known how far it came */
async function undo(parameters: LoadParameters, before: Before | null): Promise<void> {
  const { url, schema, keepAs } = parameters;
  if (before === null) return await undoRename(parameters);
  // Also when the reason was an abort.
  await withConnection({ url, schema }, async (connection) => {
    await connection.query("dropping", `DROP SCHEMA IF EXISTS ${quoted(schema)} CASCADE`);
    if (before === "empty") await connection.query("making", `CREATE SCHEMA ${quoted(schema)}`);
    if (before === "kept" && keepAs !== null)
      await connection.query(
        "putting the schema back",
        `ALTER SCHEMA ${quoted(keepAs)} RENAME TO ${quoted(schema)}`,
      );
  });
}

/** The reply to a renaming that took place may have been lost. */
async function undoRename({ url, schema, keepAs }: LoadParameters): Promise<void> {
  if (keepAs === null) return;
  await withConnection({ url, schema }, async (connection) => {
    if ((await countRelations(connection, schema)) !== null) return;
    if ((await countRelations(connection, keepAs)) === null) return;
    await connection.query(
      "putting the schema back",
      `ALTER SCHEMA ${quoted(keepAs)} RENAME TO ${quoted(schema)}`,
    );
  });
}

async function inTransaction<T>(connection: Connection, task: () => Promise<T>): Promise<T> {
  await connection.query("beginning the restore", "BEGIN TRANSACTION READ WRITE");
  // What fails closes the connection, and the server rolls back.
  const result = await task();
  await connection.query("committing the restore", "COMMIT");
  return result;
}

async function loadAll(connection: Connection, parameters: LoadParameters): Promise<number> {
  const { schema } = parameters;
  const shapes = await readTables(connection, schema);
  const sources = matched(shapes, parameters.tables);
  let rows = 0;
  // Rows are put back as they were, and not as the guards want them to come about. Foreign keys and checks stay on.
  for (const { name } of shapes)
    await connection.query("disabling guards", `ALTER TABLE ${quoted(name)} DISABLE TRIGGER USER`);
  for (const { name } of shapes.toReversed())
    await connection.query("clearing", `DELETE FROM ${quoted(name)}`);
  for (const source of sources) rows += await loadTable(connection, source, parameters);
  for (const { name } of shapes)
    await connection.query("enabling guards", `ALTER TABLE ${quoted(name)} ENABLE TRIGGER USER`);
  for (const sequence of parameters.sequences) await setSequence(connection, schema, sequence);
  const sender = shapes.find(({ name }) => name === "sender");
  if (sender?.columns.includes("history_checked") === true) await unsettle(connection);
  if (sender?.columns.includes("frozen_reason") === true) await freeze(connection, parameters);
  else await connection.query("freezing the senders", "UPDATE sender SET frozen = true");
  // Here and not later: whoever is killed between now and the end leaves nothing that a former leader may write to.
  await fenceFormerLeaders(connection);
  const position = shapes.find(({ name }) => name === "projector_position");
  if (position?.columns.includes("lineage_id") === true)
    await markPosition(connection, parameters.reason);
  return rows;
}

/** One leader a second for ten days. */
const EPOCHS_SKIPPED = 1_000_000;

/** The backup's tables in the order of the database's, when they are the same with the same columns. */
function matched(
  shapes: readonly TableShape[],
  tables: LoadParameters["tables"],
): LoadParameters["tables"] {
  const problems: string[] = [];
  for (const { name } of tables)
    if (!shapes.some((shape) => shape.name === name)) problems.push(`${name} is in no migration`);
  const found = shapes.flatMap((shape) => {
    const table = tables.find(({ name }) => name === shape.name);
    if (table === undefined) problems.push(`${shape.name} is missing`);
    else if (table.columns.join() !== shape.columns.join())
      problems.push(`${shape.name} has other columns`);
    return table ?? [];
  });
  if (problems.length === 0) return found;
  throw new StoreError(
    "SCHEMA",
    `the backup's tables are not those of its migrations: ${problems.join("; ")}`,
    { retryable: false },
  );
}

async function loadTable(
  connection: Connection,
  { name, columns, rows }: TableShape & { readonly rows: number },
  parameters: LoadParameters,
): Promise<number> {
  const list = columns.map(quoted).join(", ");
  const sink = connection.client.query(from(`COPY ${quoted(name)} (${list}) FROM STDIN`));
  const options = parameters.signal === undefined ? {} : { signal: parameters.signal };
  try {
    await pipeline(parameters.rows({ name, columns }), sink, options);
  } catch (error) {
    parameters.signal?.throwIfAborted();
    throw toStoreError(error, `loading ${name}`);
  }
  const [row = {}] = await connection.query(
    "counting",
    `SELECT count(*)::int AS rows FROM ${quoted(name)}`,
  );
  const loaded = numberOf(row, "rows");
  if (loaded === rows) return loaded;
  throw new StoreError("CORRUPT", `${name} has ${loaded} rows, the backup names ${rows}`, {
    retryable: false,
  });
}

/** Numbers given after the rows were read, or of rows that are gone, are not given again. */
async function setSequence(
  queries: Queries,
  schema: string,
  { table, column, last }: SequenceState,
): Promise<void> {
  await queries.query(
    "setting a sequence",
    `SELECT setval(pg_get_serial_sequence($1, $2), next.value, next.value > 0)
     FROM (
       SELECT GREATEST(COALESCE($3::bigint, 0), COALESCE(max(${quoted(column)}), 0)) AS value
       FROM ${quoted(table)}
     ) next
     WHERE next.value > 0`,
    [`${quoted(schema)}.${quoted(table)}`, column, last],
  );
}

/** Why they are frozen; and that history is to be folded again, whichever etcd is there. @returns how many senders */
async function mark(connection: Connection, parameters: LoadParameters): Promise<number> {
  const { reason } = parameters;
  // Again, for a migration calls checked what a person froze.
  await unsettle(connection);
  await freeze(connection, parameters);
  // Again, for the backup may be older than the column.
  await markPosition(connection, reason);
  const noted = await connection.query(
    "noting the restore",
    `INSERT INTO operator_log (action, subject, reason)
     SELECT 'FREEZE', chain_id || '/0x' || encode(address, 'hex'), $1 FROM sender RETURNING 1`,
    [reason],
  );
  return noted.length;
}

/** No etcd bears this name, so that history is folded again. */
async function markPosition(queries: Queries, reason: string): Promise<void> {
  await queries.query("marking the position", "UPDATE projector_position SET lineage_id = $1", [
    reason,
  ]);
}

/** Whoever froze a sender: what the chain holds since the backup is not in it. */
async function unsettle(queries: Queries): Promise<void> {
  await queries.query(
    "asking for a check of the history",
    // That it differed already when the backup was made stays: it is a person's to accept.
    "UPDATE sender SET history_checked = false",
  );
}

/**
 * A leader of the life that the backup does not know may still be running, with an epoch that this database would give
 * out again. Beyond it by more than there were leaders, its every write is refused.
 */
async function fenceFormerLeaders(queries: Queries): Promise<void> {
  await queries.query(
    "fencing leaders of the former life",
    "UPDATE sender SET epoch = epoch + $1",
    [EPOCHS_SKIPPED],
  );
}

/** What a person froze stays that person's: the reason of a restore would let it thaw by itself. */
async function freeze(
  queries: Queries,
  { reason, senders }: Pick<LoadParameters, "reason" | "senders">,
): Promise<void> {
  const rows = await queries.query(
    "reading the senders",
    `SELECT chain_id::text AS chain, encode(address, 'hex') AS address, frozen_reason FROM sender`,
  );
  for (const row of rows) {
    const chain = textOf(row, "chain");
    const address = textOf(row, "address");
    const wasFrozen = senders.some(
      (sender) => sender.frozen && sender.chainId === chain && sender.address === `0x${address}`,
    );
    const known = row["frozen_reason"];
    if (wasFrozen && typeof known === "string" && !mayThawItself(known)) continue;
    await queries.query(
      "freezing a sender",
      `UPDATE sender SET frozen = true, frozen_reason = $3, frozen_at = now()
       WHERE chain_id = $1 AND address = decode($2, 'hex')`,
      [chain, address, reason],
    );
  }
}
