import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { type EtcdCluster, type PostgresServer, startEtcd, startPostgres } from "@quorate/devkit";
import { createEtcdTallyStore } from "@quorate/store-etcd";
import { createPool, lastBackupSeconds, migrate, schemaOf } from "@quorate/store-postgres";
import { memoryLogger, testCluster } from "@quorate/testkit";
import type { Pool } from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";

import { makeBackup } from "./make-backup.ts";
import { verifyBackup } from "./verify-backup.ts";

const clock = {
  nowMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  sleep: (ms: number) => sleep(ms),
  schedule: (ms: number, task: () => void) => {
    const timer = setTimeout(task, ms);
    return () => clearTimeout(timer);
  },
};
const logger = memoryLogger();
const cluster = testCluster({ trustees: 4, threshold: 3, clusterId: "recorded" });
const { clusterId } = cluster.set;
const schema = schemaOf(clusterId);
let directory: string;
let etcd: EtcdCluster;
let postgres: PostgresServer;
let pool: Pool;

const backupParameters = (into: string) => ({
  directory: into,
  clusterId,
  etcdHosts: etcd.endpoints,
  postgresUrl: postgres.url,
  schema,
  tool: "test",
});

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "quorate-recorded-"));
  [etcd, postgres] = await Promise.all([
    startEtcd({ dataDir: join(directory, "etcd"), members: 1 }),
    startPostgres({ dataDir: join(directory, "postgres") }),
  ]);
  const store = createEtcdTallyStore(
    { hosts: etcd.endpoints, clusterId, requestTimeoutMs: 10_000, dialTimeoutMs: 10_000 },
    { clock, logger },
  );
  await store.start();
  await store.initCluster(cluster.set);
  await store.stop();
  await migrate({ url: postgres.url, schema, logger });
  pool = createPool({ url: postgres.url, schema, logger });
});

afterAll(async () => {
  await pool?.end();
  await postgres?.stop();
  await etcd?.stop();
  await rm(directory, { recursive: true, force: true });
});

test("a cluster that was never backed up says 0", async () => {
  expect(await lastBackupSeconds(pool)).toBe(0);
});

test("a backup that stands is recorded, once, with the server's own time; one that fails is not", async () => {
  const into = join(directory, "recorded");
  const made = async () =>
    (await pool.query<{ n: bigint }>("SELECT count(*) AS n FROM backup_made")).rows[0]?.n;
  const before = (await made()) ?? 0n;
  const around = "SELECT extract(epoch FROM now())::float8 AS at";
  const start = (await pool.query<{ at: number }>(around)).rows[0]?.at ?? 0;
  await makeBackup(backupParameters(into), { clock, logger });
  const end = (await pool.query<{ at: number }>(around)).rows[0]?.at ?? 0;
  expect(await made()).toBe(before + 1n);
  const last = await lastBackupSeconds(pool);
  // Taken when it began, by another clock of this machine: a few ms before `start` at most.
  expect(last).toBeGreaterThan(start - 0.1);
  expect(last).toBeLessThan(end);
  await expect(makeBackup(backupParameters(into), { clock, logger })).rejects.toThrow("already");
  expect(await made()).toBe(before + 1n);
  await expect(pool.query("UPDATE backup_made SET taken_at = now()")).rejects.toThrow();
  await expect(pool.query("DELETE FROM backup_made")).rejects.toThrow();
});

test("a backup that PostgreSQL can't keep the record of is whole, and says so", async () => {
  const older = "quorate_unrecorded";
  await migrate({ url: postgres.url, schema: older, count: 8, logger });
  const into = join(directory, "unrecorded");
  const heard: unknown[] = [];
  await makeBackup(
    { ...backupParameters(into), schema: older, onUnrecorded: (error) => heard.push(error) },
    { clock, logger },
  );
  expect((await verifyBackup(into)).problems).toEqual([]);
  expect(heard).toMatchObject([{ code: "SCHEMA" }]);
});
