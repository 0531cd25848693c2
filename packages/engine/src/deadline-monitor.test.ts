import { doubleVotingEvidence } from "@quorate/core";
import { nodeAt, vote } from "@quorate/testkit";
import { afterEach, expect, test, vi } from "vitest";
import { DeadlineMonitor } from "./deadline-monitor.ts";
import { TallyView } from "./tally-view.ts";
import { tx, World, type WorldNode, type WorldOptions } from "./test-world.ts";

let world: World;
let stop: AbortController;

afterEach(async () => {
  stop.abort(new Error("the test is over"));
  await world.close();
});

/** A world in which every node watches deadlines, as a node does. */
async function open(options: WorldOptions): Promise<readonly DeadlineMonitor[]> {
  world = await World.open(options);
  stop = new AbortController();
  const { signal } = stop;
  return world.nodes.map((node, i) => {
    const monitor = new DeadlineMonitor(
      {
        nodeId: nodeAt(world.cluster, i).nodeId,
        staggerMs: 250,
        intervalMs: 200,
      },
      {
        sets: () => world.sets,
        store: node.store,
        view: node.view,
        pipeline: node.pipeline,
        clock: world.clock,
        logger: node.logger,
      },
    );
    void world.store.watch(0n, (set) => monitor.onView(touchedBy(node, set)), { signal });
    void monitor.run({ signal });
    return monitor;
  });
}

function touchedBy(
  node: WorldNode,
  set: { readonly changes: readonly object[] },
): ReturnType<typeof tx>[] {
  void node;
  return set.changes.flatMap((c) => {
    const of = "violation" in c ? (c.violation as object) : c;
    return "txId" in of ? [tx(String(of.txId))] : [];
  });
}

const commits = (): number =>
  world.changes("record").filter((c) => c.record.absent !== null).length;

test("silence is judged once, by one node, when the deadline has passed and not before", async () => {
  const monitors = await open({ protocol: { deadlineMs: 5_000 } });
  for (let i = 0; i < 4; i++)
    for (const node of world.nodes) node.pipeline.offer(vote(world.cluster, i, "tx", 7));
  await world.clock.advance(4_900);
  expect(commits()).toBe(0);
  expect(monitors.map((m) => m.openTransactions)).toEqual([1, 1, 1, 1, 1]);
  const asked = world.nodes.map((node) => node.operations.length);
  await world.clock.advance(10_000);
  expect(commits()).toBe(1);
  const { record, status } = await world.snapshot("tx");
  expect(status).toBe("THRESHOLD_REACHED");
  expect(record?.absent).toEqual([nodeAt(world.cluster, 4).nodeId]);
  expect(world.changes("violation").map((c) => c.violation.type)).toEqual(["SILENT_FAILURE"]);
  expect(monitors.map((m) => m.openTransactions)).toEqual([0, 0, 0, 0, 0]);
  // The owner alone went to the store for it.
  const judges = world.nodes.filter((node, i) =>
    node.operations.slice(asked[i]).includes("commit"),
  );
  expect(judges).toEqual(world.byRank("tx").slice(0, 1));
});

test("a clock that is a minute off, the opener's or the judge's, ends no deadline early and none late", async () => {
  for (const offMs of [60_000, -60_000]) {
    await open({ protocol: { deadlineMs: 5_000, profile: "strict" } });
    world.clock.jump(offMs);
    for (const node of world.nodes) node.pipeline.offer(vote(world.cluster, 0, "tx", 7));
    await world.clock.advance(1_000);
    world.clock.jump(-2 * offMs);
    await world.clock.advance(3_000);
    expect(commits()).toBe(0);
    world.clock.jump(offMs);
    await world.clock.advance(2_000);
    expect(commits()).toBe(1);
    stop.abort(new Error("this round is over"));
    await world.close();
  }
});

test("when the owner is gone, the next in rank judges", async () => {
  await open({ protocol: { deadlineMs: 1_000 } });
  for (const node of world.nodes) node.pipeline.offer(vote(world.cluster, 0, "tx", 7));
  await world.clock.advance(500);
  const [owner] = world.byRank("tx");
  owner?.store.crash();
  await world.clock.advance(3_000);
  expect(commits()).toBe(1);
  expect((await world.snapshot("tx")).record?.reason).toBe("SILENT_FAILURE");
});

