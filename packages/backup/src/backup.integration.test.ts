import {
  appendFile,
  mkdtemp,
  open,
  readdir,
  readFile,
  rm,
  truncate,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { type ClusterId, parseClusterId, parseEvmAddress, unwrap } from "@quorate/core";
import {
  type EtcdCluster,
  locateEtcd,
  type PostgresServer,
  startEtcd,
  startPostgres,
} from "@quorate/devkit";
import { createEtcdTallyStore, type EtcdTallyStore } from "@quorate/store-etcd";
import {
  createAuditLog,
  createPool,
  createSubmissionStore,
  migrate,
  schemaOf,
} from "@quorate/store-postgres";
import { castVotes, memoryLogger, nodeAt, testCluster, txIdOf, vote } from "@quorate/testkit";
import type { Pool } from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";

import { createFile } from "./files.ts";
import { makeBackup } from "./make-backup.ts";
import { MANIFEST_FILE, type Manifest, manifestText } from "./manifest.ts";
import { freshToken, restoreEtcdMember } from "./restore-etcd.ts";
import { restorePostgres } from "./restore-postgres.ts";
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
const cluster = testCluster({ trustees: 4, threshold: 3, clusterId: "backups" });
const { clusterId } = cluster.set;
const schema = schemaOf(clusterId);
const sender = {
  chainId: 31_337,
  address: unwrap(parseEvmAddress(`0x${"ab".repeat(20)}`)),
};
let directory: string;
let etcd: EtcdCluster;
let postgres: PostgresServer;
let store: EtcdTallyStore;
let pool: Pool;
let good: string;
let manifest: Manifest;
let backups = 0;
const storeFor = (hosts: readonly string[]): EtcdTallyStore =>
  createEtcdTallyStore(
    { hosts, clusterId, requestTimeoutMs: 10_000, dialTimeoutMs: 10_000 },
    { clock, logger },
  );
const backupParameters = (into: string) => ({
  directory: into,
  clusterId,
  etcdHosts: etcd.endpoints,
  postgresUrl: postgres.url,
  schema,
  tool: "test",
});

/** A backup to spoil. */
async function freshBackup(): Promise<string> {
  const into = join(directory, `backup-${++backups}`);
  await makeBackup(backupParameters(into), { clock, logger });
  return into;
}

/** Backs a schema up and restores it in its own place. */
async function backUpAndReplace(into: string) {
  const from = join(directory, into);
  await makeBackup({ ...backupParameters(from), schema: into }, { clock, logger });
  const parameters = { directory: from, url: postgres.url, schema: into, replace: true };
  return restorePostgres(parameters, { clock, logger });
}

/** Two submissions, one of them signed; a vote and what it awaits, in etcd and in history. */
async function makeHistory(): Promise<void> {
  const { epochVersion } = await store.readConfig();
  const votes = [0, 1, 2].map((i) => vote(cluster, i, "tx-1", 7));
  await castVotes(store, cluster.set, epochVersion, { txId: txIdOf("tx-1"), votes });
  const submissions = createSubmissionStore(pool);
  const lease = await submissions.becomeLeader(sender, 5n);
  await submissions.markHistoryChecked(lease);
  const keys = ["aa", "bb"].map((byte) => `0x${byte.repeat(32)}` as const);
  const items = keys.map((key, i) => ({
    txId: txIdOf(`tx-${i + 1}`),
    key,
    value: vote(cluster, 0, "tx-1", 7).vote.value,
    epoch: cluster.set.epoch,
    decisionRevision: 3n,
  }));
  await submissions.enqueue(items, sender);
  const [first] = items;
  if (first === undefined) throw new Error("there are items");
  const assigned = await submissions.assign(lease, {
    items: [first],
    windowMax: 8,
    gasLimit: 100_000n,
    sign: async () => ({
      hash: `0x${"cd".repeat(32)}`,
      // Every byte that a text form could stumble over.
      raw: Uint8Array.from({ length: 256 }, (_, i) => i),
      maxFeePerGasWei: 10n ** 30n,
      maxPriorityFeePerGasWei: 1n,
    }),
  });
  expect(assigned.kind).toBe("assigned");
  await createAuditLog(pool).append(null, {
    revision: await store.revision(),
    rows: [
      {
        kind: "ban",
        peerId: nodeAt(cluster, 3).peerId,
        nodeId: null,
        // Tabs, line ends, backslashes, quotes, and a text that COPY could take for its end or for NULL.
        reason: 'a\tb\nc\\d\r"e"\\N\n\\.\n\u{1F5F3}',
        grade: "PROOF",
        bannedAtMs: 1_700_000_000_123,
        evidenceJson: '{"text":"\\u00e9\\n\\\\"}',
        revision: 3n,
      },
    ],
  });
}

async function contentOf(of: Pool): Promise<Readonly<Record<string, unknown>>> {
  const tables = await of.query<{ name: string }>(
    `SELECT relname AS name FROM pg_class WHERE relkind = 'r'
     AND relnamespace = current_schema()::regnamespace ORDER BY 1`,
  );
  const content: Record<string, unknown> = {};
  for (const { name } of tables.rows)
    content[name] = (await of.query(`SELECT t::text AS row FROM ${name} t ORDER BY 1`)).rows;
  return content;
}

async function schemas(): Promise<readonly string[]> {
  const found = await pool.query<{ name: string }>(
    "SELECT nspname AS name FROM pg_namespace WHERE nspname LIKE 'quorate%' ORDER BY 1",
  );
  return found.rows.map(({ name }) => name);
}

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "quorate-backup-"));
  etcd = await startEtcd({ dataDir: join(directory, "etcd"), members: 1 });
  postgres = await startPostgres({ dataDir: join(directory, "postgres") });
  store = storeFor(etcd.endpoints);
  await store.start();
  await store.initCluster(cluster.set);
  await migrate({ url: postgres.url, schema, logger });
  pool = createPool({ url: postgres.url, schema, logger });
  await makeHistory();
  good = join(directory, "good");
  manifest = await makeBackup(backupParameters(good), { clock, logger });
});

