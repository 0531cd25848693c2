import { Readable } from "node:stream";

import { hash, utf8 } from "@quorate/core";
import { type PostgresServer, startPostgres } from "@quorate/devkit";
import type { Pool } from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";

import { createAuditLog } from "../audit-log.ts";
import type { Row } from "../row.ts";
import { silentLogger, startTestServer, type TestServer } from "../testing/database.ts";
import { withPostgresDump } from "./dump.ts";
import { type LoadParameters, loadPostgres } from "./load.ts";

const REASON = "restored from the backup of a test";
let server: TestServer<PostgresServer>;
let admin: Pool;
beforeAll(async () => {
  server = await startTestServer(startPostgres);
  admin = server.pool("public");
});
afterAll(async () => {
  await admin.end();
  await server.stop();
});

/** A schema with a sender of epoch 3 and a position, and what restores it in its own place. */
async function backedUp(keepAs: string): Promise<{ schema: string; parameters: LoadParameters }> {
  const { schema, pool } = await server.world();
  await pool.query(
    `INSERT INTO sender (chain_id, address, epoch, next_nonce) VALUES (1, '\\x${"ab".repeat(20)}', 3, 9)`,
  );
  const audit = createAuditLog(pool);
  await audit.beginLineage({ position: null, restarts: 0 }, { id: "before", reason: null });
  await audit.append(null, { revision: 5n, rows: [] });
  await pool.end();
  return withPostgresDump({ url: server.url, schema }, async (dump) => {
    const tables = [];
    const contents = new Map<string, Buffer>();
    for (const table of dump.tables) {
      const parts: Uint8Array[] = [];
      for await (const part of dump.rows(table)) parts.push(part);
      const content = Buffer.concat(parts);
      contents.set(table.name, content);
      tables.push({ ...table, rows: content.filter((byte) => byte === 10).length });
    }
    const { migrations, sequences, senders } = dump;
    const parameters: LoadParameters = {
      url: server.url,
      schema,
      migrations,
      tables,
      sequences,
      senders,
      rows: ({ name }) => Readable.from([contents.get(name) ?? Buffer.alloc(0)]),
      reason: REASON,
      keepAs,
      logger: silentLogger,
    };
    return { schema, parameters };
  });
}

async function senderOf(schema: string): Promise<Row | undefined> {
  const text = `SELECT epoch, frozen, (SELECT lineage_id FROM ${schema}.projector_position) AS lineage FROM ${schema}.sender`;
  return (await admin.query<Row>(text)).rows[0];
}

async function exists(schema: string): Promise<boolean> {
  return (
    (await admin.query("SELECT FROM pg_namespace WHERE nspname = $1", [schema])).rowCount === 1
  );
}

/** What migrations of a schema hold. */
function migrationLock(schema: string): number {
  const digest = hash(utf8(`quorate/migrate/${schema}`));
  return digest.slice(0, 6).reduce((number, byte) => number * 256 + byte, 0);
}

async function untilMigrationsWait(): Promise<void> {
  const text = "SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted";
  for (let i = 0; i < 200; i++) {
    if ((await admin.query(text)).rowCount === 1) return;
    await admin.query("SELECT pg_sleep(0.05)");
  }
  throw new Error("nobody waits to migrate");
}

test("a restore that is killed once rows can be seen leaves former leaders fenced and history to be folded again", async () => {
  const { schema, parameters } = await backedUp("kept_1");
  // What comes after the rows waits for this, as if it never came.
  const holder = await admin.connect();
  let held = false;
  const loading = loadPostgres({
    ...parameters,
    rows: (table) => {
      const source = parameters.rows(table);
      if (held) return source;
      held = true;
      return Readable.from(
        (async function* () {
          await holder.query("SELECT pg_advisory_lock($1)", [migrationLock(schema)]);
          yield* source;
        })(),
      );
    },
  });
  loading.catch(() => {});
  try {
    await untilMigrationsWait();
    expect(await senderOf(schema)).toEqual({ epoch: 1_000_003n, frozen: true, lineage: REASON });
  } finally {
    await holder.query("SELECT pg_advisory_unlock_all()");
    holder.release();
  }
  expect(await loading).toMatchObject({ senders: 1, keptAs: "kept_1" });
  // And once only.
  expect(await senderOf(schema)).toMatchObject({ epoch: 1_000_003n, lineage: REASON });
});

test("what was put aside is put back though the reply to that was lost", async () => {
  const { schema, parameters } = await backedUp("kept_2");
  const { signal } = new AbortController();
  signal.removeEventListener = () => {
    throw new Error("the connection was cut");
  };
  await expect(loadPostgres({ ...parameters, signal })).rejects.toThrow("the connection was cut");
  expect(await senderOf(schema)).toMatchObject({ epoch: 3n, lineage: "before" });
  expect(await exists("kept_2")).toBe(false);
});

test("a schema that is not touched stays when room can't be made", async () => {
  const { schema, parameters } = await backedUp("kept_3");
  await expect(loadPostgres({ ...parameters, keepAs: null })).rejects.toMatchObject({
    code: "REFUSED",
  });
  expect(await senderOf(schema)).toMatchObject({ epoch: 3n });
});

test("a restore that can't put back what was there says where it is kept", async () => {
  const { schema, parameters } = await backedUp("kept_4");
  const rows = (): Readable =>
    Readable.from(
      (async function* () {
        await admin.query("ALTER SCHEMA kept_4 RENAME TO moved_4");
        yield await Promise.reject(new Error("the disk is gone"));
      })(),
    );
  const loading = loadPostgres({ ...parameters, rows });
  await expect(loading).rejects.toThrow(
    `what was in schema ${schema} before is whole and could not be put back: it is kept in schema kept_4`,
  );
});
