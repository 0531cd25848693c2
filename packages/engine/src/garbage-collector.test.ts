import {
  DEFAULT_RETENTION,
  decideClaim,
  decideConfirm,
  isArchived,
  parseValue,
  type RetentionOptions,
  type TxId,
  type TxWrites,
  unwrap,
} from "@quorate/core";
import type { Clock, TallyStorage } from "@quorate/ports";
import {
  castVotes,
  createMemoryRetentionStore,
  type MemoryLogger,
  type MemoryMetrics,
  MemoryTallyStore,
  memoryLogger,
  memoryMetrics,
  SharedTally,
  SimClock,
  TallyFixture,
  testClusterId,
  txIdOf,
} from "@quorate/testkit";
import { expect, test } from "vitest";
import { GarbageCollector, type GcReport } from "./garbage-collector.ts";

const SEVEN = unwrap(parseValue(7n));
const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

/** A tally with its history, and a collector over them, under one simulated clock. */
class GarbageWorld {
  readonly clock = new SimClock();
  readonly shared = new SharedTally({ clock: this.clock });
  readonly store = new MemoryTallyStore(this.shared, { clock: this.clock });
  readonly retention = createMemoryRetentionStore({ clock: this.clock });
  readonly fixture = new TallyFixture(testClusterId("garbage"), 4);
  readonly logger: MemoryLogger = memoryLogger();
  readonly metrics: MemoryMetrics = memoryMetrics();
  /** Of the projector; follows the store when it is "now". */
  position: bigint | null | "now" = "now";
  lineageId: string | null = "same";
  /** Called at each fault point. */
  fault: (name: string) => void = () => {};
  readonly compactions: bigint[] = [];
  defragmentations = 0;
  defragmentMs = 0;
  /** By how much the collector's clock is wrong. */
  skewMs = 0;
  /** Bytes in use by what was not compacted away; null: as the store says. */
  storage: (() => TallyStorage) | null = null;

  static async open(): Promise<GarbageWorld> {
    const world = new GarbageWorld();
    await world.store.initCluster(world.fixture.set(3));
    return world;
  }

  collector(
    options: Partial<RetentionOptions> = {},
    candidate = "one",
    metrics = this.metrics,
    turn = 0,
  ): GarbageCollector {
    const { store, clock, logger, retention } = this;
    const skewed: Clock = {
      nowMs: () => clock.nowMs() + this.skewMs,
      monotonicMs: () => clock.monotonicMs(),
      sleep: (ms, call) => clock.sleep(ms, call),
      schedule: (ms, task) => clock.schedule(ms, task),
    };
    const lineage = async (): Promise<{ id: string; revision: bigint }> => ({
      id: "same",
      revision: this.shared.revision,
    });
    return new GarbageCollector(
      {
        retention: { ...DEFAULT_RETENTION, compactionMarginRevisions: 0, ...options },
        candidate,
        leaseTtlSeconds: 10,
        watchIntervalMs: 30_000,
        pageMax: 1,
      },
      {
        store: {
          purge: (requests, call) => store.purge(requests, call),
          countTransactions: (call) => store.countTransactions(call),
          storage: async (call) => this.storage?.() ?? (await store.storage(call)),
          compact: async (revision, call) => {
            this.compactions.push(revision);
            return store.compact(revision, call);
          },
          defragment: async (call) => {
            this.defragmentations++;
            await clock.sleep(this.defragmentMs);
            return store.defragment(call);
          },
          disarm: (call) => store.disarm(call),
          revision: (call) => store.revision(call),
          lineage,
        },
        election: store,
        retention,
        audit: {
          position: async () => (this.position === "now" ? this.shared.revision : this.position),
          lineage: async () => ({ id: this.lineageId, restarts: 0 }),
        },
        clock: skewed,
        logger,
        metrics,
        random: { next: () => turn },
        fault: (name) => this.fault(name),
      },
    );
  }

  /** Runs one collection, with the clock moving for its waits. */
  async collect(options: Partial<RetentionOptions> = {}): Promise<GcReport> {
    const collecting = this.collector(options, "one", memoryMetrics()).runOnce();
    return this.until(collecting);
  }

  async until<T>(promise: Promise<T>): Promise<T> {
    let ended = false;
    const done = promise.finally(() => {
      ended = true;
    });
    done.catch(() => {});
    for (let i = 0; i < 10_000 && !ended; i++) await this.clock.advance(ended ? 0 : 50);
    return done;
  }

