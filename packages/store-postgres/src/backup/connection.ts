import type { AbortOptions } from "@quorate/ports";
import { Client } from "pg";
import type { Row } from "../row.ts";
import { checkSchemaName } from "../schema-name.ts";
import type { Queries } from "../session.ts";
import { toStoreError } from "../store-error.ts";

/** One connection of its own, for a task that no pool's timeouts fit. */
export interface Connection extends Queries {
  readonly client: Client;
}

/** A table is copied as fast as the disk takes it; a server that says nothing for so long is gone. */
const LOCK_TIMEOUT_MS = 10_000;

/**
 * Gives a task a connection that works in one schema, and closes it in any case. An abort closes it too: the server
 * then rolls back.
 * @throws StoreError
 */
export async function withConnection<T>(
  parameters: AbortOptions & { readonly url: string; readonly schema: string },
  task: (connection: Connection) => Promise<T>,
): Promise<T> {
  const { signal } = parameters;
  const schema = checkSchemaName(parameters.schema);
  signal?.throwIfAborted();
  const client = new Client({
    connectionString: parameters.url,
    application_name: "quorate-backup",
    connectionTimeoutMillis: 5_000,
    keepAlive: true,
    // Text that a restore on another server reads back as the same values, whatever the roles' own settings are.
    options: [
      `-c search_path=${schema}`,
      `-c lock_timeout=${LOCK_TIMEOUT_MS}`,
      "-c statement_timeout=0",
      "-c idle_in_transaction_session_timeout=0",
      "-c synchronous_commit=on",
      "-c client_encoding=UTF8",
      "-c datestyle=ISO",
      "-c timezone=UTC",
      "-c bytea_output=hex",
      "-c extra_float_digits=3",
    ].join(" "),
  });
  // Reported by the statement that fails of it; unheard it would end the process.
  client.on("error", () => undefined);
  const close = (): void => void client.end().catch(() => undefined);
  signal?.addEventListener("abort", close, { once: true });
  const query: Queries["query"] = async (doing, text, values = []) => {
    try {
      return (await client.query<Row>(text, [...values])).rows;
    } catch (error) {
      signal?.throwIfAborted();
      throw toStoreError(error, doing);
    }
  };
  try {
    await client.connect().catch((error: unknown) => {
      throw toStoreError(error, "connecting to postgres");
    });
    return await task({ client, query });
  } finally {
    signal?.removeEventListener("abort", close);
    await client.end().catch(() => undefined);
  }
}
