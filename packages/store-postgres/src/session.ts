import { type AbortOptions, StoreError } from "@quorate/ports";
import type { Pool, PoolClient } from "pg";

import type { Row } from "./row.ts";
import { toStoreError } from "./store-error.ts";

/** Runs one statement. `doing` is what it is for, in the words of an error message. */
export interface Queries {
  query(doing: string, text: string, values?: readonly unknown[]): Promise<readonly Row[]>;
}

/** One connection, held for the time of a call. */
export interface Session extends Queries {
  /**
   * Runs `body` in one transaction and commits what it returns. Whatever it throws
   * rolls back and is thrown on, unchanged. A connection that is lost during the
   * commit rejects with a retryable StoreError: it may have taken effect.
   */
  transaction<T>(body: (tx: Queries) => Promise<T>): Promise<T>;
}

// Under READ COMMITTED each statement sees what others committed before it; all
// decisions are taken under row locks, which is what makes that enough. Both
// settings are the servers' usual defaults and are not left to them.
const BEGIN =
  "BEGIN TRANSACTION ISOLATION LEVEL READ COMMITTED READ WRITE; SET LOCAL synchronous_commit TO on";

/**
 * Holds a connection while `work` runs. An aborted signal closes the connection, and
 * the server rolls back what was not committed; the call rejects at once, with the
 * signal's reason.
 */
export async function withSession<T>(
  pool: Pool,
  { signal }: AbortOptions,
  work: (session: Session) => Promise<T>,
): Promise<T> {
  signal?.throwIfAborted();
  const client = await connect(pool, signal);
  let released = false;
  const release = (broken: boolean): void => {
    if (released) return;
    released = true;
    client.release(broken);
  };
  // Between statements nobody else listens, and an unheard "error" ends the process.
  const onError = (): void => release(true);
  const onAbort = (): void => release(true);
  client.on("error", onError);
  signal?.addEventListener("abort", onAbort, { once: true });
  try {
    signal?.throwIfAborted();
    const result = await work(sessionOn(client, () => signal?.throwIfAborted()));
    release(false);
    return result;
  } catch (error) {
    // A connection whose state is unknown (mid-statement, mid-transaction) is not given to the next caller.
    release(client.getTransactionStatus() !== "I" || isConnectionLoss(error));
    signal?.throwIfAborted();
    throw error;
  } finally {
    client.off("error", onError);
    signal?.removeEventListener("abort", onAbort);
  }
}

/** Waits for a connection, but not past an abort: one that comes too late goes back to the pool. */
async function connect(pool: Pool, signal: AbortSignal | undefined): Promise<PoolClient> {
  const connecting = pool.connect();
  const aborted = Promise.withResolvers<never>();
  const onAbort = (): void => aborted.reject(signal?.reason);
  signal?.addEventListener("abort", onAbort, { once: true });
  try {
    return await Promise.race([connecting, aborted.promise]);
  } catch (error) {
    connecting.then(
      (client) => client.release(),
      () => undefined,
    );
    signal?.throwIfAborted();
    throw toStoreError(error, "connecting to postgres");
  } finally {
    signal?.removeEventListener("abort", onAbort);
  }
}

function isConnectionLoss(error: unknown): boolean {
  return error instanceof StoreError && (error.code === "UNAVAILABLE" || error.code === "TIMEOUT");
}

function sessionOn(client: PoolClient, throwIfAborted: () => void): Session {
  const query: Queries["query"] = async (doing, text, values = []) => {
    throwIfAborted();
    try {
      return (await client.query<Row>(text, [...values])).rows;
    } catch (error) {
      throw toStoreError(error, doing);
    }
  };
  return {
    query,
    transaction: async (body) => {
      await query("beginning a transaction", BEGIN);
      try {
        const result = await body({ query });
        throwIfAborted();
        await commit(client);
        return result;
      } catch (error) {
        // A connection that hangs or is gone gets no ROLLBACK: it is closed, and the server rolls back by itself.
        if (!isConnectionLoss(error)) await client.query("ROLLBACK").catch(() => undefined);
        throw error;
      }
    },
  };
}

async function commit(client: PoolClient): Promise<void> {
  let tag: string;
  try {
    tag = (await client.query("COMMIT")).command;
  } catch (error) {
    throw toStoreError(error, "committing, outcome unknown");
  }
  // PostgreSQL answers COMMIT of a failed transaction with ROLLBACK, not with an error.
  if (tag !== "COMMIT") {
    throw new StoreError("REFUSED", `commit was answered with ${tag}`, { retryable: false });
  }
}
