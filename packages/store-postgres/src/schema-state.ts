import type { AbortOptions } from "@quorate/ports";
import type { Pool } from "pg";
import { knownMigrations } from "./migration-files.ts";
import { toStoreError } from "./store-error.ts";

/** Which migrations a schema has had, against those that this release has. */
export interface SchemaState {
  /** In the order in which they ran; empty when the schema is missing or was never migrated. */
  readonly applied: readonly string[];
  /** Known to this release, and not applied. */
  readonly missing: readonly string[];
  /** Applied, and unknown to this release: a newer one was here. */
  readonly unknown: readonly string[];
}

/**
 * Looks at a schema and changes nothing.
 * @throws StoreError UNAVAILABLE, TIMEOUT, REFUSED
 */
export async function schemaState(pool: Pool, { signal }: AbortOptions = {}): Promise<SchemaState> {
  signal?.throwIfAborted();
  const known = await knownMigrations();
  const applied = await appliedIn(pool);
  const has = new Set(applied);
  return {
    applied,
    missing: known.filter((name) => !has.has(name)),
    unknown: applied.filter((name) => !known.includes(name)),
  };
}

async function appliedIn(pool: Pool): Promise<readonly string[]> {
  try {
    const { rows } = await pool.query<{ name: string }>(
      "SELECT name FROM schema_migration ORDER BY run_on, id",
    );
    return rows.map(({ name }) => name);
  } catch (error) {
    const mapped = toStoreError(error, "reading which migrations were applied");
    // The table or its schema is not there: nothing ever ran here. A missing database is no such case.
    const code = error instanceof Error && "code" in error ? error.code : null;
    if (code === "42P01") return [];
    throw mapped;
  }
}
