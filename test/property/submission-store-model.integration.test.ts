import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type PostgresServer, startPostgres } from "@quorate/devkit";
import { createPool, createSubmissionStore, migrate } from "@quorate/store-postgres";
import { memoryLogger } from "@quorate/testkit";
import fc from "fast-check";
import type { Pool } from "pg";
import { afterAll, beforeAll, describe, it } from "vitest";
import { budget, patience } from "./budget.ts";
import { memorySubmissionDriver } from "./memory-submission-world.ts";
import { submissionCommands } from "./submission-commands.ts";
import { SubmissionDriver } from "./submission-driver.ts";
import { runSubmissions } from "./submission-run.ts";

let dataDir: string;
let server: PostgresServer;
let pool: Pool;

const SCHEMA = "quorate_model";

beforeAll(async () => {
  dataDir = await mkdtemp(join(tmpdir(), "quorate-submission-model-"));
  server = await startPostgres({ dataDir });
  const { url } = server;
  await migrate({ url, schema: SCHEMA, logger: memoryLogger() });
  pool = createPool({ url, schema: SCHEMA, logger: memoryLogger() });
});

afterAll(async () => {
  await pool.end();
  await server.stop();
  await rm(dataDir, { recursive: true, force: true });
});

// One schema for all runs, emptied before each: to migrate one takes longer than a run. The tables are append-only for
// everybody but a replica's superuser.
const EMPTY = `
  SET LOCAL session_replication_role = replica;
  DELETE FROM sender; DELETE FROM slot; DELETE FROM attempt; DELETE FROM slot_history;
  DELETE FROM tombstone; DELETE FROM submission; DELETE FROM submission_former_slot;
  DELETE FROM submission_archive; DELETE FROM chain_record; DELETE FROM operator_log`;

async function postgresDriver(): Promise<SubmissionDriver> {
  await pool.query(`BEGIN; ${EMPTY}; COMMIT`);
  return new SubmissionDriver({
    name: "PostgreSQL",
    store: createSubmissionStore(pool),
    archive: async (txId) => {
      await pool.query(`INSERT INTO submission_archive SELECT * FROM submission WHERE tx_id = $1`, [
        txId,
      ]);
      await pool.query("DELETE FROM submission WHERE tx_id = $1", [txId]);
    },
    operatorLog: async () => {
      const log = `SELECT at, action, subject, by, reason FROM operator_log ORDER BY id`;
      const { rows } = await pool.query(log);
      return rows.map(({ at, ...entry }) => ({ ...entry, atMs: at.getTime() }));
    },
  });
}

describe("the submitter's memory in PostgreSQL and the one in the tests' own, over random commands", () => {
  it(
    "answer and hold after each step what the port promises, to every detail a person can read",
    async () => {
      await fc.assert(
        fc.asyncProperty(submissionCommands, async (commands) => {
          await runSubmissions([memorySubmissionDriver(), await postgresDriver()], commands);
        }),
        budget("submission model, PostgreSQL", 20),
      );
    },
    patience(),
  );
});
