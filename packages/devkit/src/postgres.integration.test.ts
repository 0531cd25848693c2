import { chmod, mkdir, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Client } from "pg";
import { afterEach, beforeEach, expect, test } from "vitest";

import { stopAll } from "./child-registry.ts";
import { startPostgres } from "./start-postgres.ts";

let scratch: string;

beforeEach(async () => {
  scratch = await mkdtemp(join(tmpdir(), "quorate-postgres-"));
  // mkdtemp closes the directory to others; started by root, PostgreSQL is another user.
  await chmod(scratch, 0o755);
});

afterEach(async () => {
  await stopAll();
  await rm(scratch, { recursive: true, force: true });
});

async function query(url: string, sql: string): Promise<unknown[]> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    const { rows } = await client.query({ text: sql, rowMode: "array" });
    return rows.flat();
  } finally {
    await client.end();
  }
}

test("PostgreSQL runs durably, on the loopback address only, and asks for the password", async () => {
  const server = await startPostgres({ dataDir: join(scratch, "data") });
  expect(await query(server.url, "show fsync")).toEqual(["on"]);
  expect(await query(server.url, "show listen_addresses")).toEqual(["127.0.0.1"]);
  expect(await query(server.url, "show server_version")).toEqual([server.version]);
  const wrong = server.url.replace(/:[^:@]+@/, ":wrong@");
  await expect(query(wrong, "select 1")).rejects.toMatchObject({ code: "28P01" });
});

test("what was committed survives kill and restart, with a session open at the time", async () => {
  const server = await startPostgres({ dataDir: join(scratch, "data") });
  const session = new Client({ connectionString: server.url });
  session.on("error", () => {});
  await session.connect();
  await session.query("create table kept (x int); insert into kept values (7)");
  const firstPid = server.pid;
  await server.kill();
  await server.restart();
  expect(server.pid).not.toBe(firstPid);
  expect(await query(server.url, "select x from kept")).toEqual([7]);
});

test("stopping does not wait for clients, and a later start finds the data", async () => {
  const first = await startPostgres({ dataDir: join(scratch, "data") });
  const session = new Client({ connectionString: first.url });
  session.on("error", () => {});
  await session.connect();
  await session.query("create table kept (x int); insert into kept values (8)");
  await first.stop();
  expect(await readFile(first.logFile, "utf8")).toContain("received fast shutdown request");
  const second = await startPostgres({ dataDir: join(scratch, "data") });
  expect(await query(second.url, "select x from kept")).toEqual([8]);
});

test("restarting a running server replaces its process and nothing else", async () => {
  const server = await startPostgres({ dataDir: join(scratch, "data") });
  const { pid, url } = server;
  await server.restart();
  expect(() => process.kill(pid, 0)).toThrow(/ESRCH/);
  expect(server.url).toBe(url);
  expect(await query(url, "select 1")).toEqual([1]);
});

test("two servers side by side do not share data", async () => {
  const [one, two] = await Promise.all([
    startPostgres({ dataDir: join(scratch, "one") }),
    startPostgres({ dataDir: join(scratch, "two") }),
  ]);
  await query(one.url, "create table mine (x int)");
  expect(await query(two.url, "select to_regclass('mine')")).toEqual([null]);
});

test("a directory closed to PostgreSQL's user still works, and still belongs to its data", async () => {
  const closed = join(scratch, "closed");
  await mkdir(closed, { mode: 0o700 });
  const dataDir = join(closed, "data");
  const first = await startPostgres({ dataDir });
  try {
    await query(first.url, "create table kept as select 9 as x");
    await first.stop();
    const second = await startPostgres({ dataDir });
    expect(second.databaseDir).toBe(first.databaseDir);
    expect(await query(second.url, "select x from kept")).toEqual([9]);
  } finally {
    await stopAll();
    if (!first.databaseDir.startsWith(scratch)) {
      await rm(join(first.databaseDir, ".."), { recursive: true, force: true });
    }
  }
});