afterAll(async () => {
  await store?.stop();
  await pool?.end();
  await postgres?.stop();
  await etcd?.stop();
  await rm(directory, { recursive: true, force: true });
});

test("a backup is whole, tells what is in it, and reads back as good", async () => {
  expect(await verifyBackup(good)).toEqual({ manifest, problems: [] });
  expect(manifest).toMatchObject({ clusterId: "backups", tool: "test" });
  expect(manifest.postgres.senders).toEqual([
    {
      chainId: "31337",
      address: sender.address.toLowerCase(),
      nextNonce: "6",
      epoch: "1",
      frozen: false,
    },
  ]);
  const rows = new Map(manifest.postgres.tables.map(({ name, rows: count }) => [name, count]));
  expect([rows.get("submission"), rows.get("attempt"), rows.get("vote_history")]).toEqual([
    2, 1, 0,
  ]);
  expect(BigInt(manifest.etcd.revisionAtLeast)).toBeGreaterThanOrEqual(
    BigInt(manifest.postgres.projectorPosition ?? -1),
  );
});

test("a restore holds every row as it was, and every sender frozen", async () => {
  const into = "quorate_restored";
  const report = await restorePostgres(
    { directory: good, url: postgres.url, schema: into, clusterId },
    { clock, logger },
  );
  const reason = `restored from the backup of ${manifest.createdAt}`;
  expect(report).toMatchObject({ schema: into, senders: 1, keptAs: null, migrated: [], reason });
  const restored = createPool({ url: postgres.url, schema: into, logger });
  try {
    const frozen = await createSubmissionStore(restored).senderState(sender);
    expect(frozen).toMatchObject({ nextNonce: 6n, leaderEpoch: 1_000_001n, frozen: { reason } });
    expect(frozen).toMatchObject({ historyChecked: false, historyDiffers: false });
    const before = await contentOf(pool);
    const after = await contentOf(restored);
    // When a migration ran, who is frozen, that history is to be folded again, and the backup itself.
    const own = ["schema_migration", "sender", "projector_position", "operator_log", "backup_made"];
    for (const content of [before, after])
      for (const table of own) delete (content as Record<string, unknown>)[table];
    expect(after).toEqual(before);
    const more = createSubmissionStore(restored);
    expect(await more.enqueue([], sender)).toEqual([]);
    // Guards are on again, and sequences go on where they were.
    await expect(restored.query("DELETE FROM sender")).rejects.toThrow("never deleted");
    const next = "SELECT nextval(pg_get_serial_sequence('submission', 'seq')) AS seq";
    expect((await restored.query<{ seq: bigint }>(next)).rows[0]?.seq).toBe(3n);
    const lineage = await createAuditLog(restored).lineage();
    expect(lineage).toEqual({ id: reason, restarts: 0 });
  } finally {
    await restored.end();
  }
});

