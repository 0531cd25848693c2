import { cp, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { type PostgresServer, startPostgres } from "@quorate/devkit";
import { StoreError } from "@quorate/ports";
import { afterAll, beforeAll, expect, test } from "vitest";

import { migrate } from "./migrate.ts";
import { MIGRATIONS_DIRECTORY } from "./migration-files.ts";
import { schemaSnapshot } from "./schema-snapshot.ts";
import { createSubmissionStore } from "./submission-store.ts";
import { silentLogger, startTestServer, type TestServer } from "./testing/database.ts";

const ALL = (await readdir(MIGRATIONS_DIRECTORY))
  .filter((file) => /^\d{4}_.*\.sql$/.test(file))
  .map((file) => file.replace(/\.sql$/, ""))
  .sort();

let server: TestServer<PostgresServer>;
beforeAll(async () => {
  server = await startTestServer(startPostgres);
});
afterAll(() => server.stop());

const run = (schema: string, directory = MIGRATIONS_DIRECTORY) =>
  migrate({ url: server.url, schema, directory, logger: silentLogger });

async function tablesOf(schema: string): Promise<readonly unknown[]> {
  const pool = server.pool(schema);
  try {
    const text = "SELECT tablename FROM pg_tables WHERE schemaname = $1";
    return (await pool.query(text, [schema])).rows;
  } finally {
    await pool.end();
  }
}

/** A copy of the migrations with one more file. */
async function withMigration<T>(
  name: string,
  sql: string,
  body: (directory: string) => Promise<T>,
): Promise<T> {
  const directory = await mkdtemp(join(tmpdir(), "quorate-sql-"));
  try {
    await cp(MIGRATIONS_DIRECTORY, directory, { recursive: true });
    await writeFile(join(directory, name), sql);
    return await body(directory);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

test("the first run applies all in order, the second nothing, and later only what is new", async () => {
  expect(await run("steps")).toEqual(ALL);
  expect(await run("steps")).toEqual([]);
  await withMigration("9999_more.sql", "CREATE TABLE more (id bigint)", async (directory) => {
    expect(await run("steps", directory)).toEqual(["9999_more"]);
  });
});

test("scores, bans and decisions of a database from before 0004 are taken over", async () => {
  const older = await mkdtemp(join(tmpdir(), "quorate-sql-"));
  const pool = server.pool("older");
  try {
    await cp(MIGRATIONS_DIRECTORY, older, { recursive: true });
    for (const name of ALL.slice(3)) await rm(join(older, `${name}.sql`));
    expect(await run("older", older)).toEqual(ALL.slice(0, 3));
    await pool.query(`
      INSERT INTO byzantine_violations (peer_id, tx_id, violation_type, grade, evidence_json, revision)
        VALUES ('bad', 'tx-a', 'DOUBLE_VOTING', 'PROOF', '{"n": 1}', 1);
      INSERT INTO banned_peers (peer_id, reason, grade, banned_at, revision)
        VALUES ('bad', 'DOUBLE_VOTING', 'PROOF', now(), 1), ('odd', 'SILENT_FAILURE', 'OPINION', now(), 1);
      INSERT INTO node_reputation (peer_id, reputation_score)
        VALUES ('bad', 0.0), ('good', 1.0), ('slow', 0.75);
      INSERT INTO transaction_history (tx_id, status, epoch, opened_at, record, revision)
        VALUES ('tx-a', 'CONFIRMED', 1, now(), '{}', 7), ('tx-b', 'COLLECTING', 1, now(), '{}', 8)`);
    expect(await run("older")).toEqual(ALL.slice(3));
    const reputations = await pool.query(
      "SELECT peer_id, penalty, proven, penalty_at > 'epoch' AS dated FROM node_reputation ORDER BY 1",
    );
    expect(reputations.rows).toEqual([
      { peer_id: "bad", penalty: 1, proven: true, dated: true },
      { peer_id: "good", penalty: 0, proven: false, dated: false },
      { peer_id: "slow", penalty: 0.25, proven: false, dated: true },
    ]);
    const bans = await pool.query("SELECT peer_id, evidence_json FROM banned_peers ORDER BY 1");
    expect(bans.rows).toEqual([
      { peer_id: "bad", evidence_json: { n: 1 } },
      { peer_id: "odd", evidence_json: null },
    ]);
    const decided = await pool.query(
      "SELECT decided_revision FROM transaction_history ORDER BY tx_id",
    );
    expect(decided.rows).toEqual([{ decided_revision: 7n }, { decided_revision: null }]);
  } finally {
    await pool.end();
    await rm(older, { recursive: true, force: true });
  }
});

test("submissions, slots and frozen senders of a database from before 0005 are taken over", async () => {
  const older = await mkdtemp(join(tmpdir(), "quorate-sql-"));
  const pool = server.pool("before_0005");
  try {
    await cp(MIGRATIONS_DIRECTORY, older, { recursive: true });
    for (const name of ALL.slice(4)) await rm(join(older, `${name}.sql`));
    await run("before_0005", older);
    const account = "decode(repeat('a1', 20), 'hex')";
    await pool.query(`
      INSERT INTO sender (chain_id, address, epoch, next_nonce, frozen) VALUES (1, ${account}, 3, 3, true);
      INSERT INTO slot (chain_id, sender, nonce, state, payload, gas_limit, epoch) VALUES
        (1, ${account}, 0, 'SIGNED', '[["tx-again", "7"], ["tx-away", "7"]]', 21000, 3),
        (1, ${account}, 1, 'SIGNED', '[["tx-again", "7"]]', 21000, 3);
      UPDATE slot SET state = 'FINALIZED_FOREIGN' WHERE nonce = 0;
      INSERT INTO tombstone (tx_id, value) VALUES ('tx-again', 7), ('tx-away', 7), ('tx-aborted', 7);
      INSERT INTO submission (tx_id, key, value, trustee_epoch, decision_revision, chain_id)
        SELECT tx_id, decode(repeat(left(md5(tx_id), 2), 32), 'hex'), 7, 1, 1, 1 FROM tombstone;
      UPDATE submission SET state = 'ASSIGNED', tries = 1, sender = ${account}, nonce = 1, batch_index = 0
        WHERE tx_id = 'tx-again';
      UPDATE submission SET state = 'QUARANTINED', quarantine_reason = 'guard differs' WHERE tx_id = 'tx-away';
      UPDATE submission SET state = 'ABORTED' WHERE tx_id = 'tx-aborted'`);
    expect(await run("before_0005")).toEqual(ALL.slice(4));
    const submissions = await pool.query(
      "SELECT tx_id, state, nonce, reason FROM submission ORDER BY tx_id",
    );
    expect(submissions.rows).toEqual([
      {
        tx_id: "tx-aborted",
        state: "ABORTED",
        nonce: null,
        reason: "aborted before reasons were kept",
      },
      { tx_id: "tx-again", state: "ASSIGNED", nonce: 1n, reason: null },
      { tx_id: "tx-away", state: "QUARANTINED", nonce: null, reason: "guard differs" },
    ]);
    const former = await pool.query("SELECT tx_id, nonce FROM submission_former_slot");
    expect(former.rows).toEqual([{ tx_id: "tx-again", nonce: 0n }]);
    const senders = await pool.query("SELECT frozen, frozen_reason FROM sender");
    expect(senders.rows).toEqual([
      { frozen: true, frozen_reason: "frozen before reasons were kept" },
    ]);
  } finally {
    await pool.end();
    await rm(older, { recursive: true, force: true });
  }
});

test("senders of a database from before 0008 go on, but for those that wait for a check", async () => {
  const older = await mkdtemp(join(tmpdir(), "quorate-sql-"));
  const pool = server.pool("before_0008");
  const cases = [
    [null, true, false],
    ["restored from the backup of monday", false, false],
    ["history lost: 5 events", false, false],
    ["the database differed from the chain: 2 records", true, true],
    ["the key may be known", true, false],
  ] as const;
  try {
    await cp(MIGRATIONS_DIRECTORY, older, { recursive: true });
    for (const name of ALL.slice(7)) await rm(join(older, `${name}.sql`));
    await run("before_0008", older);
    for (const [chainId, [reason]] of cases.entries()) {
      await pool.query(
        `INSERT INTO sender (chain_id, address, epoch, next_nonce, frozen, frozen_reason, frozen_at)
         VALUES ($1, decode(repeat('a1', 20), 'hex'), 3, 3,
           $2::text IS NOT NULL, $2, CASE WHEN $2::text IS NOT NULL THEN now() END)`,
        [chainId, reason],
      );
    }
    expect((await run("before_0008"))[0]).toBe("0008_history_checked");
    const { rows } = await pool.query(
      "SELECT frozen_reason, history_checked, history_differs FROM sender ORDER BY chain_id",
    );
    expect(rows.map((row) => Object.values(row))).toEqual(cases);
    // One that comes later is not checked yet.
    await pool.query(
      "INSERT INTO sender (chain_id, address, epoch, next_nonce) SELECT 99, address, 1, 0 FROM sender LIMIT 1",
    );
    const fresh = await pool.query("SELECT history_checked FROM sender WHERE chain_id = 99");
    expect(fresh.rows).toEqual([{ history_checked: false }]);
  } finally {
    await pool.end();
    await rm(older, { recursive: true, force: true });
  }
});

test("of processes that migrate at once one does the work and all succeed", async () => {
  const applied = await Promise.all(Array.from({ length: 5 }, () => run("race")));
  expect(applied.filter((names) => names.length > 0)).toEqual([ALL]);
});

test("schemas in one database know nothing of each other", async () => {
  await Promise.all([run("one"), run("two")]);
  const one = server.pool("one");
  const two = server.pool("two");
  try {
    await one.query("INSERT INTO tombstone (tx_id, value) VALUES ('tx-a', 1)");
    expect((await two.query("SELECT 1 FROM tombstone")).rows).toEqual([]);
    // A function is tied to its own schema, whatever path its caller has.
    await two.query(
      "INSERT INTO sender (chain_id, address, epoch, next_nonce) VALUES (1, decode(repeat('00', 20), 'hex'), 1, 0)",
    );
    await one.query(`INSERT INTO two.slot (chain_id, sender, nonce, state, payload, gas_limit, epoch)
      VALUES (1, decode(repeat('00', 20), 'hex'), 0, 'SIGNED', '[]', 1, 1)`);
    expect((await one.query("SELECT 1 FROM slot_history")).rows).toEqual([]);
    expect((await two.query("SELECT 1 FROM slot_history")).rows).toHaveLength(1);
  } finally {
    await Promise.all([one.end(), two.end()]);
  }
});

test("a migration that fails leaves nothing of its run behind", async () => {
  await withMigration(
    "9999_bad.sql",
    "CREATE TABLE t (id bigint); SELECT 1 / 0",
    async (directory) => {
      const error: unknown = await run("broken", directory).catch((reason: unknown) => reason);
      expect(error).toBeInstanceOf(StoreError);
      expect(error).toMatchObject({ code: "SCHEMA", retryable: false });
    },
  );
  const tables = await tablesOf("broken");
  expect(tables).toEqual([{ tablename: "schema_migration" }]);
  expect(await run("broken")).toEqual(ALL);
});

test("a schema that a newer release has migrated is refused by name, and nothing of it is changed", async () => {
  const later = "CREATE TABLE from_the_future (id bigint)";
  await withMigration("9998_later.sql", later, (directory) => run("newer", directory));
  const before = await tablesOf("newer");
  await expect(run("newer")).rejects.toMatchObject({
    code: "SCHEMA",
    retryable: false,
    message: expect.stringContaining("newer release: 9998_later"),
  });
  // Not even by a release that has a migration of its own besides.
  await withMigration("9999_other.sql", "CREATE TABLE other (id bigint)", async (directory) => {
    await expect(run("newer", directory)).rejects.toMatchObject({ code: "SCHEMA" });
  });
  expect(await tablesOf("newer")).toEqual(before);
});

test("a migration slipped in before one that has run is refused", async () => {
  await run("order");
  await withMigration("0001_a.sql", "SELECT 1", async (directory) => {
    await expect(run("order", directory)).rejects.toMatchObject({ code: "SCHEMA" });
  });
});

test("a server that is not there is UNAVAILABLE, and may be tried again", async () => {
  const call = migrate({ url: "postgres://q:q@127.0.0.1:1/q", logger: silentLogger });
  await expect(call).rejects.toMatchObject({ code: "UNAVAILABLE", retryable: true });
});

test("a store without its schema says SCHEMA, and that trying again is no use", async () => {
  const pool = server.pool("never_migrated");
  try {
    const call = createSubmissionStore(pool).counts();
    await expect(call).rejects.toMatchObject({ code: "SCHEMA", retryable: false });
  } finally {
    await pool.end();
  }
});

test("the migrations come to the schema in schema.snapshot.sql, and to nothing else", async () => {
  const { schema, pool } = await server.world();
  try {
    const snapshot = await schemaSnapshot(pool, schema);
    await expect(snapshot).toMatchFileSnapshot(join(MIGRATIONS_DIRECTORY, "schema.snapshot.sql"));
  } finally {
    await pool.end();
  }
});
