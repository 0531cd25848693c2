import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  DEFAULT_PROTOCOL_CONFIG,
  DEFAULT_RETENTION,
  decide,
  decideClaim,
  decideConfirm,
  isArchived,
  parseValue,
  type TxId,
  type TxWrites,
  unwrap,
  type VerifiedVote,
} from "@quorate/core";
import { type EtcdCluster, startEtcd } from "@quorate/devkit";
import { GarbageCollector } from "@quorate/engine";
import { StoreError, type TxCommit } from "@quorate/ports";
import { createEtcdTallyStore, type EtcdTallyStore } from "@quorate/store-etcd";
import { systemClock } from "@quorate/telemetry";
import {
  castVotes,
  createMemoryRetentionStore,
  memoryLogger,
  memoryMetrics,
  TallyFixture,
  testClusterId,
  txIdOf,
} from "@quorate/testkit";
import { Etcd3 } from "etcd3";
import { afterAll, beforeAll, expect, test } from "vitest";

const QUOTA_BYTES = 3 * 1024 * 1024;
/** What others keep in the same etcd, and nobody here may purge: two thirds of the quota. */
const BALLAST_KEYS = 20;
const BALLAST_BYTES = 100 * 1024;
const BATCH = 50;
const BATCHES_MAX = 20;
const SEVEN = unwrap(parseValue(7n));

let dataDir: string;
let cluster: EtcdCluster;
let store: EtcdTallyStore;

beforeAll(async () => {
  dataDir = await mkdtemp(join(tmpdir(), "quorate-full-"));
  cluster = await startEtcd({ dataDir, members: 1, quotaBytes: QUOTA_BYTES });
  store = createEtcdTallyStore(
    {
      hosts: cluster.endpoints,
      clusterId: testClusterId("full"),
      requestTimeoutMs: 10_000,
      dialTimeoutMs: 10_000,
      quotaBytes: QUOTA_BYTES,
    },
    { clock: systemClock(), logger: memoryLogger() },
  );
  await store.start();
});
afterAll(async () => {
  await store.stop();
  await cluster.stop();
  await rm(dataDir, { recursive: true, force: true });
});

const fixture = new TallyFixture(testClusterId("full"), 4);

/** Transactions that are voted on, claimed and confirmed, in three commits of all of them. */
async function confirmAll(ids: readonly TxId[]): Promise<void> {
  const { set, epochVersion } = await store.readConfig();
  const votes = fixture.votesOn(ids, SEVEN);
  const step = async (writesOf: (txId: TxId, at: Base) => TxWrites | null): Promise<void> => {
    const commits: TxCommit[] = [];
    for (const at of await Promise.all(ids.map((txId) => store.read(txId)))) {
      const writes = writesOf(at.snapshot.txId, at);
      if (writes !== null) commits.push({ version: at.version, writes });
    }
    for (const outcome of await store.commit(commits, epochVersion))
      expect(outcome.kind).toBe("committed");
  };
  await step((txId, { snapshot }) => voted(snapshot, votes.get(txId) ?? [], set));
  await step((_, { snapshot }) => {
    const claim = decideClaim(snapshot, set, fixture.verify);
    return claim.kind === "claim" ? claim.writes : null;
  });
  await step((_, { snapshot }) =>
    decideConfirm(snapshot, { txHash: `0x${"11".repeat(32)}`, blockNumber: "5" }),
  );
}

type Base = Awaited<ReturnType<EtcdTallyStore["read"]>>;

function voted(
  snapshot: Base["snapshot"],
  votes: readonly VerifiedVote[],
  set: ReturnType<TallyFixture["set"]>,
): TxWrites | null {
  const input = { votes, nowMs: Date.now(), deadlinePassed: false };
  return decide(snapshot, input, {
    set,
    config: DEFAULT_PROTOCOL_CONFIG,
    bans: new Map(),
    silenceStreaks: new Map(),
    verify: fixture.verify,
  }).writes;
}

// What commits write lies in nested Txns, which etcd by itself holds against no quota.
test("a full etcd refuses writes and says why; a collection makes room, keeps every decision, and writes work again", async () => {
  await store.initCluster(fixture.set(3));
  const raw = new Etcd3({ hosts: [...cluster.endpoints] });
  for (let i = 0; i < BALLAST_KEYS; i++)
    await raw.put(`ballast/${i}`).value("x".repeat(BALLAST_BYTES));
  const retention = createMemoryRetentionStore({ clock: systemClock() });
  const ids: TxId[] = [];
  let refused: unknown = null;
  for (let batch = 0; batch < BATCHES_MAX && refused === null; batch++) {
    const some = Array.from({ length: BATCH }, (_, i) => txIdOf(`tx-${batch}-${i}`));
    try {
      await confirmAll(some);
      for (const txId of some) {
        retention.submit({ txId, confirmedAtMs: Date.now() });
        // Old enough to go early, long before a day is over.
        retention.settle(txId, "CONFIRMED", Date.now() - 600_000);
      }
      ids.push(...some);
    } catch (error) {
      refused = error;
    }
  }
  expect(refused).toBeInstanceOf(StoreError);
  expect(refused).toMatchObject({ code: "NO_SPACE", retryable: true });
  expect(String(refused)).toContain("storage quota is used up (NOSPACE)");
  const full = await store.storage();
  expect(full.alarms).toEqual(["NOSPACE"]);
  const collector = new GarbageCollector(
    {
      retention: { ...DEFAULT_RETENTION, compactionMarginRevisions: 0 },
      candidate: "drill",
      leaseTtlSeconds: 5,
      watchIntervalMs: 1_000,
    },
    {
      store,
      election: store,
      retention,
      audit: {
        position: () => store.revision(),
        lineage: async () => ({ ...(await store.lineage()), restarts: 0 }),
      },
      clock: systemClock(),
      logger: memoryLogger(),
      metrics: memoryMetrics(),
      random: { next: () => 0 },
    },
  );
  const report = await collector.runOnce();
  expect(report.disarmed).toBeGreaterThan(0);
  expect(report.after.alarms).toEqual([]);
  expect(report.after.dbSizeBytes).toBeLessThan(full.dbSizeBytes);
  await confirmAll([txIdOf("tx-after")]);
  // Since there is not enough to take, all that may go has gone, and each is still known to be decided.
  expect(report).toMatchObject({ earlyVotes: ids.length, earlyRecords: ids.length });
  for (const txId of ids) {
    const { snapshot } = await store.read(txId);
    expect(snapshot).toMatchObject({ status: null, decision: { kind: "SUBMIT", value: SEVEN } });
    expect(isArchived(snapshot)).toBe(true);
  }
  expect(await raw.getAll().prefix("ballast/").count()).toBe(BALLAST_KEYS);
  raw.close();
  const [replayed = txIdOf("none")] = ids;
  const vote = fixture.vote(3, replayed, SEVEN);
  const { set, epochVersion } = await store.readConfig();
  expect(await castVotes(store, set, epochVersion, { txId: replayed, votes: [vote] })).toBeNull();
  expect((await store.read(replayed)).snapshot.votes.size).toBe(0);
}, 90_000);