test("a schema that holds something is refused, or kept under another name", async () => {
  const into = "quorate_taken";
  await migrate({ url: postgres.url, schema: into, logger });
  const parameters = { directory: good, url: postgres.url, schema: into };
  await expect(restorePostgres(parameters, { clock, logger })).rejects.toMatchObject({
    code: "REFUSED",
  });
  const report = await restorePostgres({ ...parameters, replace: true }, { clock, logger });
  expect(report.keptAs).toMatch(/^quorate_taken_old_\d{14}$/);
  expect(await schemas()).toEqual(expect.arrayContaining([into, report.keptAs]));
});

test("what a person froze is not thawed by a restore", async () => {
  const into = "quorate_by_hand";
  await migrate({ url: postgres.url, schema: into, logger });
  const old = createPool({ url: postgres.url, schema: into, logger });
  const submissions = createSubmissionStore(old);
  const other = { ...sender, chainId: 1 };
  const leases = await Promise.all(
    [sender, other].map((each) => submissions.becomeLeader(each, 0n)),
  );
  for (const lease of leases) await submissions.markHistoryChecked(lease);
  await old.query("UPDATE sender SET history_differs = true");
  await submissions.freeze(sender, "ada looks into it");
  await submissions.freeze(other, "restored from another backup");
  await backUpAndReplace(into);
  const byHand = await submissions.senderState(sender);
  expect(byHand?.frozen?.reason).toBe("ada looks into it");
  const byRestore = await submissions.senderState(other);
  expect(byRestore?.frozen?.reason).toContain("the backup of 2");
  // Either way the chain may know more than the backup: no nonce before it was asked.
  for (const state of [byHand, byRestore])
    expect(state).toMatchObject({ historyChecked: false, historyDiffers: true });
  // Whoever led before the backup, or after it in the life that it does not know, leads no more.
  for (const { leaderEpoch, ...whose } of leases)
    for (const later of [0n, 1n, 1_000n])
      expect(await submissions.isLeader({ ...whose, leaderEpoch: leaderEpoch + later })).toBe(
        false,
      );
  await old.end();
});

test("a backup of an older schema is restored and brought up to date", async () => {
  const into = "quorate_older";
  await migrate({ url: postgres.url, schema: into, count: 4, logger });
  const old = createPool({ url: postgres.url, schema: into, logger });
  await old.query(
    `INSERT INTO sender (chain_id, address, epoch, next_nonce) VALUES (1, '\\x${"ab".repeat(20)}', 3, 9)`,
  );
  await old.end();
  const report = await backUpAndReplace(into);
  expect(report.migrated[0]).toBe("0005_exactly_once");
  expect(report.senders).toBe(1);
  const restored = createPool({ url: postgres.url, schema: into, logger });
  const state = await createSubmissionStore(restored).senderState({ ...sender, chainId: 1 });
  await restored.end();
  expect(state).toMatchObject({ leaderEpoch: 1_000_003n, nextNonce: 9n, historyChecked: false });
  expect(state?.frozen?.reason).toContain("restored from the backup of");
});