test("a transaction on which all have voted has no silence to judge", async () => {
  const monitors = await open({ protocol: { deadlineMs: 1_000 }, running: 1 });
  for (let i = 0; i < 5; i++) world.nodes[0]?.pipeline.offer(vote(world.cluster, i, "tx", 7));
  await world.clock.advance(100);
  expect(monitors[0]?.openTransactions).toBe(0);
  await world.clock.advance(5_000);
  expect(commits()).toBe(0);
});

test("a deadline is judged even when the view has dropped the transaction", async () => {
  const monitors = await open({
    protocol: { deadlineMs: 2_000 },
    running: 1,
    viewEntriesMax: 2,
  });
  for (const id of ["a", "b", "c", "d"]) {
    world.nodes[0]?.pipeline.offer(vote(world.cluster, 0, id, 7));
    await world.clock.advance(50);
  }
  expect(world.nodes[0]?.view.record(tx("a"))).toBeNull();
  await world.clock.advance(10_000);
  for (const id of ["a", "b", "c", "d"])
    expect((await world.snapshot(id)).record?.reason).toBe("SILENT_FAILURE");
  expect(commits()).toBe(4);
  expect(monitors[0]?.openTransactions).toBe(0);
});

test("a store that is away at the deadline is asked again until it answers", async () => {
  await open({ protocol: { deadlineMs: 1_000 }, running: 1 });
  const [node] = world.nodes;
  if (node === undefined) throw new Error("one node");
  node.pipeline.offer(vote(world.cluster, 0, "tx", 7));
  await world.clock.advance(500);
  node.fault = (operation) => (operation === "silence" ? { failBefore: true } : null);
  await world.clock.advance(5_000);
  expect(commits()).toBe(0);
  node.fault = () => null;
  await world.clock.advance(1_000);
  expect(commits()).toBe(1);
});

test("whoever votes after the decision and before the deadline is not silent", async () => {
  await open({ protocol: { deadlineMs: 2_000, profile: "strict" } });
  for (let i = 0; i < 4; i++)
    for (const node of world.nodes) node.pipeline.offer(vote(world.cluster, i, "tx", 7));
  await world.clock.advance(1_000);
  expect((await world.snapshot("tx")).status).toBe("THRESHOLD_REACHED");
  for (const node of world.nodes) node.pipeline.offer(vote(world.cluster, 4, "tx", 7));
  await world.clock.advance(5_000);
  expect(world.changes("violation")).toEqual([]);
  expect(world.changes("ban")).toEqual([]);
});

test("a tally that can't be written makes nobody silent, and the outage is told", async () => {
  await open({ protocol: { deadlineMs: 2_000, profile: "strict" }, running: 1 });
  const [node] = world.nodes;
  if (node === undefined) throw new Error("one node");
  for (let i = 0; i < 3; i++) node.pipeline.offer(vote(world.cluster, i, "tx", 7));
  await world.clock.advance(500);
  node.fault = (operation) => (operation === "commit" ? { failBefore: true } : null);
  node.pipeline.offer(vote(world.cluster, 3, "tx", 7));
  await world.clock.advance(1_000);
  node.fault = () => null;
  await world.clock.advance(5_000);
  const { record, status } = await world.snapshot("tx");
  expect([status, record?.absent]).toEqual([
    "THRESHOLD_REACHED",
    [nodeAt(world.cluster, 4).nodeId],
  ]);
  expect(world.changes("violation")).toEqual([]);
  expect(node.metrics.value("outage_judgements_total")).toBe(1);
  expect(node.logger.records.some((r) => r.level === "error")).toBe(true);
});

test("silences that are judged at the same time are all counted", async () => {
  await open({ protocol: { deadlineMs: 1_000, silenceStreakMax: 10 } });
  const ids = Array.from({ length: 6 }, (_, i) => `tx-${i}`);
  for (const id of ids)
    for (let i = 0; i < 4; i++)
      for (const node of world.nodes) node.pipeline.offer(vote(world.cluster, i, id, 7));
  await world.clock.advance(10_000);
  expect(commits()).toBe(ids.length);
  const streaks = await world.store.readSilenceStreaks();
  expect(streaks.get(nodeAt(world.cluster, 4).nodeId)).toBe(ids.length);
});

test("the silent run of a trustee that is out by now makes no later transaction worth a judgement", async () => {
  await open({ protocol: { deadlineMs: 1_000, silenceStreakMax: 2 }, running: 1 });
  const round = async (id: string): Promise<void> => {
    for (let i = 0; i < 4; i++) world.nodes[0]?.pipeline.offer(vote(world.cluster, i, id, 7));
    await world.clock.advance(5_000);
    expect((await world.snapshot(id)).status).toBe("THRESHOLD_REACHED");
  };
  await round("tx-1");
  await round("tx-2");
  expect(world.changes("ban")).toHaveLength(1);
  expect(commits()).toBe(2);
  await round("tx-3");
  expect(commits()).toBe(2);
});