  async #commit(txId: TxId, writes: TxWrites): Promise<void> {
    const { epochVersion } = await this.store.readConfig();
    const { version } = await this.store.read(txId);
    await this.store.commit([{ version, writes }], epochVersion);
  }

  async vote(name: string, ...voters: readonly number[]): Promise<TxId> {
    const txId = txIdOf(name);
    const { epochVersion, set } = await this.store.readConfig();
    const votes = voters.map((i) => this.fixture.vote(i, txId, SEVEN));
    await castVotes(this.store, set, epochVersion, { txId, votes });
    return txId;
  }

  /** Confirmed now, in the tally, on the chain and in history. */
  async confirm(name: string): Promise<TxId> {
    const txId = await this.vote(name, 0, 1, 2);
    const { set } = await this.store.readConfig();
    const claim = decideClaim((await this.store.read(txId)).snapshot, set, this.fixture.verify);
    if (claim.kind !== "claim") throw new Error(`expected a claim, got ${claim.kind}`);
    await this.#commit(txId, claim.writes);
    const chain = { txHash: "0x11", blockNumber: "1" };
    const writes = decideConfirm((await this.store.read(txId)).snapshot, chain);
    if (writes === null) throw new Error("a claimed transaction is confirmed");
    await this.#commit(txId, writes);
    this.retention.submit({ txId, confirmedAtMs: this.clock.nowMs() });
    this.retention.settle(txId, "CONFIRMED", this.clock.nowMs());
    return txId;
  }

  async left(txId: TxId): Promise<"all" | "status" | "decision" | "nothing"> {
    const { snapshot } = await this.store.read(txId);
    if (snapshot.votes.size > 0) return "all";
    if (snapshot.status !== null) return "status";
    return isArchived(snapshot) ? "decision" : "nothing";
  }
}

test("votes go a day after confirmation, status and record after a week, and the decision never", async () => {
  const world = await GarbageWorld.open();
  const txId = await world.confirm("tx-1");
  await world.clock.advance(DAY_MS - HOUR_MS);
  expect(await world.collect()).toMatchObject({ purgedVotes: 0, purgedRecords: 0 });
  expect(await world.left(txId)).toBe("all");
  await world.clock.advance(2 * HOUR_MS);
  expect(await world.collect()).toMatchObject({ purgedVotes: 1, purgedRecords: 0 });
  expect(await world.left(txId)).toBe("status");
  await world.clock.advance(6 * DAY_MS);
  expect(await world.collect()).toMatchObject({ purgedVotes: 0, purgedRecords: 1 });
  expect(await world.left(txId)).toBe("decision");
  await world.clock.advance(400 * DAY_MS);
  await world.collect();
  expect(await world.left(txId)).toBe("decision");
});

test("a collector whose clock is wrong takes nothing before its time", async () => {
  const world = await GarbageWorld.open();
  const txId = await world.confirm("tx-1");
  world.retention.recordVote(txId, world.clock.nowMs());
  await world.clock.advance(HOUR_MS);
  for (const skewMs of [400 * DAY_MS, -400 * DAY_MS]) {
    world.skewMs = skewMs;
    expect(await world.collect()).toMatchObject({
      purgedVotes: 0,
      purgedRecords: 0,
      archivedSubmissions: 0,
      retiredVotes: 0,
    });
  }
  expect(await world.left(txId)).toBe("all");
  await world.clock.advance(100 * DAY_MS);
  expect(await world.collect()).toMatchObject({
    purgedVotes: 1,
    purgedRecords: 1,
    retiredVotes: 1,
  });
});

test("what is not settled, not confirmed in history, or voted on after what history has seen is kept", async () => {
  const world = await GarbageWorld.open();
  const open = await world.vote("tx-open", 0);
  const unconfirmed = await world.confirm("tx-unconfirmed");
  world.retention.submit({ txId: unconfirmed, confirmedAtMs: null });
  const late = await world.confirm("tx-late");
  world.position = world.shared.revision;
  await world.vote("tx-late", 3);
  await world.clock.advance(8 * DAY_MS);
  expect(await world.collect()).toMatchObject({ purgedVotes: 0, purgedRecords: 0, kept: 2 });
  for (const txId of [open, unconfirmed, late]) expect(await world.left(txId)).toBe("all");
  world.position = "now";
  expect(await world.collect()).toMatchObject({ purgedVotes: 1, purgedRecords: 1, kept: 0 });
  expect(await world.left(late)).toBe("decision");
});