const SPOILED: readonly [what: string, spoil: (at: string) => Promise<unknown>, problem: string][] =
  [
    [
      "a flipped byte",
      async (at) => {
        const handle = await open(join(at, "postgres/attempt.gz"), "r+");
        const byte = Buffer.alloc(1);
        await handle.read(byte, 0, 1, 30);
        byte[0] = (byte[0] ?? 0) ^ 1;
        await handle.write(byte, 0, 1, 30);
        await handle.close();
      },
      "postgres/attempt.gz: its SHA-256",
    ],
    [
      "a missing table",
      (at) => rm(join(at, "postgres/submission.gz")),
      "submission.gz: it is missing",
    ],
    [
      "a file too much",
      (at) => writeFile(join(at, "postgres/extra.gz"), ""),
      "not in the manifest",
    ],
    [
      "a snapshot that was cut",
      (at) => truncate(join(at, "etcd.snapshot"), 4_096),
      "etcd.snapshot: it has 4096 bytes",
    ],
    [
      "a snapshot that was cut before the backup was signed off",
      async (at) => {
        await truncate(join(at, "etcd.snapshot"), 4_096);
        const { createHash } = await import("node:crypto");
        const bytes = await readFile(join(at, "etcd.snapshot"));
        const sha256 = createHash("sha256").update(bytes).digest("hex");
        const { manifest: known } = await verifyBackup(at);
        if (known === null) throw new Error("it has a manifest");
        const etcdEntry = { ...known.etcd, bytes: 4_096, sha256 };
        await writeFile(join(at, MANIFEST_FILE), manifestText({ ...known, etcd: etcdEntry }));
      },
      "the snapshot was cut off",
    ],
    [
      "a manifest that somebody edited",
      async (at) => {
        const text = await readFile(join(at, MANIFEST_FILE), "utf8");
        await writeFile(
          join(at, MANIFEST_FILE),
          text.replace('"nextNonce": "6"', '"nextNonce": "0"'),
        );
      },
      "its digest does not fit",
    ],
    ["no manifest", (at) => rm(join(at, MANIFEST_FILE)), "no backup, or not a whole one"],
    ["a manifest that is cut", (at) => truncate(join(at, MANIFEST_FILE), 100), "it is no JSON"],
    [
      "a form of another version",
      async (at) => {
        const text = await readFile(join(at, MANIFEST_FILE), "utf8");
        await writeFile(join(at, MANIFEST_FILE), text.replace("backup/v1", "backup/v9"));
      },
      'its format is "quorate/backup/v9"',
    ],
    [
      "bytes behind a table",
      (at) => appendFile(join(at, "postgres/slot.gz"), "x"),
      "slot.gz: it has",
    ],
  ];

test("every kind of damage is named, all of it at once, and nothing of it is restored", async () => {
  const both = await freshBackup();
  for (const [what, spoil, problem] of SPOILED) {
    const at = await freshBackup();
    await spoil(at);
    const { problems } = await verifyBackup(at);
    expect(problems.join("\n"), what).toContain(problem);
    const restoring = restorePostgres(
      { directory: at, url: postgres.url, schema: "quorate_never" },
      { clock, logger },
    );
    await expect(restoring, what).rejects.toMatchObject({ code: "NOT_GOOD" });
  }
  await rm(join(both, "postgres/submission.gz"));
  await truncate(join(both, "etcd.snapshot"), 10);
  expect((await verifyBackup(both)).problems).toHaveLength(2);
  expect(await schemas()).not.toContain("quorate_never");
});

test("a backup of another cluster is refused, and one of a cluster that etcd does not hold is not made", async () => {
  const other = unwrap(parseClusterId("another")) as ClusterId;
  await expect(
    restorePostgres({ directory: good, url: postgres.url, clusterId: other }, { clock, logger }),
  ).rejects.toMatchObject({ code: "WRONG_CLUSTER" });
  const into = join(directory, "of-another");
  await expect(
    makeBackup({ ...backupParameters(into), clusterId: other }, { clock, logger }),
  ).rejects.toMatchObject({ code: "NO_CLUSTER" });
  await expect(readdir(into)).rejects.toThrow("ENOENT");
});

