import type { Change } from "@quorate/ports";
import {
  createMemoryAuditLog,
  type MemoryAuditLog,
  type MemoryMetrics,
  MemoryTallyStore,
  memoryLogger,
  memoryMetrics,
  nodeAt,
  SharedTally,
  vote,
} from "@quorate/testkit";
import { afterEach, expect, test } from "vitest";
import { submitterMetrics } from "./catalogue.ts";
import { Projector, type ProjectorDependencies } from "./projector.ts";
import { tx, World } from "./test-world.ts";

let world: World;
const stops: AbortController[] = [];

afterEach(async () => {
  for (const stop of stops.splice(0)) stop.abort(new Error("the test is over"));
  await world.close();
});

function start(
  audit: MemoryAuditLog,
  {
    shared = world.shared,
    metrics = memoryMetrics(),
    ...options
  }: Partial<Pick<ProjectorDependencies, "fault" | "logger">> & {
    readonly shared?: SharedTally;
    readonly metrics?: MemoryMetrics;
  } = {},
): {
  readonly projector: Projector;
  readonly ended: Promise<unknown>;
  stop(): Promise<void>;
} {
  const stop = new AbortController();
  stops.push(stop);
  const projector = new Projector({
    store: new MemoryTallyStore(shared, { clock: world.clock }),
    audit,
    clock: world.clock,
    logger: memoryLogger(),
    metrics: submitterMetrics(metrics),
    verify: world.cluster.verify,
    ...options,
  });
  const ended = projector.run({ signal: stop.signal }).then(
    () => null,
    (error: unknown) => error,
  );
  return {
    projector,
    ended,
    stop: async () => {
      stop.abort(new Error("stopped"));
      await ended;
    },
  };
}

/** A history with votes, an equivocation, its ban, and an abort by silence. */
async function makeHistory(prefix: string): Promise<void> {
  const [node] = world.nodes;
  for (let i = 0; i < 5; i++) {
    node?.pipeline.offer(vote(world.cluster, i, `${prefix}-good`, 7));
    await world.clock.advance(20);
  }
  node?.pipeline.offer(vote(world.cluster, 0, `${prefix}-silent`, 7));
  await world.clock.advance(20);
  node?.pipeline.judgeDeadline(tx(`${prefix}-silent`), new Map(), 0);
  await world.clock.advance(20);
}

function rowsOf(audit: MemoryAuditLog): Readonly<Record<string, readonly string[]>> {
  const { votes, violations, bans, transactions } = audit.records();
  return {
    votes: votes.map((v) => `${v.txId}/${v.nodeId}`),
    violations: violations.map((v) => `${v.txId}/${v.type}`),
    bans: bans.map((b) => b.peerId),
    transactions: transactions.map((t) => `${t.txId}=${t.status}`),
  };
}

/** An etcd restored from a snapshot of the world's as it was at a revision. */
function restoredFrom(revision: bigint, lineage: string): SharedTally {
  const restored = new SharedTally({ clock: world.clock }, lineage);
  for (;;) {
    const set = world.shared.changesAfter(restored.revision);
    if (set === null || set.revision > revision) return restored;
    restored.publish(set.changes);
  }
}

/** A vote that comes after a restore. */
function lateVote(txId: string): Change {
  const { peerId, ...signed } = vote(world.cluster, 0, txId, 7);
  return { kind: "vote", txId: tx(txId), vote: signed, peerId };
}