test("a transaction that comes back into view without its record keeps its deadline", async () => {
  const monitors = await open({ protocol: { deadlineMs: 2_000 }, running: 2, viewEntriesMax: 2 });
  const [a, b] = world.nodes;
  if (a === undefined || b === undefined) throw new Error("two nodes");
  for (const id of ["a", "b", "c", "d"]) {
    for (const node of [a, b]) node.pipeline.offer(vote(world.cluster, 0, id, 7));
    await world.clock.advance(400);
  }
  // Recorded by one of them alone; the other sees the vote, and no record.
  b.pipeline.offer(vote(world.cluster, 1, "a", 7));
  await world.clock.advance(200);
  expect(monitors[0]?.openTransactions).toBe(4);
  b.store.crash();
  await world.clock.advance(10_000);
  expect((await world.snapshot("a")).record?.reason).toBe("SILENT_FAILURE");
});

test("an equivocation recorded by itself, which forbids the claim, ends the transaction at its deadline", async () => {
  await open({ protocol: { deadlineMs: 1_000 }, running: 1 });
  const { nodeId, peerId } = nodeAt(world.cluster, 4);
  const who = { peerId, nodeId, detectedAtMs: 0, bannedAtMs: 0 };
  const absence = { openedAtMs: 0, deadlineAtMs: 0, voted: [], nodeId } as const;
  const silence = { type: "SILENT_FAILURE", ...absence } as const;
  await world.store.recordBan({
    ...who,
    grade: "OPINION",
    reason: "SILENT_FAILURE",
    evidence: silence,
  });
  await world.clock.advance(50);
  for (let i = 0; i < 4; i++) world.nodes[0]?.pipeline.offer(vote(world.cluster, i, "tx", 7));
  await world.clock.advance(100);
  expect(await world.snapshot("tx")).toMatchObject({ status: "THRESHOLD_REACHED" });
  const [first, second] = [vote(world.cluster, 4, "tx", 7), vote(world.cluster, 4, "tx", 8)];
  const proof = { grade: "PROOF", evidence: doubleVotingEvidence(first, second) } as const;
  await world.store.recordViolation({
    violation: { ...who, ...proof, txId: tx("tx"), type: "DOUBLE_VOTING" },
    ban: { ...who, ...proof, reason: "DOUBLE_VOTING" },
  });
  await world.clock.advance(5_000);
  expect(await world.snapshot("tx")).toMatchObject({
    status: "ABORTED_BYZANTINE",
    decision: { kind: "ABORT", reason: "DOUBLE_VOTING" },
  });
});

test("what a node has not read in full since it started it has decided once more, though silence was judged: the claim may be forbidden", async () => {
  await open({ protocol: { deadlineMs: 1_000 }, running: 1 });
  for (let i = 0; i < 4; i++) world.nodes[0]?.pipeline.offer(vote(world.cluster, i, "tx", 7));
  await world.clock.advance(5_000);
  const { status, record } = await world.snapshot("tx");
  expect(record?.absent).toHaveLength(1);
  if (status === null || record === null) throw new Error("the transaction is there");
  const view = new TallyView();
  const [node] = world.nodes;
  if (node === undefined) throw new Error("one node");
  const monitor = new DeadlineMonitor(
    { nodeId: nodeAt(world.cluster, 0).nodeId, staggerMs: 250, intervalMs: 200 },
    { ...node, view, sets: () => world.sets, clock: world.clock },
  );
  view.noteExisting(tx("tx"), status, record);
  monitor.onView([tx("tx")]);
  expect(monitor.openTransactions).toBe(1);
  view.adopt(await world.store.read(tx("tx")));
  monitor.onView([tx("tx")]);
  expect(monitor.openTransactions).toBe(0);
});

test("an equivocation recorded before the transaction opens ends it too", async () => {
  await open({ protocol: { deadlineMs: 1_000 } });
  const { nodeId, peerId } = nodeAt(world.cluster, 4);
  const who = { peerId, nodeId, detectedAtMs: 0, bannedAtMs: 0 };
  const [first, second] = [vote(world.cluster, 4, "tx", 7), vote(world.cluster, 4, "tx", 8)];
  const proof = { grade: "PROOF", evidence: doubleVotingEvidence(first, second) } as const;
  await world.store.recordViolation({
    violation: { ...who, ...proof, txId: tx("tx"), type: "DOUBLE_VOTING" },
    ban: { ...who, ...proof, reason: "DOUBLE_VOTING" },
  });
  await world.clock.advance(50);
  for (let i = 0; i < 4; i++)
    for (const node of world.nodes) node.pipeline.offer(vote(world.cluster, i, "tx", 7));
  await world.clock.advance(10_000);
  expect((await world.snapshot("tx")).status).toBe("ABORTED_BYZANTINE");
});