test("a disk that is full leaves nothing that looks like a backup", async () => {
  for (const full of ["attempt.gz", "etcd.snapshot", MANIFEST_FILE]) {
    const into = join(directory, "full");
    const making = makeBackup(backupParameters(into), {
      clock,
      logger,
      createFile: (path) => (path.endsWith(full) ? open("/dev/full", "w") : createFile(path)),
    });
    await expect(making, full).rejects.toMatchObject({ code: "WRITE", retryable: true });
    await expect(making, full).rejects.toThrow("ENOSPC");
    const left = await readdir(directory);
    expect(left.filter((name) => name.startsWith("full"))).toEqual([]);
  }
});

test("a backup overwrites nothing", async () => {
  await expect(makeBackup(backupParameters(good), { clock, logger })).rejects.toMatchObject({
    code: "EXISTS",
  });
  expect((await verifyBackup(good)).problems).toEqual([]);
});

test("a failed restore leaves the database as it was", async () => {
  const at = await freshBackup();
  const { manifest: known } = await verifyBackup(at);
  if (known === null) throw new Error("it has a manifest");
  const tables = known.postgres.tables.filter(({ name }) => name !== "ban_lifts");
  const text = manifestText({ ...known, postgres: { ...known.postgres, tables } });
  await writeFile(join(at, MANIFEST_FILE), text);
  await rm(join(at, "postgres/ban_lifts.gz"));
  expect((await verifyBackup(at)).problems).toEqual([]);
  const before = await contentOf(pool);
  const there = await schemas();
  const restoring = restorePostgres(
    { directory: at, url: postgres.url, replace: true },
    { clock, logger },
  );
  await expect(restoring).rejects.toThrow("ban_lifts is missing");
  expect(await contentOf(pool)).toEqual(before);
  expect(await schemas()).toEqual(there);
});

test("a snapshot is one that etcd starts from, as another cluster with all that was in it", async () => {
  const { etcdctl } = await locateEtcd();
  if (etcdctl === null) throw new Error("the machine has an etcdctl");
  const dataDir = join(directory, "restored-etcd");
  const restored = await restoreAndStart(etcdctl, dataDir);
  const again = storeFor(restored.endpoints);
  try {
    await again.start();
    const { snapshot } = await again.read(txIdOf("tx-1"));
    expect([snapshot.status, snapshot.votes.size]).toEqual(["THRESHOLD_REACHED", 3]);
    const [was, is] = [await store.lineage(), await again.lineage()];
    expect(was.id).toBe(manifest.etcd.lineage);
    expect(is.id).not.toBe(was.id);
    expect(is.revision).toBeGreaterThanOrEqual(BigInt(manifest.etcd.revisionAtLeast));
    await expect(again.watch(10_000n, () => {}, {})).rejects.toMatchObject({ code: "CORRUPT" });
    // Whoever watches while it is replaced is told, and does not wait for revisions that mean something else.
    const begun = Promise.withResolvers<void>();
    const watching = again.watch(0n, () => begun.resolve(), {});
    const told = expect(watching).rejects.toThrow("etcd is another cluster now");
    await begun.promise;
    const [member] = restored.members;
    if (member === undefined) throw new Error("it has a member");
    await member.stop();
    await restoreMember(etcdctl, dataDir, member);
    await member.restart();
    await told;
  } finally {
    await again.stop();
    await restored.stop();
  }
});

/** Puts the snapshot where the devkit's etcd looks for its data. */
async function restoreAndStart(tool: string, dataDir: string): Promise<EtcdCluster> {
  const started = await startEtcd({ dataDir, members: 1 });
  await started.stop();
  const [member] = started.members;
  if (member === undefined) throw new Error("it has a member");
  await restoreMember(tool, dataDir, member);
  return await startEtcd({ dataDir, members: 1 });
}

async function restoreMember(
  tool: string,
  dataDir: string,
  { name, peerUrl }: { readonly name: string; readonly peerUrl: string },
): Promise<void> {
  await rm(join(dataDir, name), { recursive: true });
  await restoreEtcdMember({
    directory: good,
    tool,
    plan: { token: freshToken(clusterId), members: [{ name, peerUrl }] },
    member: { name, peerUrl },
    dataDir: join(dataDir, name),
  });
}