test("a collection that ends at any step is made good by the next, and a finished one leaves nothing to do", async () => {
  const points: string[] = [];
  for (let crashAt = 0; ; crashAt++) {
    const world = await GarbageWorld.open();
    const ids: TxId[] = [];
    for (let i = 0; i < 3; i++) ids.push(await world.confirm(`tx-${i}`));
    for (const txId of ids) world.retention.recordVote(txId, world.clock.nowMs());
    await world.clock.advance(91 * DAY_MS);
    let passed = 0;
    let crashed: string | null = null;
    world.fault = (name) => {
      if (passed++ !== crashAt) return;
      crashed = name;
      throw new Error(`crash at ${name}`);
    };
    if (crashAt > 50) throw new Error("a collection has an end");
    await world.collect().catch(() => {});
    if (crashed !== null) points.push(crashed);
    world.fault = () => {};
    await world.collect();
    for (const txId of ids) {
      expect(await world.left(txId)).toBe("decision");
      expect(world.retention.purgedOf(txId)).toBe("all");
    }
    expect(world.retention.active).toEqual([]);
    expect([...world.retention.archived].sort()).toEqual([...ids].sort());
    expect(world.retention.votes).toEqual([]);
    const revision = world.shared.revision;
    expect(await world.collect()).toMatchObject({
      purgedVotes: 0,
      purgedRecords: 0,
      archivedSubmissions: 0,
      retiredVotes: 0,
    });
    expect(world.shared.revision).toBe(revision);
    if (crashed === null) break;
  }
  expect([...new Set(points)].sort()).toEqual([
    "gc.archived",
    "gc.compacted",
    "gc.noted",
    "gc.purged",
    "gc.retired",
  ]);
});

test("compaction stays behind the projector and leaves the newest revisions", async () => {
  const world = await GarbageWorld.open();
  for (let i = 0; i < 10; i++) await world.confirm(`tx-${i}`);
  world.position = 5n;
  expect((await world.collect()).compactedRevision).toBe(5n);
  world.position = "now";
  const { revision } = world.shared;
  const margin = { compactionMarginRevisions: 7 };
  expect((await world.collect(margin)).compactedRevision).toBe(revision - 7n);
  expect((await world.collect(margin)).compactedRevision).toBeNull();
});

test("while history is not of this etcd nothing is taken from it", async () => {
  for (const [position, lineageId, why] of [
    [null, "same", "history has not begun"],
    ["now", "other", "history is of another etcd"],
    [10_000n, "same", "history is ahead of etcd, which was restored"],
  ] as const) {
    const world = await GarbageWorld.open();
    const txId = await world.confirm("tx-1");
    await world.clock.advance(40 * DAY_MS);
    Object.assign(world, { position, lineageId });
    expect(await world.collect()).toMatchObject({ skipped: why, compactedRevision: null });
    expect(await world.left(txId)).toBe("all");
    expect(world.compactions).toEqual([]);
    // PostgreSQL's own rows have their own clock.
    expect(world.retention.archived).toEqual([txId]);
  }
});

/** 1,000 bytes a transaction whose votes are there and 200 without them, of a quota; what is purged counts until it is compacted away. */
function sized(world: GarbageWorld, ids: readonly TxId[], quotaBytes = 10_000): void {
  const present = new Map(ids.map((txId) => [txId, 1_000]));
  let compacted = 0;
  world.storage = () => {
    if (world.compactions.length > compacted) {
      compacted = world.compactions.length;
      for (const txId of ids) {
        const tx = world.shared.transactions.get(txId);
        if (tx === undefined) present.set(txId, 0);
        else if (tx.votes.size === 0) present.set(txId, 200);
      }
    }
    const inUse = [...present.values()].reduce((sum, n) => sum + n, 0);
    return { dbSizeBytes: quotaBytes * 0.9, dbSizeInUseBytes: inUse, quotaBytes, alarms: [] };
  };
}

test("above the high mark what is final goes early, oldest first, and only until below the low mark", async () => {
  const world = await GarbageWorld.open();
  const ids: TxId[] = [];
  for (let i = 0; i < 32; i++) ids.push(await world.confirm(`tx-${10 + i}`));
  await world.clock.advance(HOUR_MS);
  sized(world, ids, 40_000);
  const report = await world.collect();
  // Sixteen pages of one make a pass.
  expect(report).toMatchObject({ earlyVotes: 16, purgedVotes: 0, earlyRecords: 0 });
  expect(await Promise.all(ids.map((txId) => world.left(txId)))).toEqual(
    ids.map((_, i) => (i < 16 ? "status" : "all")),
  );
  expect(report.after.dbSizeInUseBytes).toBe(19_200);
  expect(report.defragmented).toBe(true);
});

test("what goes early is forgotten only when watchers had fifteen seconds to see it", async () => {
  const world = await GarbageWorld.open();
  const ids: TxId[] = [];
  for (let i = 0; i < 8; i++) ids.push(await world.confirm(`tx-${i}`));
  const { revision } = world.shared;
  await world.clock.advance(HOUR_MS);
  sized(world, ids);
  let purgedAtMs = 0;
  const forgottenAfterMs: number[] = [];
  world.fault = (name) => {
    if (name === "gc.purged") purgedAtMs = world.clock.monotonicMs();
    if (name === "gc.compacted" && (world.compactions.at(-1) ?? 0n) > revision)
      forgottenAfterMs.push(world.clock.monotonicMs() - purgedAtMs);
  };
  await world.collect({ compactionMarginRevisions: 10_000 });
  expect(forgottenAfterMs.length).toBeGreaterThan(0);
  expect(Math.min(...forgottenAfterMs)).toBeGreaterThanOrEqual(15_000);
});

