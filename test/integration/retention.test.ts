import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  bytesToHex,
  DEFAULT_PROTOCOL_CONFIG,
  DEFAULT_RETENTION,
  decide,
  decideClaim,
  decideConfirm,
  hash,
  isArchived,
  parseEvmAddress,
  parseValue,
  type TxId,
  type TxWrites,
  unwrap,
  utf8,
} from "@quorate/core";
import { type EtcdCluster, type PostgresServer, startEtcd, startPostgres } from "@quorate/devkit";
import { GarbageCollector, Projector, submitterMetrics } from "@quorate/engine";
import type { NewSubmission } from "@quorate/ports";
import { createEtcdTallyStore, type EtcdTallyStore } from "@quorate/store-etcd";
import {
  createAuditLog,
  createPool,
  createRetentionStore,
  createSubmissionStore,
  migrate,
} from "@quorate/store-postgres";
import { systemClock } from "@quorate/telemetry";
import {
  castVotes,
  memoryLogger,
  memoryMetrics,
  TallyFixture,
  testClusterId,
  txIdOf,
} from "@quorate/testkit";
import { afterAll, beforeAll, expect, test } from "vitest";

const DAY_MS = 86_400_000;
const SEVEN = unwrap(parseValue(7n));
const SENDER = { chainId: 31_337, address: unwrap(parseEvmAddress(`0x${"11".repeat(20)}`)) };
const SCHEMA = "quorate_retention";
const clusterId = testClusterId("retention");
const fixture = new TallyFixture(clusterId, 4);
const clock = systemClock();
const logger = memoryLogger();

let directory: string;
let etcd: EtcdCluster;
let postgres: PostgresServer;
let store: EtcdTallyStore;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "quorate-retention-"));
  etcd = await startEtcd({ dataDir: join(directory, "etcd"), members: 1 });
  postgres = await startPostgres({ dataDir: join(directory, "postgres") });
  await migrate({ url: postgres.url, schema: SCHEMA, logger });
  store = createEtcdTallyStore(
    { hosts: etcd.endpoints, clusterId, requestTimeoutMs: 5_000, dialTimeoutMs: 10_000 },
    { clock, logger },
  );
  await store.start();
  await store.initCluster(fixture.set(3));
});
afterAll(async () => {
  await store?.stop();
  await postgres?.stop();
  await etcd?.stop();
  await rm(directory, { recursive: true, force: true });
});

async function commit(txId: TxId, writes: TxWrites | null): Promise<void> {
  if (writes === null) throw new Error("there is something to commit");
  const { epochVersion } = await store.readConfig();
  const { version } = await store.read(txId);
  const [outcome] = await store.commit([{ version, writes }], epochVersion);
  expect(outcome?.kind).toBe("committed");
}

async function vote(txId: TxId, ...voters: readonly number[]): Promise<TxWrites | null> {
  const { set, epochVersion } = await store.readConfig();
  const votes = voters.map((i) => fixture.vote(i, txId, SEVEN));
  return castVotes(store, set, epochVersion, { txId, votes });
}

async function confirm(txId: TxId): Promise<void> {
  await vote(txId, 0, 1, 2);
  const { snapshot } = await store.read(txId);
  const claim = decideClaim(snapshot, fixture.set(3), fixture.verify);
  await commit(txId, claim.kind === "claim" ? claim.writes : null);
  const chain = { txHash: `0x${"22".repeat(32)}`, blockNumber: "5" };
  await commit(txId, decideConfirm((await store.read(txId)).snapshot, chain));
}