test("an etcd restored from an older snapshot is folded again, and what comes later is projected", async () => {
  world = await World.open({ running: 1 });
  const audit = createMemoryAuditLog();
  const first = start(audit);
  await makeHistory("a");
  await makeHistory("b");
  await first.stop();
  const before = audit.records();
  const restored = restoredFrom(8n, "restored");
  expect(world.shared.revision).toBeGreaterThan(10n);
  const logger = memoryLogger();
  const metrics = memoryMetrics();
  const second = start(audit, { logger, shared: restored, metrics });
  await world.clock.advance(1);
  const { bans, transactions, ...rest } = audit.records();
  expect(rest).toEqual({ ...rest, votes: before.votes, violations: before.violations });
  expect(transactions.map((t) => t.status)).toEqual(before.transactions.map((t) => t.status));
  expect(bans).toHaveLength(before.bans.length);
  expect(second.projector.position).toBe(restored.revision);
  restored.publish([lateVote("c")]);
  await world.clock.advance(1);
  expect(rowsOf(audit)["votes"]).toHaveLength(before.votes.length + 1);
  expect(logger.records.filter(({ level }) => level === "error")).toHaveLength(1);
  expect(metrics.value("history_restarts_total")).toBe(1);
});

test("bans that were lost with etcd are put back once, and those that were lifted are not", async () => {
  world = await World.open({ running: 1 });
  const [kept, lost, lifted] = [1, 2, 3].map((i) => nodeAt(world.cluster, i));
  if (kept === undefined || lost === undefined || lifted === undefined) throw new Error("none");
  const banOf = ({ peerId, nodeId }: typeof lost) =>
    ({
      peerId,
      nodeId,
      grade: "OPINION",
      reason: "LOW_REPUTATION",
      bannedAtMs: 1_000,
      evidence: { type: "LOW_REPUTATION", nodeId, score: 0.2, bound: 0.3, violations: [] },
    }) as const;
  await world.store.recordBan(banOf(kept));
  await world.store.recordBan(banOf(lifted));
  const snapshotAt = world.shared.revision;
  await world.store.recordBan(banOf(lost));
  const { peerId, nodeId } = lifted;
  await world.store.liftBan({
    peerId,
    nodeId,
    kind: "OPERATOR",
    by: "ada",
    reason: "its disk was replaced",
    liftedAtMs: 2_000,
    banReason: "LOW_REPUTATION",
  });
  const audit = createMemoryAuditLog();
  const first = start(audit);
  await world.clock.advance(1);
  await first.stop();
  const restored = restoredFrom(snapshotAt, "restored");
  // What the stream tells is only half of a store: what it holds is another.
  restored.bans.set(kept.peerId, { ban: banOf(kept), version: 1n });
  restored.bans.set(lifted.peerId, { ban: banOf(lifted), version: 1n });
  for (let round = 0; round < 2; round++) {
    const again = start(audit, { shared: restored });
    await world.clock.advance(1);
    await again.stop();
  }
  expect([...restored.bans.keys()].sort()).toEqual(
    [kept.peerId, lost.peerId, lifted.peerId].sort(),
  );
  expect(restored.revision).toBe(snapshotAt + 1n);
  expect(audit.records().bans).toHaveLength(3);
});

test("a ban that etcd has ended since is not taken for a lost one by an older database", async () => {
  world = await World.open({ running: 1 });
  const { peerId, nodeId } = nodeAt(world.cluster, 1);
  await world.store.recordBan({
    peerId,
    nodeId,
    grade: "OPINION",
    reason: "LOW_REPUTATION",
    bannedAtMs: 1_000,
    evidence: { type: "LOW_REPUTATION", nodeId, score: 0.2, bound: 0.3, violations: [] },
  });
  const audit = createMemoryAuditLog();
  const first = start(audit);
  await world.clock.advance(1);
  await first.stop();
  await world.store.liftBan({
    peerId,
    nodeId,
    kind: "OPERATOR",
    by: "ada",
    reason: "its disk was replaced",
    liftedAtMs: 2_000,
    banReason: "LOW_REPUTATION",
  });
  // As a restore leaves it.
  const at = { position: await audit.position(), restarts: 0 };
  await audit.beginLineage(at, { id: "restored from a backup", reason: null });
  const { revision } = world.shared;
  start(audit);
  await world.clock.advance(1);
  expect(await audit.lineage()).toEqual({ id: world.shared.lineage, restarts: 1 });
  expect(world.shared.revision).toBe(revision);
  expect(audit.records().bans).toEqual([]);
});

