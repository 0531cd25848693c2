import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";

import { parseEtcdPlan, readEtcdPlan, writeEtcdPlan } from "./etcd-plan.ts";
import { electedIndex, type EtcdStatus, parseEtcdStatus } from "./etcd-status.ts";
import { locateEtcd, parseEtcdVersion } from "./locate-etcd.ts";
import { parseSymlinks } from "./locate-postgres.ts";
import { classifyServerFailure } from "./server-failure.ts";
import { parseAnvilAccounts } from "./start-anvil.ts";
import { isPostmasterReady } from "./start-postgres.ts";
import { pickUser } from "./unprivileged-user.ts";

const says = (memberId: string, leaderId: string, raftTerm: bigint): EtcdStatus => ({
  memberId,
  leaderId,
  raftTerm,
});

test("a leader is one that a majority of the cluster follows in the same term", () => {
  expect(electedIndex([says("a", "b", 2n), says("b", "b", 2n), says("c", "b", 2n)])).toBe(1);
  expect(electedIndex([null, says("b", "b", 2n), says("c", "b", 2n)])).toBe(1);
  expect(electedIndex([says("a", "a", 1n)])).toBe(0);
});

test("a leader that only believes in itself is none", () => {
  expect(electedIndex([says("a", "a", 1n), null, null])).toBeNull();
  expect(electedIndex([says("a", "a", 1n), says("b", "c", 2n), says("c", "c", 2n)])).toBe(2);
  expect(electedIndex([says("a", "a", 1n), says("b", "a", 2n), null])).toBeNull();
  expect(electedIndex([says("a", "0", 3n), says("b", "0", 3n), says("c", "0", 3n)])).toBeNull();
});

test("a member without a leader is read as following nobody", () => {
  expect(parseEtcdStatus({ header: { member_id: "7" }, raftTerm: "4" })).toEqual(
    says("7", "0", 4n),
  );
  expect(parseEtcdStatus({ error: "context deadline exceeded" })).toBeNull();
});

test("etcd's version is read from its own words", () => {
  expect(parseEtcdVersion("etcd Version: 3.4.23\nGit SHA: x\n")).toBe("3.4.23");
  expect(parseEtcdVersion("something else")).toBeNull();
});

test("a missing etcd is reported with the commands that install it", async () => {
  const search = locateEtcd({ env: { PATH: "/nowhere" }, cacheDir: "/nowhere" });
  await expect(search).rejects.toMatchObject({ code: "ETCD_NOT_FOUND" });
  await expect(search).rejects.toThrow(/npm run setup[^]*apt-get install[^]*brew install etcd/);
});

test("an override that points nowhere is not silently replaced by another etcd", async () => {
  const search = locateEtcd({ env: { ...process.env, QUORATE_ETCD: "/nowhere/etcd" } });
  await expect(search).rejects.toThrow("QUORATE_ETCD is /nowhere/etcd");
});

test("a stored plan comes back as written, and only for the same number of members", async () => {
  const dataDir = await mkdtemp(join(tmpdir(), "quorate-plan-"));
  try {
    const plan = { token: "t", members: [{ name: "etcd-1", clientPort: 1, peerPort: 2 }] };
    expect(await readEtcdPlan({ dataDir, members: 1 })).toBeNull();
    await writeEtcdPlan(dataDir, plan);
    expect(await readEtcdPlan({ dataDir, members: 1 })).toEqual(plan);
    await expect(readEtcdPlan({ dataDir, members: 3 })).rejects.toMatchObject({
      code: "DATA_DIR_MISMATCH",
    });
  } finally {
    await rm(dataDir, { recursive: true });
  }
});

test.each([
  ["", "not JSON"],
  ["{}", "no token"],
  ['{"token":"t","members":[]}', "no members"],
  [
    '{"token":"t","members":[{"name":"../x","clientPort":1,"peerPort":2}]}',
    "a name that is a path",
  ],
  ['{"token":"t","members":[{"name":"a","clientPort":0,"peerPort":2}]}', "no port"],
])("a damaged plan is refused: %s (%s)", (text) => {
  expect(parseEtcdPlan(text)).toBeNull();
});

test("a failed start is told apart by what the server said", () => {
  expect(classifyServerFailure("listen tcp 127.0.0.1:1: bind: address already in use")).toBe(
    "port-taken",
  );
  expect(classifyServerFailure("Error: Address already in use (os error 98)")).toBe("port-taken");
  expect(
    classifyServerFailure("FATAL:  pre-existing shared memory block (key 1, ID 2) is still in use"),
  ).toBe("previous-instance-alive");
  expect(classifyServerFailure("FATAL:  data directory has wrong ownership")).toBe("other");
});

test("PostgreSQL is ready only when its own process file says so for this process", () => {
  const file = (pid: number, state: string): string =>
    `${pid}\n/data\n1700000000\n5432\n\n127.0.0.1\n  123 4\n${state}   \n`;
  expect(isPostmasterReady(file(42, "ready"), 42)).toBe(true);
  expect(isPostmasterReady(file(42, "starting"), 42)).toBe(false);
  expect(isPostmasterReady(file(41, "ready"), 42)).toBe(false);
  expect(isPostmasterReady("", 42)).toBe(false);
});

test("PostgreSQL's own account is preferred, and root is never picked", () => {
  const nobody = "nobody:x:65534:65533::/:/usr/sbin/nologin";
  expect(pickUser(`root:x:0:0::/root:/bin/sh\n${nobody}\npostgres:x:101:104::/:/bin/sh`)).toEqual({
    uid: 101,
    gid: 104,
  });
  expect(pickUser(`root:x:0:0::/root:/bin/sh\n${nobody}`)).toEqual({ uid: 65534, gid: 65533 });
  expect(pickUser("nobody:*:-2:-2::/var/empty:/usr/bin/false")).toBeNull();
  expect(pickUser("postgres:x:0:0::/:/bin/sh")).toBeNull();
});

test("links are made inside the package only", () => {
  const good = { source: "native/lib/a.so.1", target: "native/lib/a.so" };
  const bad = [
    { source: "native/../../x", target: "native/a" },
    { source: "/etc/x", target: "y" },
    1,
  ];
  expect(parseSymlinks(JSON.stringify([good, ...bad]))).toEqual([good]);
  expect(parseSymlinks("{}")).toEqual([]);
});

test("an account list that is not one is refused", () => {
  expect(parseAnvilAccounts('{"available_accounts":["0xAb"],"private_keys":["0xcd"]}')).toEqual([
    { address: "0xAb", privateKey: "0xcd" },
  ]);
  expect(() => parseAnvilAccounts('{"available_accounts":["0xAb"],"private_keys":[]}')).toThrow();
  expect(() => parseAnvilAccounts('{"available_accounts":["x"],"private_keys":["0x1"]}')).toThrow();
});