test("what was settled only minutes ago is kept, however full the tally is", async () => {
  const world = await GarbageWorld.open();
  const ids: TxId[] = [];
  for (let i = 0; i < 8; i++) {
    ids.push(await world.confirm(`tx-${i}`));
    await world.clock.advance(60_000);
  }
  sized(world, ids);
  // Eight minutes after the first: three are older than five.
  expect(await world.collect()).toMatchObject({ earlyVotes: 3, earlyRecords: 3 });
  expect(await Promise.all(ids.map((txId) => world.left(txId)))).toEqual(
    ids.map((_, i) => (i < 3 ? "decision" : "all")),
  );
});

test("below the high mark nothing goes early", async () => {
  const world = await GarbageWorld.open();
  const ids: TxId[] = [];
  for (let i = 0; i < 7; i++) ids.push(await world.confirm(`tx-${i}`));
  await world.clock.advance(HOUR_MS);
  sized(world, ids);
  expect(await world.collect()).toMatchObject({ earlyVotes: 0 });
  expect(await world.left(ids[0] ?? txIdOf("none"))).toBe("all");
});

test("a tally that is too full of what may not go is told of, and kept", async () => {
  const world = await GarbageWorld.open();
  const ids: TxId[] = [];
  for (let i = 0; i < 9; i++) ids.push(await world.vote(`tx-${i}`, 0));
  await world.clock.advance(HOUR_MS);
  sized(world, ids);
  expect(await world.collect()).toMatchObject({ earlyVotes: 0, earlyRecords: 0 });
  expect(world.logger.records.map(({ message }) => message)).toContain(
    "etcd is fuller than it should be, and nothing more in it may go yet",
  );
});

test("a full etcd is compacted, defragmented and disarmed, whoever leads", async () => {
  const world = await GarbageWorld.open();
  await world.confirm("tx-1");
  const leader = world.store.campaign(
    "garbage-collector",
    "other",
    10,
    () => new Promise(() => {}),
  );
  leader.catch(() => {});
  const stop = new AbortController();
  const running = world.collector().run({ signal: stop.signal });
  await world.clock.advance(60_000);
  expect(world.compactions).toEqual([]);
  world.shared.storage = {
    dbSizeBytes: 1_000,
    dbSizeInUseBytes: 400,
    quotaBytes: 1_000,
    alarms: ["NOSPACE"],
  };
  for (let i = 0; i < 10; i++) await world.clock.advance(10_000);
  expect(world.shared.storage).toMatchObject({ alarms: [], dbSizeBytes: 400 });
  expect(world.compactions.length).toBeGreaterThan(0);
  stop.abort(new Error("the test is over"));
  await running;
});

test("of the collectors that see the alarm one defragments, and the others look again in their turn", async () => {
  const world = await GarbageWorld.open();
  await world.confirm("tx-1");
  world.shared.storage = {
    dbSizeBytes: 1_000,
    dbSizeInUseBytes: 400,
    quotaBytes: 1_000,
    alarms: ["NOSPACE"],
  };
  world.defragmentMs = 2_000;
  // The second sees the alarm before the first is done, the third after it.
  const collecting = [0, 0.25, 0.99].map((turn) =>
    world.collector({}, `at ${turn}`, memoryMetrics(), turn).runOnce(),
  );
  const reports = await world.until(Promise.all(collecting));
  expect(reports.map(({ disarmed }) => disarmed)).toEqual([1, 0, 0]);
  expect(world.defragmentations).toBe(1);
});

test("one of two collectors works, at the start and every hour, and says so in its metrics", async () => {
  const world = await GarbageWorld.open();
  await world.confirm("tx-1");
  const stop = new AbortController();
  const idle = memoryMetrics();
  const running = [
    world.collector().run({ signal: stop.signal }),
    world.collector({}, "two", idle).run({ signal: stop.signal }),
  ];
  for (let i = 0; i < 26 * 60; i++) await world.clock.advance(60_000);
  const { metrics } = world;
  expect(metrics.value("gc_runs_total", { outcome: "done" })).toBe(27);
  expect(idle.value("gc_runs_total", { outcome: "done" })).toBe(0);
  expect(metrics.value("gc_purged_total", { kind: "votes" })).toBe(1);
  expect(metrics.value("etcd_active_transactions", {})).toBe(1);
  expect(metrics.value("postgres_active_submissions", {})).toBe(1);
  expect(metrics.value("gc_last_success_timestamp_seconds", {})).toBeGreaterThan(0);
  stop.abort(new Error("the test is over"));
  await Promise.all(running);
});