test("the same etcd gone back is noticed by its revision, and is not waited for", async () => {
  world = await World.open({ running: 1 });
  const audit = createMemoryAuditLog();
  const first = start(audit);
  await makeHistory("a");
  await first.stop();
  const back = restoredFrom(3n, world.shared.lineage);
  start(audit, { shared: back });
  back.publish([lateVote("c")]);
  await world.clock.advance(1);
  expect(rowsOf(audit)["votes"]).toContain("c/node-001");
  expect(await audit.lineage()).toEqual({ id: world.shared.lineage, restarts: 1 });
});

test("of a restored etcd whose beginning is compacted away the present state is recorded", async () => {
  world = await World.open({ running: 1 });
  const audit = createMemoryAuditLog();
  await audit.append(null, { revision: 3n, rows: [] });
  await audit.beginLineage({ position: 3n, restarts: 0 }, { id: "before", reason: null });
  await makeHistory("a");
  world.shared.compact(world.shared.revision);
  const { projector } = start(audit);
  await world.clock.advance(1);
  const clean = rowsOf(audit);
  expect(clean["votes"]).toHaveLength(6);
  expect(clean["transactions"]).toEqual(["a-good=THRESHOLD_REACHED", "a-silent=ABORTED_BYZANTINE"]);
  expect(projector.position).toBe(world.shared.revision);
  await makeHistory("b");
  await world.clock.advance(1);
  expect(rowsOf(audit)["votes"]).toHaveLength(12);
});

test("a first projector that comes after a compaction records the present state, and goes on", async () => {
  world = await World.open({ running: 1 });
  await makeHistory("a");
  world.shared.compact(world.shared.revision);
  const audit = createMemoryAuditLog();
  const { projector } = start(audit);
  await world.clock.advance(1);
  expect(rowsOf(audit)["votes"]).toHaveLength(6);
  expect(projector.position).toBe(world.shared.revision);
  expect(await audit.lineage()).toEqual({ id: world.shared.lineage, restarts: 0 });
  await makeHistory("b");
  expect(rowsOf(audit)["votes"]).toHaveLength(12);
});

test("the present state whose last reply was lost is adopted, though etcd has moved on since", async () => {
  world = await World.open({ running: 1 });
  await makeHistory("a");
  world.shared.compact(world.shared.revision);
  const audit = createMemoryAuditLog();
  const append = audit.append.bind(audit);
  let replies = 0;
  audit.append = async (expected, batch, options) => {
    const outcome = await append(expected, batch, options);
    if (batch.partial !== true && replies++ === 0) throw new Error("the reply is lost");
    return outcome;
  };
  const { projector } = start(audit);
  await world.clock.advance(1);
  await makeHistory("b");
  await world.clock.advance(60_000);
  expect(projector.position).toBe(world.shared.revision);
  expect(rowsOf(audit)["votes"]).toHaveLength(12);
});

test("when etcd is compacted beyond the position, that is told, and history begins again with the present state", async () => {
  world = await World.open({ running: 1 });
  const audit = createMemoryAuditLog();
  const first = start(audit);
  await makeHistory("a");
  await first.stop();
  await makeHistory("b");
  world.shared.compact(world.shared.revision);
  const logger = memoryLogger();
  const metrics = memoryMetrics();
  const { projector } = start(audit, { logger, metrics });
  await world.clock.advance(1);
  expect(rowsOf(audit)["votes"]).toHaveLength(12);
  expect(await audit.contradictions(1)).toEqual([]);
  expect(await audit.lineage()).toEqual({ id: world.shared.lineage, restarts: 1 });
  expect(metrics.value("history_restarts_total")).toBe(1);
  const errors = logger.records.filter(({ level }) => level === "error");
  expect(errors.map(({ message }) => message)).toEqual([
    expect.stringContaining("docs/RETENTION.md"),
  ]);
  await makeHistory("c");
  expect(projector.position).toBe(world.shared.revision);
  expect(rowsOf(audit)["votes"]).toHaveLength(18);
});
