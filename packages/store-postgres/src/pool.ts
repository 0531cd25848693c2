import type { Logger } from "@quorate/ports";
import { Pool, TypeOverrides, types } from "pg";

import { checkSchemaName, DEFAULT_SCHEMA } from "./schema-name.ts";

export interface PoolOptions {
  /** `postgres://user:password@host:port/database`. Its query part overrides what is set here. */
  readonly url: string;
  /** The cluster's schema, see `schemaOf`. Default `quorate`. */
  readonly schema?: string;
  /** Shown in pg_stat_activity. Default `quorate`. */
  readonly applicationName?: string;
  /** Connections at most. Default 10. */
  readonly connectionsMax?: number;
  /** Waiting for a connection, new or from the pool, in ms. Default 5000. */
  readonly connectTimeoutMs?: number;
  /** One statement on the server, lock waits included, in ms. Default 10000. */
  readonly statementTimeoutMs?: number;
  /** A transaction that waits for us (a signer that hangs holds the sender's lock), in ms. Default 15000. */
  readonly idleInTransactionTimeoutMs?: number;
  /** A connection nobody uses is closed after this, in ms. Default 30000. */
  readonly idleTimeoutMs?: number;
  readonly logger: Logger;
}

/** How much later than the server's own timeout the client gives up: only a dead network comes to that. */
const CLIENT_TIMEOUT_EXTRA_MS = 5_000;

/**
 * Opens a pool of connections that work in the cluster's schema. Nothing connects
 * before the first statement. The caller ends it with `pool.end()`.
 *
 * Session settings travel in the start-up packet, so a pooler in transaction mode
 * between this and PostgreSQL is not supported.
 * @throws StoreError SCHEMA when the schema's name is not usable.
 */
export function createPool(options: PoolOptions): Pool {
  const schema = checkSchemaName(options.schema ?? DEFAULT_SCHEMA);
  const statementTimeoutMs = options.statementTimeoutMs ?? 10_000;
  const pool = new Pool({
    connectionString: options.url,
    application_name: options.applicationName ?? "quorate",
    max: options.connectionsMax ?? 10,
    connectionTimeoutMillis: options.connectTimeoutMs ?? 5_000,
    idleTimeoutMillis: options.idleTimeoutMs ?? 30_000,
    statement_timeout: statementTimeoutMs,
    query_timeout: statementTimeoutMs + CLIENT_TIMEOUT_EXTRA_MS,
    idle_in_transaction_session_timeout: options.idleInTransactionTimeoutMs ?? 15_000,
    keepAlive: true,
    options: `-c search_path=${schema} -c synchronous_commit=on`,
    types: localTypes(),
  });
  // Without a listener the loss of an idle connection would end the process.
  pool.on("error", (error) => {
    options.logger.warn("idle postgres connection lost", { error });
  });
  return pool;
}

/** Whole numbers as bigint, for this pool only: the defaults of pg are shared by the whole process. */
function localTypes(): TypeOverrides {
  const local = new TypeOverrides();
  local.setTypeParser(types.builtins.INT8, BigInt);
  // Every NUMERIC of the schema has scale 0; a fraction throws here.
  local.setTypeParser(types.builtins.NUMERIC, BigInt);
  return local;
}
