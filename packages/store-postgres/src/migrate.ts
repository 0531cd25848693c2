import { hash, utf8 } from "@quorate/core";
import { type AbortOptions, type Logger, StoreError } from "@quorate/ports";
import { runner } from "node-pg-migrate";
import { Client } from "pg";

import { knownMigrations, MIGRATIONS_DIRECTORY, NOT_A_MIGRATION } from "./migration-files.ts";
import { checkSchemaName, DEFAULT_SCHEMA } from "./schema-name.ts";
import { toStoreError } from "./store-error.ts";

export interface MigrateParameters extends AbortOptions {
  /** `postgres://user:password@host:port/database`; the user must be allowed to create the schema. */
  readonly url: string;
  /** The cluster's schema, see `schemaOf`; created when it is missing. Default `quorate`. */
  readonly schema?: string;
  /** Where the numbered .sql files are. Default: `sql/` at the root of the repository. */
  readonly directory?: string;
  /** Only the first so many of the directory's, for a schema as a backup had it. Default all. */
  readonly count?: number;
  /** Waiting for another process that migrates, and each statement, in ms. Default 60000. */
  readonly timeoutMs?: number;
  readonly logger: Logger;
}

/**
 * Brings a schema up to date: runs the migrations it has not had, in order, in one
 * transaction. Forward only. Any number of processes may call it at once: an
 * advisory lock per schema lets one work and the others find nothing to do.
 * A schema that a newer release has migrated is refused and left as it is: what is written there by rules that this
 * release does not know must not be changed by those that it does.
 * @returns the names of the migrations applied by this call, in order.
 * @throws StoreError SCHEMA when the schema is newer than this release, a file is refused or the order was changed; UNAVAILABLE, TIMEOUT.
 */
export async function migrate(parameters: MigrateParameters): Promise<readonly string[]> {
  const { signal, logger } = parameters;
  const schema = checkSchemaName(parameters.schema ?? DEFAULT_SCHEMA);
  const timeoutMs = parameters.timeoutMs ?? 60_000;
  signal?.throwIfAborted();
  const client = new Client({
    connectionString: parameters.url,
    application_name: "quorate-migrate",
    connectionTimeoutMillis: 5_000,
    statement_timeout: timeoutMs,
    query_timeout: timeoutMs + 5_000,
    options: "-c synchronous_commit=on",
  });
  // Reported by the statement that fails of it; unheard it would end the process.
  client.on("error", () => undefined);
  const onAbort = (): void => void client.end().catch(() => undefined);
  signal?.addEventListener("abort", onAbort, { once: true });
  try {
    await client.connect();
    const directory = parameters.directory ?? MIGRATIONS_DIRECTORY;
    await refuseNewer(client, schema, directory);
    const applied = await runner({
      dbClient: client,
      dir: directory,
      ignorePattern: NOT_A_MIGRATION,
      migrationsTable: "schema_migration",
      schema,
      createSchema: true,
      direction: "up",
      ...(parameters.count === undefined ? {} : { count: parameters.count }),
      checkOrder: true,
      singleTransaction: true,
      advisoryLockMode: "wait",
      lockValue: lockOf(schema),
      logger: runnerLogger(logger, schema),
    });
    const names = applied.map(({ name }) => name);
    if (names.length > 0) logger.info("schema migrated", { schema, applied: names });
    return names;
  } catch (error) {
    signal?.throwIfAborted();
    throw toSchemaError(error, schema);
  } finally {
    signal?.removeEventListener("abort", onAbort);
    await client.end().catch(() => undefined);
  }
}

/** @throws StoreError SCHEMA */
async function refuseNewer(client: Client, schema: string, directory: string): Promise<void> {
  const table = `"${schema}".schema_migration`;
  const [found] = (await client.query("SELECT to_regclass($1) IS NOT NULL AS there", [table])).rows;
  if (found?.there !== true) return;
  const { rows } = await client.query<{ name: string }>(`SELECT name FROM ${table} ORDER BY id`);
  const known = new Set(await knownMigrations(directory));
  const unknown = rows.map(({ name }) => name).filter((name) => !known.has(name));
  if (unknown.length === 0) return;
  throw new StoreError(
    "SCHEMA",
    `schema ${schema} was migrated by a newer release: ${unknown.join(", ")} unknown to this one; run that release or a later one`,
    { retryable: false },
  );
}

/** Migrations of different schemas do not wait for each other. A number that survives as a JavaScript literal. */
function lockOf(schema: string): number {
  const digest = hash(utf8(`quorate/migrate/${schema}`));
  return digest.slice(0, 6).reduce((number, byte) => number * 256 + byte, 0);
}

function runnerLogger(logger: Logger, schema: string) {
  return {
    info: (detail: string) => logger.debug("migration", { schema, detail }),
    warn: (detail: string) => logger.warn("migration warning", { schema, detail }),
    error: (detail: string) => logger.error("migration failed", { schema, detail }),
  };
}

function toSchemaError(error: unknown, schema: string): StoreError {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  const mapped = toStoreError(cause, `migrating schema ${schema}`);
  if (mapped.retryable) return mapped;
  return new StoreError("SCHEMA", mapped.message, { retryable: false, cause: error });
}