test("what both servers hold of a confirmed transaction goes in its time, and its id is taken for ever", async () => {
  const pool = createPool({ url: postgres.url, schema: SCHEMA, logger });
  const audit = createAuditLog(pool);
  const submissions = createSubmissionStore(pool);
  const metrics = memoryMetrics();
  const stop = new AbortController();
  const projector = new Projector({
    store,
    audit,
    clock,
    logger,
    metrics: submitterMetrics(metrics),
    verify: fixture.verify,
  });
  const projecting = projector.run({ signal: stop.signal });
  projecting.catch(() => {});
  const untilProjected = async (): Promise<void> => {
    const revision = await store.revision();
    const untilMs = Date.now() + 20_000;
    while (((await audit.position()) ?? 0n) < revision) {
      if (Date.now() > untilMs) throw new Error("history does not follow");
      await clock.sleep(20);
    }
  };
  /** A collection as it would be after so many days. */
  const collectAfter = async (days: number): ReturnType<GarbageCollector["runOnce"]> => {
    const aged = (ms: number): number => Math.max(0, ms - days * DAY_MS);
    const { votesMs, recordsMs, submissionsMs, voteHistoryMs } = DEFAULT_RETENTION;
    const collector = new GarbageCollector(
      {
        retention: {
          ...DEFAULT_RETENTION,
          votesMs: aged(votesMs),
          recordsMs: aged(recordsMs),
          submissionsMs: aged(submissionsMs),
          voteHistoryMs: aged(voteHistoryMs),
          compactionMarginRevisions: 0,
        },
        candidate: "test",
        leaseTtlSeconds: 5,
        watchIntervalMs: 1_000,
      },
      {
        store,
        election: store,
        retention: createRetentionStore(pool),
        audit,
        clock,
        logger,
        metrics: memoryMetrics(),
        random: { next: () => 0 },
      },
    );
    return collector.runOnce();
  };

  const ids = ["tx-1", "tx-2"].map(txIdOf);
  const [first = txIdOf("none"), unfinished = txIdOf("none")] = ids;
  const rows = ids.map(
    (txId): NewSubmission => ({
      txId,
      key: `0x${bytesToHex(hash(utf8(txId)))}`,
      value: SEVEN,
      epoch: fixture.set(3).epoch,
      decisionRevision: 1n,
    }),
  );
  for (const txId of ids) await confirm(txId);
  await submissions.enqueue(rows, SENDER);
  const lease = await submissions.becomeLeader(SENDER, 0n);
  await submissions.markAlreadyRecorded(lease, first, 5n);
  await submissions.markConfirmed([first]);
  await untilProjected();

  expect(await collectAfter(2)).toMatchObject({ purgedVotes: 1, purgedRecords: 0, kept: 0 });
  await untilProjected();
  const last = await collectAfter(91);
  expect(last).toMatchObject({
    purgedVotes: 0,
    purgedRecords: 1,
    archivedSubmissions: 1,
    retiredVotes: 6,
    skipped: null,
  });
  expect(last.compactedRevision).toBeGreaterThan(1n);
  // What PostgreSQL may still have to submit is whole, whatever its age and whatever etcd says.
  expect((await store.read(unfinished)).snapshot.votes.size).toBe(3);
  expect((await submissions.get(unfinished))?.state).toBe("QUEUED");
  // Nothing is left of the other but that it was.
  const { snapshot } = await store.read(first);
  expect(isArchived(snapshot)).toBe(true);
  expect(await vote(first, 3)).toBeNull();
  const context = {
    set: fixture.set(3),
    config: DEFAULT_PROTOCOL_CONFIG,
    bans: new Map(),
    silenceStreaks: new Map(),
    verify: fixture.verify,
  };
  const votes = [fixture.vote(3, first, SEVEN)];
  expect(decide(snapshot, { votes, nowMs: 0, deadlinePassed: false }, context).outcomes).toEqual([
    { kind: "REFUSED", code: "ARCHIVED" },
  ]);
  expect(await submissions.enqueue(rows.slice(0, 1), SENDER)).toEqual([
    { kind: "archived", storedValue: SEVEN },
  ]);
  // History goes on over purges and compaction.
  await confirm(txIdOf("tx-3"));
  await untilProjected();
  stop.abort(new Error("the test is over"));
  await projecting.catch(() => {});
  await pool.end();
});