test("votes whose authors' equivocations were recorded by themselves back nothing, under either policy", async () => {
  await open({
    running: 1,
    protocol: { deadlineMs: 1_000, policy: "quarantine-and-continue" },
  });
  for (let i = 0; i < 5; i++) world.nodes[0]?.pipeline.offer(vote(world.cluster, i, "tx", 7));
  await world.clock.advance(100);
  expect((await world.snapshot("tx")).status).toBe("THRESHOLD_REACHED");
  for (const index of [3, 4]) {
    const { nodeId, peerId } = nodeAt(world.cluster, index);
    const who = { peerId, nodeId, detectedAtMs: 0, bannedAtMs: 0 };
    const [first, second] = [
      vote(world.cluster, index, "tx", 7),
      vote(world.cluster, index, "tx", 8),
    ];
    const proof = { grade: "PROOF", evidence: doubleVotingEvidence(first, second) } as const;
    await world.store.recordViolation({
      violation: { ...who, ...proof, txId: tx("tx"), type: "DOUBLE_VOTING" },
      ban: { ...who, ...proof, reason: "DOUBLE_VOTING" },
    });
  }
  await world.clock.advance(10_000);
  expect((await world.snapshot("tx")).status).toBe("ABORTED_BYZANTINE");
});

test("what was judged and stays open is not asked about at every sweep", async () => {
  await open({ running: 1, protocol: { deadlineMs: 1_000, policy: "quarantine-and-continue" } });
  world.nodes[0]?.pipeline.offer(vote(world.cluster, 0, "tx", 7));
  await world.clock.advance(100);
  const node = world.nodes[0];
  if (node === undefined) throw new Error("one node");
  node.fault = (operation) => (operation === "commit" ? { failBefore: true } : null);
  const judged = vi.spyOn(node.pipeline, "judgeDeadline");
  await world.clock.advance(11_000);
  expect(judged.mock.calls.length).toBeGreaterThan(1);
  expect(judged.mock.calls.length).toBeLessThanOrEqual(4);
});

test("whether the tally could not be written meanwhile is not asked of wall clocks", async () => {
  for (const offMs of [0, 60_000, -60_000]) {
    await open({ protocol: { deadlineMs: 5_000, profile: "strict" } });
    world.clock.jump(offMs);
    for (let i = 0; i < 4; i++)
      for (const node of world.nodes) node.pipeline.offer(vote(world.cluster, i, "tx", 7));
    await world.clock.advance(1_000);
    world.clock.jump(-offMs);
    for (const node of world.nodes)
      node.fault = (operation) => (operation === "commit" ? { failBefore: true } : null);
    for (const node of world.nodes) node.pipeline.offer(vote(world.cluster, 0, "other", 7));
    await world.clock.advance(1_000);
    for (const node of world.nodes) node.fault = () => null;
    await world.clock.advance(20_000);
    expect(world.changes("ban")).toEqual([]);
    stop.abort(new Error("this round is over"));
    await world.close();
  }
});

test("a transaction that loses its threshold after silence was judged is aborted, not left open", async () => {
  const policy = "quarantine-and-continue";
  await open({
    trustees: 3,
    threshold: 2,
    running: 1,
    protocol: { deadlineMs: 1_000, policy },
  });
  const offer = (i: number, value: number): void =>
    void world.nodes[0]?.pipeline.offer(vote(world.cluster, i, "tx", value));
  offer(0, 7);
  offer(2, 7);
  await world.clock.advance(3_000);
  const judged = await world.snapshot("tx");
  expect(judged.status).toBe("THRESHOLD_REACHED");
  expect(judged.record?.absent).toEqual([nodeAt(world.cluster, 1).nodeId]);
  offer(2, 8);
  await world.clock.advance(100);
  expect((await world.snapshot("tx")).status).toBe("COLLECTING");
  await world.clock.advance(3_000);
  expect(await world.snapshot("tx")).toMatchObject({
    status: "ABORTED_BYZANTINE",
    decision: { kind: "ABORT", reason: "SILENT_FAILURE" },
  });
});
