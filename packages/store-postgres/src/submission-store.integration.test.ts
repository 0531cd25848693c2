import { type PostgresServer, startPostgres } from "@quorate/devkit";
import { submissionStoreContract } from "@quorate/testkit";
import { afterAll, beforeAll } from "vitest";

import { createPool } from "./pool.ts";
import { createSubmissionStore } from "./submission-store.ts";
import { type CutProxy, startCutProxy } from "./testing/cut-proxy.ts";
import { silentLogger, startTestServer, type TestServer } from "./testing/database.ts";

let server: TestServer<PostgresServer>;
let proxy: CutProxy;
beforeAll(async () => {
  server = await startTestServer(startPostgres);
  proxy = await startCutProxy(server.url);
});
afterAll(async () => {
  await proxy.close();
  await server.stop();
});

const ARCHIVE = `
  WITH archived AS (SELECT * FROM submission WHERE tx_id = $1)
  INSERT INTO submission_archive SELECT * FROM archived`;
const READ_OPERATOR_LOG = `SELECT at, action, subject, by, reason FROM operator_log ORDER BY id`;

submissionStoreContract("PostgreSQL", async () => {
  const { pool, schema } = await server.world();
  const otherPool = server.pool(schema);
  const cutPool = createPool({ url: proxy.url, schema, logger: silentLogger });
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
    close: async () => {
      await Promise.all([pool.end(), otherPool.end(), cutPool.end()]);
    },
  };
});
