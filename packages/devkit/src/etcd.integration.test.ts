import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";

import { stopAll } from "./child-registry.ts";
import { readEtcdPlan } from "./etcd-plan.ts";
import { startEtcd } from "./start-etcd.ts";
import { waitUntil } from "./wait-until.ts";

let dataDir: string;

beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), "quorate-etcd-"));
});

afterEach(async () => {
  await stopAll();
  await rm(dataDir, { recursive: true, force: true });
});

const base64 = (text: string): string => Buffer.from(text).toString("base64");

async function call(endpoint: string, path: string, body: unknown): Promise<unknown> {
  const response = await fetch(`${endpoint}/v3/${path}`, {
    method: "POST",
    body: JSON.stringify(body),
    signal: AbortSignal.timeout(10_000),
  });
  if (!response.ok) throw new Error(`${path}: ${await response.text()}`);
  return response.json();
}

const put = (endpoint: string, key: string, value: string): Promise<unknown> =>
  call(endpoint, "kv/put", { key: base64(key), value: base64(value) });

async function get(endpoint: string, key: string): Promise<string | null> {
  const answer = await call(endpoint, "kv/range", { key: base64(key) });
  const stored = /"value":"([^"]*)"/.exec(JSON.stringify(answer))?.[1];
  return stored === undefined ? null : Buffer.from(stored, "base64").toString();
}

test("a single etcd keeps what was written over kill and restart, on the same address", async () => {
  const cluster = await startEtcd({ dataDir, members: 1 });
  const [endpoint] = cluster.endpoints;
  const [member] = cluster.members;
  await put(endpoint!, "a", "1");
  const firstPid = member!.pid;
  await member!.kill();
  await expect(get(endpoint!, "a")).rejects.toThrow();
  await member!.restart();
  expect(member!.pid).not.toBe(firstPid);
  expect(await get(endpoint!, "a")).toBe("1");
});

test("three members go on without their killed leader, and it catches up after its restart", async () => {
  const cluster = await startEtcd({ dataDir, members: 3 });
  const leader = await cluster.leaderIndex();
  await cluster.members[leader]!.kill();
  const successor = await cluster.leaderIndex();
  expect(successor).not.toBe(leader);
  await put(cluster.endpoints[successor]!, "written", "meanwhile");
  await cluster.members[leader]!.restart();
  expect(await get(cluster.endpoints[leader]!, "written")).toBe("meanwhile");
});

test("a paused leader is replaced, and steps down when it wakes", async () => {
  const cluster = await startEtcd({ dataDir, members: 3 });
  const leader = await cluster.leaderIndex();
  await cluster.members[leader]!.pause();
  const successor = await cluster.leaderIndex();
  expect(successor).not.toBe(leader);
  await cluster.members[leader]!.resume();
  expect(await cluster.leaderIndex()).toBe(successor);
});

test("a member can come back before there is a majority", async () => {
  const cluster = await startEtcd({ dataDir, members: 3 });
  for (const member of cluster.members) await member.kill();
  for (const member of cluster.members) await member.restart();
  await put(cluster.endpoints[0]!, "a", "1");
  expect(await get(cluster.endpoints[2]!, "a")).toBe("1");
});

test("a cluster started again in its directory is the same cluster", async () => {
  const first = await startEtcd({ dataDir, members: 3 });
  await put(first.endpoints[0]!, "a", "1");
  await first.stop();
  const second = await startEtcd({ dataDir, members: 3 });
  expect(second.endpoints).toEqual(first.endpoints);
  expect(await get(second.endpoints[1]!, "a")).toBe("1");
});

test("a single etcd moves to new ports and keeps its data when its old port is taken", async () => {
  const first = await startEtcd({ dataDir, members: 1 });
  await put(first.endpoints[0]!, "a", "1");
  await first.stop();
  const plan = await readEtcdPlan({ dataDir, members: 1 });
  const squatter = createServer((socket) => socket.destroy());
  await new Promise<void>((resolve) =>
    squatter.listen(plan?.members[0]?.clientPort, "127.0.0.1", resolve),
  );
  try {
    const second = await startEtcd({ dataDir, members: 1 });
    expect(second.endpoints).not.toEqual(first.endpoints);
    expect(await get(second.endpoints[0]!, "a")).toBe("1");
  } finally {
    await new Promise((resolve) => squatter.close(resolve));
  }
});

test("etcd keeps its production limits: 128 operations in a transaction, durable writes", async () => {
  const cluster = await startEtcd({ dataDir, members: 1, quotaBytes: 64 * 1024 * 1024 });
  const transaction = (operations: number): Promise<unknown> =>
    call(cluster.endpoints[0]!, "kv/txn", {
      success: Array.from({ length: operations }, (_, index) => ({
        requestPut: { key: base64(`k${index}`), value: base64("v") },
      })),
    });
  await expect(transaction(129)).rejects.toThrow(/too many operations/);
  await transaction(128);
  if (process.platform === "linux") {
    const commandLine = await readFile(`/proc/${cluster.members[0]!.pid}/cmdline`, "utf8");
    expect(commandLine).toContain(`--quota-backend-bytes\0${64 * 1024 * 1024}`);
    expect(commandLine).not.toContain("no-fsync");
  }
});

test("an aborted start leaves no process behind", async () => {
  const caller = new AbortController();
  const start = startEtcd({ dataDir, members: 3, signal: caller.signal });
  const rejected = expect(start).rejects.toThrow("changed my mind");
  const launched = join(dataDir, "etcd-3.log");
  await waitUntil(() => existsSync(launched), { timeoutMs: 10_000, what: "the third member" });
  caller.abort(new Error("changed my mind"));
  await rejected;
  const plan = await readEtcdPlan({ dataDir, members: 3 });
  expect(plan?.members).toHaveLength(3);
  for (const { peerPort } of plan?.members ?? []) {
    await expect(fetch(`http://127.0.0.1:${peerPort}/version`)).rejects.toThrow();
  }
});
