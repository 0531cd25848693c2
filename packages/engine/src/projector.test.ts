import {
  doubleVotingEvidence,
  LIMITS,
  makeTrusteeSet,
  parseEpoch,
  REPUTATION,
  type Receipt,
  toBase64,
  unwrap,
} from "@quorate/core";
import type { StandaloneViolation } from "@quorate/ports";
import {
  createMemoryAuditLog,
  type MemoryAuditLog,
  MemoryTallyStore,
  memoryLogger,
  memoryMetrics,
  nodeAt,
  prng,
  testCluster,
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
  options: Partial<Pick<ProjectorDependencies, "fault" | "logger">> = {},
): {
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

function receiptOf(sequence: number): Receipt {
  const { nodeId, peerId } = nodeAt(world.cluster, 0);
  return {
    clusterId: world.cluster.set.clusterId,
    nodeId,
    peerId,
    sequence,
    runStartedAtMs: 1,
    issuedAtMs: 2,
    reason: "quota",
    count: 1,
    firstAtMs: 2,
    lastAtMs: 2,
    messageHash: toBase64(new Uint8Array(32)),
    txId: null,
    voter: null,
    author: null,
    forwarder: null,
    signature: toBase64(new Uint8Array(64)),
  };
}

/** A double vote by a trustee in one transaction, as a violation in that or another one. */
function violationOf(
  index: number,
  txId: string,
  votedTxId: string,
  epoch = 1,
): StandaloneViolation["violation"] {
  const { nodeId, peerId } = nodeAt(world.cluster, index);
  const cluster = testCluster({ trustees: 5, threshold: 4, epoch });
  const [first, second] = [7, 8].map((value) => vote(cluster, index, votedTxId, value));
  if (first === undefined || second === undefined) throw new Error("there are two votes");
  const evidence = doubleVotingEvidence(first, second);
  const type = "DOUBLE_VOTING";
  return { txId: tx(txId), peerId, nodeId, type, grade: "PROOF", evidence, detectedAtMs: 1 };
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

test("bans with their evidence, ends of bans and receipts come into history as they were", async () => {
  world = await World.open({ running: 1 });
  const { nodeId, peerId } = nodeAt(world.cluster, 1);
  const who = { peerId, nodeId, grade: "OPINION" } as const;
  const ban = {
    ...who,
    reason: "LOW_REPUTATION",
    bannedAtMs: 1_000,
    evidence: { type: "LOW_REPUTATION", nodeId, score: 0.2, bound: 0.3, violations: [] },
  } as const;
  const lift = {
    peerId,
    nodeId,
    kind: "OPERATOR",
    by: "ada",
    reason: "its disk was replaced",
    liftedAtMs: 2_000,
    banReason: "LOW_REPUTATION",
  } as const;
  const receipts = [0, 1].map((sequence) => receiptOf(sequence));
  await world.store.recordBan(ban);
  const audit = createMemoryAuditLog();
  start(audit);
  await world.clock.advance(1);
  const [row] = audit.records().bans;
  expect(row).toMatchObject({ peerId, nodeId, reason: "LOW_REPUTATION", bannedAtMs: 1_000 });
  expect(JSON.parse(row?.evidenceJson ?? "")).toEqual(ban.evidence);
  await world.store.recordReceipts(receipts);
  await world.store.liftBan(lift);
  await world.clock.advance(1);
  const records = audit.records();
  expect(records.bans).toEqual([]);
  expect(records.lifts).toMatchObject([{ ...lift, kind: "lift", liftKind: "OPERATOR" }]);
  expect(records.receipts.map(({ receipt }) => receipt)).toEqual(receipts);
});

test("a violation that its evidence backs lowers a score, and one that somebody made up does not", async () => {
  world = await World.open({ running: 1 });
  const logger = memoryLogger();
  const audit = createMemoryAuditLog();
  start(audit, { logger });
  // Signed in an epoch that comes after the projector has read the trustees for the first time.
  const forged = violationOf(0, "tx-forged", "tx-other");
  world.shared.publish([{ kind: "violation", violation: forged }]);
  await world.clock.advance(1);
  const { set, epochVersion } = await world.config();
  const epoch = unwrap(parseEpoch(2));
  const next = unwrap(makeTrusteeSet({ ...set, epoch }));
  expect(await world.store.changeTrustees(next, epochVersion)).toBe("changed");
  const genuine = violationOf(1, "tx-genuine", "tx-genuine", 2);
  world.shared.publish([{ kind: "violation", violation: genuine }]);
  await world.clock.advance(1);
  const { violations } = audit.records();
  expect(violations.map((v) => [v.txId, v.borneOut])).toEqual([
    ["tx-forged", false],
    ["tx-genuine", true],
  ]);
  const proven = (await audit.reputations()).filter(({ state }) => state.proven);
  expect(proven.map(({ peerId }) => peerId)).toEqual([nodeAt(world.cluster, 1).peerId]);
  expect(logger.records.filter(({ level }) => level === "error")).toHaveLength(1);
});

test("who votes the decided value is forgiven a little, once", async () => {
  world = await World.open({ running: 1 });
  const audit = createMemoryAuditLog();
  start(audit);
  const { nodeId, peerId } = nodeAt(world.cluster, 1);
  const txId = tx("tx-silent");
  world.shared.publish([
    {
      kind: "violation",
      violation: {
        txId,
        peerId,
        nodeId,
        type: "SILENT_FAILURE",
        grade: "OPINION",
        evidence: { type: "SILENT_FAILURE", nodeId, openedAtMs: 0, deadlineAtMs: 1, voted: [] },
        detectedAtMs: 1,
      },
    },
  ]);
  for (let i = 0; i < 5; i++) world.nodes[0]?.pipeline.offer(vote(world.cluster, i, "tx-good", 7));
  await world.clock.advance(20);
  const { record } = await world.snapshot("tx-good");
  if (record === null) throw new Error("tx-good has a record");
  for (const status of ["SUBMITTED", "CONFIRMED"] as const) {
    world.shared.publish([
      { kind: "status", txId: tx("tx-good"), status, created: false },
      { kind: "record", txId: tx("tx-good"), record },
    ]);
    await world.clock.advance(20);
  }
  const found = (await audit.reputations()).find((row) => row.peerId === peerId);
  expect(found?.state.penalty).toBe(0.1 * REPUTATION.goodConductFactor);
});

test("a batch passes both fault points, the second once it is recorded", async () => {
  world = await World.open({ running: 1 });
  const audit = createMemoryAuditLog();
  const passed: string[] = [];
  start(audit, { fault: (name) => void passed.push(`${name} ${audit.records().votes.length}`) });
  await world.clock.advance(1);
  passed.length = 0;
  world.nodes[0]?.pipeline.offer(vote(world.cluster, 0, "tx", 7));
  await world.clock.advance(20);
  expect(passed).toEqual(["projector.before-append 0", "projector.after-append 1"]);
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

test("a projector that is stopped far behind ends, though the watch has more in hand", async () => {
  world = await World.open({ running: 1 });
  const audit = createMemoryAuditLog();
  const stop = new AbortController();
  let delivered = 0;
  class EagerStore extends MemoryTallyStore {
    // One answer of the store holds all of them, and is delivered to its end whatever the signal says.
    override async watch(
      ...[after, onChanges]: Parameters<MemoryTallyStore["watch"]>
    ): Promise<void> {
      for (let i = 1n; i <= 1_500n; i++) {
        await onChanges({ revision: after + i, changes: [] });
        delivered++;
      }
    }
  }
  const projector = new Projector({
    store: new EagerStore(world.shared, { clock: world.clock }),
    audit: {
      ...audit,
      position: async () => null,
      lineage: async () => ({ id: world.shared.lineage, restarts: 0 }),
      append: (_expected, _batch, options) =>
        new Promise((_resolve, reject) => {
          options?.signal?.addEventListener("abort", () => reject(new Error("aborted")));
        }),
    },
    clock: world.clock,
    logger: memoryLogger(),
    metrics: submitterMetrics(memoryMetrics()),
    verify: world.cluster.verify,
  });
  let ended = false;
  void projector.run({ signal: stop.signal }).catch(() => {
    ended = true;
  });
  await world.clock.advance(10);
  expect(delivered).toBeLessThan(1_500);
  stop.abort(new Error("the lease was lost"));
  await world.clock.advance(10);
  expect([delivered, ended]).toEqual([1_500, true]);
});
