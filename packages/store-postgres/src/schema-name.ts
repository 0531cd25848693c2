import { bytesToHex, type ClusterId, hash, utf8 } from "@quorate/core";
import { StoreError } from "@quorate/ports";

/** The schema of a program that serves one cluster and names none. */
export const DEFAULT_SCHEMA = "quorate";

/** PostgreSQL cuts longer names off in silence, so that two clusters could meet in one schema. */
const IDENTIFIER_CHARS_MAX = 63;
const SCHEMA = /^[a-z_][a-z0-9_]{0,62}$/;

/**
 * The schema that holds one cluster: `quorate_` and its id with `-` as `_`. Several
 * clusters can so share a database and see nothing of each other. A name too long
 * for PostgreSQL ends in a digest of the id instead.
 */
export function schemaOf(clusterId: ClusterId): string {
  const name = `${DEFAULT_SCHEMA}_${clusterId.replaceAll("-", "_")}`;
  if (name.length <= IDENTIFIER_CHARS_MAX) return name;
  const digest = bytesToHex(hash(utf8(clusterId))).slice(0, 16);
  return `${name.slice(0, IDENTIFIER_CHARS_MAX - digest.length - 1)}_${digest}`;
}

/**
 * Refuses a schema name that would need quoting: it goes into statements that take no parameters.
 * @throws StoreError SCHEMA
 */
export function checkSchemaName(schema: string): string {
  if (SCHEMA.test(schema) && !schema.startsWith("pg_")) return schema;
  throw new StoreError(
    "SCHEMA",
    `schema name must be a-z 0-9 _ and not begin with a digit or pg_, but got ${JSON.stringify(schema)}`,
    { retryable: false },
  );
}
