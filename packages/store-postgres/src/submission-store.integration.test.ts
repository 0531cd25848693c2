import { type PostgresServer, startPostgres } from "@quorate/devkit";
import { submissionStoreContract } from "@quorate/testkit";
import { afterAll, beforeAll } from "vitest";

import { setSenderFrozen } from "./submission/lease.ts";
import { createSubmissionStore } from "./submission-store.ts";
import { startTestServer, type TestServer } from "./testing/database.ts";

let server: TestServer<PostgresServer>;
beforeAll(async () => {
  server = await startTestServer(startPostgres);
});
afterAll(() => server.stop());

submissionStoreContract("PostgreSQL", async () => {
  const { pool, schema } = await server.world();
  const otherPool = server.pool(schema);
  return {
    store: createSubmissionStore(pool),
    other: createSubmissionStore(otherPool),
    setSenderFrozen: async (sender, frozen) => void (await setSenderFrozen(pool, sender, frozen)),
    archive: async (txId) => {
      await pool.query("DELETE FROM submission WHERE tx_id = $1", [txId]);
    },
    close: async () => {
      await Promise.all([pool.end(), otherPool.end()]);
    },
  };
});
