import type { Readable } from "node:stream";

import { type AbortOptions, StoreError } from "@quorate/ports";
import { to } from "pg-copy-streams";

import { textOf } from "../row.ts";
import { toStoreError } from "../store-error.ts";
import {
  quoted,
  readMigrations,
  readSequences,
  readTables,
  type SequenceState,
  type TableShape,
} from "./catalog.ts";
import { withConnection } from "./connection.ts";

/** An account as the backup holds it. */
export interface DumpedSender {
  readonly chainId: string;
  readonly address: string;
  readonly nextNonce: string;
  readonly epoch: string;
  readonly frozen: boolean;
}

/** What stands in the database, all of one moment. */
export interface DumpFacts {
  readonly schema: string;
  readonly serverVersion: string;
  /** Applied to the schema, in order. */
  readonly migrations: readonly string[];
  /** Each after those that it refers to. */
  readonly tables: readonly TableShape[];
  readonly sequences: readonly SequenceState[];
  readonly senders: readonly DumpedSender[];
  /** How far the projector had come, as the tables count; null before its first batch. */
  readonly projectorPosition: string | null;
}

/** A database at one moment. */
export interface PostgresDump extends DumpFacts {
  /** A table's rows in PostgreSQL's own text form of COPY. One after another. */
  rows(table: TableShape): Readable;
}

// One snapshot for all tables, and nothing that could change anything.
const BEGIN = "BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY";

const SENDERS = `
  SELECT chain_id::text AS chain_id, '0x' || encode(address, 'hex') AS address,
    next_nonce::text AS next_nonce, epoch::text AS epoch, frozen
  FROM sender ORDER BY chain_id, address`;

/**
 * Gives a task the whole schema as it is at one moment. Nothing is locked: the system goes on meanwhile.
 * @throws StoreError SCHEMA when there is no such schema or it was never migrated; UNAVAILABLE, TIMEOUT, REFUSED.
 */
export async function withPostgresDump<T>(
  parameters: AbortOptions & { readonly url: string; readonly schema: string },
  task: (dump: PostgresDump) => Promise<T>,
): Promise<T> {
  const { schema } = parameters;
  return await withConnection(parameters, async (connection) => {
    await connection.query("beginning the backup", BEGIN);
    const tables = await readTables(connection, schema).catch((error: unknown) => {
      if (error instanceof StoreError && error.code === "SCHEMA")
        throw new StoreError("SCHEMA", `there is no schema ${schema}`, {
          retryable: false,
          cause: error,
        });
      throw error;
    });
    const [version = {}] = await connection.query("asking the version", "SHOW server_version");
    const migrations = await readMigrations(connection);
    const senders = await connection.query("reading the senders", SENDERS);
    const [position = {}] = await connection.query(
      "reading the position",
      "SELECT revision::text AS revision FROM projector_position",
    );
    const result = await task({
      schema,
      serverVersion: textOf(version, "server_version"),
      migrations,
      tables,
      sequences: await readSequences(connection, schema),
      senders: senders.map((row) => ({
        chainId: textOf(row, "chain_id"),
        address: textOf(row, "address"),
        nextNonce: textOf(row, "next_nonce"),
        epoch: textOf(row, "epoch"),
        frozen: row["frozen"] === true,
      })),
      projectorPosition: typeof position["revision"] === "string" ? position["revision"] : null,
      rows: ({ name, columns }) => {
        const source = connection.client.query(
          to(`COPY (SELECT ${columns.map(quoted).join(", ")} FROM ${quoted(name)}) TO STDOUT`),
        );
        return source;
      },
    }).catch((error: unknown) => {
      parameters.signal?.throwIfAborted();
      throw isDatabaseError(error) ? toStoreError(error, "copying a table") : error;
    });
    await connection.query("ending the backup", "COMMIT");
    return result;
  });
}

/** PostgreSQL's own errors have a severity; the disk's have none. */
function isDatabaseError(error: unknown): boolean {
  return error instanceof Error && "severity" in error;
}
