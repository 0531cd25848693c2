import { LIMITS } from "@quorate/core";
import {
  createMemoryAuditLog,
  type MemoryAuditLog,
  MemoryTallyStore,
  memoryLogger,
  memoryMetrics,
  prng,
  vote,
} from "@quorate/testkit";
import { afterEach, expect, test } from "vitest";
import { submitterMetrics } from "./catalogue.ts";
import { Projector } from "./projector.ts";
import { tx, World } from "./test-world.ts";

let world: World;
const stops: AbortController[] = [];

afterEach(async () => {
  for (const stop of stops.splice(0)) stop.abort(new Error("the test is over"));
  await world.close();
});

function start(audit: MemoryAuditLog): {
  readonly projector: Projector;
  readonly ended: Promise<unknown>;
  stop(): Promise<void>;
} {
  const stop = new AbortController();
  stops.push(stop);
  const projector = new Projector({
    store: new MemoryTallyStore(world.shared, { clock: world.clock }),
    audit,
    clock: world.clock,
    logger: memoryLogger(),
    metrics: submitterMetrics(memoryMetrics()),
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
  node?.pipeline.judgeDeadline(tx(`${prefix}-silent`), new Map());
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

test("history is projected row by row, with the position it reaches", async () => {
  world = await World.open({ running: 1 });
  await makeHistory("a");
  world.nodes[0]?.pipeline.offer(vote(world.cluster, 0, "a-good", 8));
  await world.clock.advance(20);
  const audit = createMemoryAuditLog();
  const { projector } = start(audit);
  await world.clock.advance(1);
  const rows = rowsOf(audit);
  expect(rows["votes"]).toHaveLength(6);
  // Nobody had claimed it yet, so the equivocation aborts what had reached the threshold.
  expect(rows["transactions"]).toEqual(["a-good=ABORTED_BYZANTINE", "a-silent=ABORTED_BYZANTINE"]);
  expect(rows["violations"]).toContain("a-good/DOUBLE_VOTING");
  expect(rows["bans"]).toHaveLength(1);
  expect(projector.position).toBe(world.shared.revision);
  expect(audit.records().votes[0]?.signature).toEqual(
    vote(world.cluster, 0, "a-good", 7).proof.signature,
  );
});

test("each change is recorded once, over failed appends and lost replies", async () => {
  world = await World.open({ running: 1 });
  const random = prng(7);
  let faults = 0;
  const fail = (): void => {
    if (random.below(3) !== 0) return;
    faults++;
    throw new Error("the connection is gone");
  };
  const audit = createMemoryAuditLog({ faults: { before: fail, after: fail } });
  start(audit);
  for (const prefix of ["a", "b", "c", "d"]) await makeHistory(prefix);
  await world.clock.advance(60_000);
  expect(faults).toBeGreaterThan(3);
  const clean = createMemoryAuditLog();
  start(clean);
  await world.clock.advance(1);
  expect(audit.records()).toEqual(clean.records());
  expect(clean.records().votes).toHaveLength(24);
});

test("a projector that starts again goes on where the last one ended", async () => {
  world = await World.open({ running: 1 });
  const audit = createMemoryAuditLog();
  const first = start(audit);
  await makeHistory("a");
  await first.stop();
  const before = await audit.position();
  await makeHistory("b");
  expect(await audit.position()).toBe(before);
  // What it has already need not be there any more.
  if (before !== null) world.shared.compact(before);
  start(audit);
  await world.clock.advance(1);
  expect(rowsOf(audit)["votes"]).toHaveLength(12);
  expect(await audit.position()).toBe(world.shared.revision);
});

test("while the database is away nothing is lost, and the watch is held back", async () => {
  world = await World.open({ running: 1 });
  let away = true;
  const audit = createMemoryAuditLog({
    faults: {
      before: (operation) => {
        if (away && operation === "append") throw new Error("away");
      },
    },
  });
  start(audit);
  for (let i = 0; i < 1_500; i++) world.shared.publish([]);
  await makeHistory("a");
  await world.clock.advance(30_000);
  expect(await audit.position()).toBeNull();
  away = false;
  await world.clock.advance(10_000);
  expect(rowsOf(audit)["votes"]).toHaveLength(6);
  expect(await audit.position()).toBe(world.shared.revision);
});

test("a second projector is refused as stale and ends, having recorded nothing twice", async () => {
  world = await World.open({ running: 1 });
  const audit = createMemoryAuditLog();
  const one = start(audit);
  const two = start(audit);
  await makeHistory("a");
  await world.clock.advance(100);
  const errors = [await Promise.race([one.ended, two.ended])].map(String);
  expect(errors).toEqual([expect.stringContaining("another projector moved the position")]);
  expect(rowsOf(audit)["votes"]).toHaveLength(6);
});

test("history that was compacted away before it was projected is an error, not a gap", async () => {
  world = await World.open({ running: 1 });
  await makeHistory("a");
  world.shared.compact(world.shared.revision);
  const { ended } = start(createMemoryAuditLog());
  await world.clock.advance(1);
  expect(String(await ended)).toContain("compacted away");
});

test("the largest value survives the way into history", async () => {
  world = await World.open({ running: 1 });
  world.nodes[0]?.pipeline.offer(vote(world.cluster, 0, "tx", LIMITS.valueMax));
  await world.clock.advance(20);
  const audit = createMemoryAuditLog();
  start(audit);
  await world.clock.advance(1);
  expect(audit.records().votes[0]?.value).toBe(LIMITS.valueMax);
});
