import { type PostgresServer, startPostgres } from "@quorate/devkit";
import { submissionStoreContract } from "@quorate/testkit";
import type { Pool } from "pg";
import { afterAll, beforeAll } from "vitest";

import { createPool } from "./pool.ts";
import { createSubmissionStore } from "./submission-store.ts";
import { type CutProxy, startCutProxy } from "./testing/cut-proxy.ts";
import { silentLogger, startTestServer, type TestServer } from "./testing/database.ts";

let server: TestServer<PostgresServer>;
let proxy: CutProxy;
let pool: Pool;
let otherPool: Pool;
let cutPool: Pool;
beforeAll(async () => {
  server = await startTestServer(startPostgres);
  proxy = await startCutProxy(server.url);
  const world = await server.world();
  pool = world.pool;
  otherPool = server.pool(world.schema);
  cutPool = createPool({ url: proxy.url, schema: world.schema, logger: silentLogger });
});
afterAll(async () => {
  await Promise.all([pool.end(), otherPool.end(), cutPool.end()]);
  await proxy.close();
  await server.stop();
});

// One schema for all tests: to migrate one for each takes ten times as long as the test itself.
// The tables are append-only for everybody but a replica's superuser.
// DELETE, for TRUNCATE makes and syncs new files for each table and index.
const EMPTY = `
  SET LOCAL session_replication_role = replica;
  DELETE FROM sender; DELETE FROM slot; DELETE FROM attempt; DELETE FROM slot_history;
  DELETE FROM tombstone; DELETE FROM submission; DELETE FROM submission_former_slot;
  DELETE FROM submission_archive; DELETE FROM chain_record; DELETE FROM operator_log`;
const ARCHIVE = `INSERT INTO submission_archive SELECT * FROM submission WHERE tx_id = $1`;
const READ_OPERATOR_LOG = `SELECT at, action, subject, by, reason FROM operator_log ORDER BY id`;

submissionStoreContract("PostgreSQL", async () => {
  await pool.query(`BEGIN; ${EMPTY}; COMMIT`);
  return {
    store: createSubmissionStore(pool),
    other: createSubmissionStore(otherPool),
    lossy: createSubmissionStore(cutPool),
    loseNextReply: () => proxy.cutNextCommit("reply"),
    archive: async (txId) => {
      await pool.query(ARCHIVE, [txId]);
      await pool.query("DELETE FROM submission WHERE tx_id = $1", [txId]);
    },
    operatorLog: async () =>
      (await pool.query(READ_OPERATOR_LOG)).rows.map(({ at, ...entry }) => ({
        ...entry,
        atMs: at.getTime(),
      })),
    close: async () => undefined,
  };
});
