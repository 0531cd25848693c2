import { LIMITS, type VerifiedVote } from "@quorate/core";
import { deliveries, nodeAt, prng, testCluster, vote } from "@quorate/testkit";
import fc from "fast-check";
import { afterEach, describe, expect, test } from "vitest";
import { peek, tx, World, type WorldNode, type WorldOptions } from "./test-world.ts";

let world: World;

async function open(options: WorldOptions = {}): Promise<World> {
  world = await World.open(options);
  return world;
}

afterEach(() => world.close());

function nodeOf(index: number): WorldNode {
  const node = world.nodes[index];
  if (node === undefined) throw new Error(`no node ${index}`);
  return node;
}

describe("counting", () => {
  test("a vote handed to five pipelines at once counts once", async () => {
    await open({ pipeline: { staggerMs: 0 } });
    // All five decide on the empty transaction before the first commit arrives.
    for (const node of world.nodes)
      node.faults.push({ operation: "commit", fault: { delayMs: 5 } });
    const one = vote(world.cluster, 0, "tx", 7);
    const outcomes = world.nodes.map((node) => node.pipeline.record(one));
    await world.clock.advance(1_000);
    expect(await Promise.all(outcomes)).toEqual(Array(5).fill({ kind: "RECORDED" }));
    expect(world.sum("commit_conflicts_total")).toBe(4);
    expect(world.changes("vote")).toHaveLength(1);
    expect(world.changes("count").map((c) => c.count)).toEqual([1]);
  });

  test("five votes seen by five nodes at once cross the threshold once, with a counter of five", async () => {
    await open({ pipeline: { staggerMs: 0 } });
    for (const node of world.nodes)
      node.faults.push({ operation: "commit", fault: { delayMs: 5 } });
    const all = world.cluster.nodes.map((_, i) => vote(world.cluster, i, "tx", 7));
    for (const node of world.nodes) for (const v of all) node.pipeline.offer(v);
    await world.clock.advance(1_000);
    const snapshot = await world.snapshot("tx");
    expect(snapshot.status).toBe("THRESHOLD_REACHED");
    expect(snapshot.record?.unanimous).toBe(true);
    expect(snapshot.votes.size).toBe(5);
    expect(world.changes("count").at(-1)?.count).toBe(5);
    expect(world.sum("threshold_reached_total")).toBe(1);
  });

  test("an owner that has every vote waits for nothing more", async () => {
    await open({ running: 1, pipeline: { windowMs: 50 } });
    const offer = (i: number): boolean => nodeOf(0).pipeline.offer(vote(world.cluster, i, "tx", 7));
    for (let i = 0; i < 4; i++) offer(i);
    await world.clock.advance(40);
    expect(world.changes("vote")).toHaveLength(0);
    offer(4);
    await world.clock.advance(0);
    expect(world.changes("vote")).toHaveLength(5);
  });

  test("votes of one transaction that wait together are one commit", async () => {
    await open({ running: 1 });
    for (let i = 0; i < 5; i++) nodeOf(0).pipeline.offer(vote(world.cluster, i, "tx", 7));
    await world.clock.advance(100);
    expect(nodeOf(0).operations.filter((o) => o === "commit")).toHaveLength(1);
    expect(world.changes("status").map((c) => c.status)).toEqual(["THRESHOLD_REACHED"]);
  });

  test("lost replies, repeated and reordered deliveries change nothing", async () => {
    const all = ["a", "b", "c"];
    await open();
    const { cluster } = world;
    await world.close();
    const every = all.flatMap((id) => cluster.nodes.map((_, i) => vote(cluster, i, id, 7)));
    const runs = fc.asyncProperty(
      fc.tuple(deliveries(every), deliveries(every), deliveries(every)),
      fc.integer(),
      async (groups, seed) => {
        await open({ running: 3, pipeline: { staggerMs: 2 } });
        const random = prng(seed);
        for (const node of world.nodes)
          node.fault = (operation) => {
            if (operation !== "commit" && operation !== "watch" && operation !== "read")
              return null;
            const delayMs = random.below(10);
            const dice = random.below(8);
            if (operation === "watch") return { delayMs };
            return { delayMs, failBefore: dice === 0, loseReply: dice === 1 };
          };
        for (const [i, group] of groups.entries())
          for (const some of group) {
            for (const v of some) nodeOf(i).pipeline.offer(v);
            await world.clock.advance(random.below(6));
          }
        await world.clock.advance(60_000);
        for (const id of all) {
          const { status, votes: recorded, violations } = await world.snapshot(id);
          expect(status).toBe("THRESHOLD_REACHED");
          expect(recorded.size).toBe(5);
          expect(violations.size).toBe(0);
          const counts = world.changes("count").filter((c) => c.txId === id);
          expect(counts.at(-1)?.count).toBe(5);
        }
        expect(world.changes("vote")).toHaveLength(15);
        expect(world.nodes.map((n) => n.pipeline.pendingVotes)).toEqual([0, 0, 0]);
        await world.close();
      },
    );
    await fc.assert(runs, { numRuns: 40 });
  });
});

describe("races", () => {
  test("everyone who waits gets the outcome of their own vote", async () => {
    await open({ running: 1 });
    const cast = (node: number, value: number): Promise<unknown> =>
      nodeOf(0).pipeline.record(vote(world.cluster, node, "tx", value));
    const all = [cast(0, 7), cast(1, 7), cast(0, 8), cast(2, 7), cast(1, 7)];
    await world.clock.advance(100);
    expect(await Promise.all(all)).toEqual([
      { kind: "RECORDED" },
      { kind: "RECORDED" },
      { kind: "EQUIVOCATION" },
      { kind: "RECORDED" },
      { kind: "RECORDED" },
    ]);
    expect(nodeOf(0).operations.filter((o) => o === "commit")).toHaveLength(1);
  });

  test("of many dissenters at once each commit convicts as many as it holds, until all are", async () => {
    await open({ running: 1, trustees: 100, threshold: 67 });
    for (let i = 0; i < 100; i++)
      nodeOf(0).pipeline.offer(vote(world.cluster, i, "tx", i < 33 ? 8 : 7));
    await world.clock.advance(5_000);
    const perCommit = world.history
      .map((set) => set.changes.filter((c) => c.kind === "violation").length)
      .filter((count) => count > 0);
    expect(perCommit.reduce((sum, count) => sum + count, 0)).toBe(33);
    expect(Math.max(...perCommit) * 2 * 67).toBeLessThanOrEqual(LIMITS.evidenceVotesPerCommitMax);
    expect((await world.store.readBans()).bans.size).toBe(33);
    expect(nodeOf(0).pipeline.pendingVotes).toBe(0);
  });

  test("however many values a trustee signs for a transaction, two of them wait", async () => {
    await open({ running: 1 });
    nodeOf(0).fault = (operation) => (operation === "commit" ? { failBefore: true } : null);
    for (let value = 1; value <= 500; value++)
      nodeOf(0).pipeline.offer(vote(world.cluster, 0, "tx", value));
    expect(nodeOf(0).pipeline.pendingVotes).toBe(2);
    await world.clock.advance(1);
    expect(nodeOf(0).refusals.filter((r) => r.code === "EQUIVOCATION")).toHaveLength(498);
    nodeOf(0).fault = () => null;
    await world.clock.advance(5_000);
    expect((await world.snapshot("tx")).status).toBe("ABORTED_BYZANTINE");
    expect(nodeOf(0).pipeline.pendingVotes).toBe(0);
  });

  test("a commit that lost the race is decided again on what won", async () => {
    await open({ pipeline: { staggerMs: 0 }, running: 2 });
    for (const node of world.nodes)
      node.faults.push({ operation: "commit", fault: { delayMs: 5 } });
    const first = nodeOf(0).pipeline.record(vote(world.cluster, 0, "tx", 7));
    const second = nodeOf(1).pipeline.record(vote(world.cluster, 0, "tx", 8));
    await world.clock.advance(1_000);
    expect([await first, await second]).toEqual([{ kind: "RECORDED" }, { kind: "EQUIVOCATION" }]);
    const { votes: recorded, status, violations } = await world.snapshot("tx");
    expect([...recorded.values()].map((v) => v.vote.value)).toEqual([7n]);
    expect(status).toBe("ABORTED_BYZANTINE");
    expect([...violations.values()].map((types) => [...types])).toEqual([["DOUBLE_VOTING"]]);
    // The ban is enforced by the node whose commit holds it.
    expect(world.nodes.map((n) => n.bans.length)).toEqual([0, 1]);
  });

  test("a ban that comes first keeps the vote out, and counts once the watch has brought it", async () => {
    await open({ running: 1 });
    nodeOf(0).fault = (operation) => (operation === "watch" ? { delayMs: 10_000 } : null);
    nodeOf(0).faults.push({ operation: "commit", fault: { delayMs: 50 } });
    const outcome = peek(nodeOf(0).pipeline.record(vote(world.cluster, 2, "tx", 7)));
    await world.clock.advance(20);
    const { peerId, nodeId } = nodeAt(world.cluster, 2);
    const evidence = {
      type: "INVALID_SIGNATURE",
      envelope: { from: "", data: "", seqno: "", topic: "", signature: "" },
    } as const;
    const who = { peerId, nodeId, grade: "PROOF", evidence } as const;
    await world.store.recordViolation({
      violation: { ...who, txId: tx("other"), type: "INVALID_SIGNATURE", detectedAtMs: 0 },
      ban: { ...who, reason: "INVALID_SIGNATURE", bannedAtMs: 0 },
    });
    await world.clock.advance(100);
    // The ban may be forged; nobody here has looked at its evidence yet.
    expect(outcome.value()).toBeNull();
    await world.clock.advance(12_000);
    expect(outcome.value()).toEqual({ kind: "REFUSED", code: "BANNED" });
    expect((await world.snapshot("tx")).votes.size).toBe(0);
  });

  test("votes that arrive while a commit is under way are recorded by the next one", async () => {
    await open({ running: 1 });
    nodeOf(0).faults.push({ operation: "commit", fault: { delayMs: 50 } });
    const early = nodeOf(0).pipeline.record(vote(world.cluster, 0, "tx", 7));
    await world.clock.advance(20);
    const late = nodeOf(0).pipeline.record(vote(world.cluster, 1, "tx", 7));
    await world.clock.advance(20);
    expect(nodeOf(0).pipeline.pendingVotes).toBe(2);
    await world.clock.advance(100);
    expect([await early, await late]).toEqual([{ kind: "RECORDED" }, { kind: "RECORDED" }]);
    expect((await world.snapshot("tx")).votes.size).toBe(2);
  });

  test("the owner writes alone while the others only watch", async () => {
    await open();
    for (const node of world.nodes) node.pipeline.offer(vote(world.cluster, 0, "tx", 7));
    await world.clock.advance(2_000);
    const writers = world.nodes.filter((n) => n.operations.includes("commit"));
    expect(writers).toEqual(world.byRank("tx").slice(0, 1));
    expect(world.nodes.map((n) => n.pipeline.pendingVotes)).toEqual([0, 0, 0, 0, 0]);
  });

  test("when the owner keeps silent, the next in rank writes one stagger later, and only it", async () => {
    await open();
    const [owner, next, ...rest] = world.byRank("tx");
    for (const node of world.nodes)
      if (node !== owner) node.pipeline.offer(vote(world.cluster, 0, "tx", 7));
    await world.clock.advance(153);
    expect((await world.snapshot("tx")).votes.size).toBe(0);
    await world.clock.advance(2);
    expect((await world.snapshot("tx")).votes.size).toBe(1);
    await world.clock.advance(2_000);
    expect(next?.operations.filter((o) => o === "commit")).toHaveLength(1);
    expect(rest.flatMap((n) => n.operations)).not.toContain("commit");
  });

  /** An id of which the node is so far from being the owner. */
  const idOfRank = (node: WorldNode, rank: number): string => {
    for (let i = 0; ; i++) if (world.byRank(`tx-${i}`)[rank] === node) return `tx-${i}`;
  };

  test("what a backup has put off does not hold up what the node owns", async () => {
    await open({ pipeline: { staggerMs: 2_000 } });
    const [node] = world.nodes;
    if (node === undefined) throw new Error("one node");
    const others = idOfRank(node, 2);
    node.pipeline.offer(vote(world.cluster, 0, others, 7));
    node.faults.push({ operation: "commit", fault: { failBefore: true } });
    await world.clock.advance(4_010);
    // Its turn came and failed; the retry waits, and another vote puts the transaction off again.
    node.pipeline.offer(vote(world.cluster, 1, others, 7));
    await world.clock.advance(60);
    const own = peek(node.pipeline.record(vote(world.cluster, 0, idOfRank(node, 0), 7)));
    await world.clock.advance(10);
    expect(own.value()).toEqual({ kind: "RECORDED" });
    await world.clock.advance(10_000);
    expect((await world.snapshot(others)).votes.size).toBe(2);
  });

  test("an equivocator can't put a backup off again and again", async () => {
    await open();
    const [node] = world.nodes;
    if (node === undefined) throw new Error("one node");
    const id = idOfRank(node, 1);
    for (let i = 0; i < 20; i++) {
      node.pipeline.offer(vote(world.cluster, 3, id, i));
      await world.clock.advance(20);
    }
    expect((await world.snapshot(id)).status).toBe("ABORTED_BYZANTINE");
  });
});

describe("failures of the store", () => {
  test("after a commit of unknown result the store is read before anything else is decided", async () => {
    await open({ running: 1 });
    nodeOf(0).fault = (operation) => (operation === "watch" ? { delayMs: 60_000 } : null);
    nodeOf(0).faults.push({ operation: "commit", fault: { loseReply: true } });
    const outcome = nodeOf(0).pipeline.record(vote(world.cluster, 0, "tx", 7));
    await world.clock.advance(1_000);
    expect(await outcome).toEqual({ kind: "RECORDED" });
    expect(nodeOf(0).operations.filter((o) => o === "commit" || o === "read")).toEqual([
      "commit",
      "read",
    ]);
    expect(world.changes("vote")).toHaveLength(1);
  });

  test("while the store is away votes wait, and are recorded when it is back", async () => {
    await open({ running: 1 });
    nodeOf(0).fault = (operation) => (operation === "commit" ? { failBefore: true } : null);
    const outcome = peek(nodeOf(0).pipeline.record(vote(world.cluster, 0, "tx", 7)));
    await world.clock.advance(30_000);
    expect(outcome.value()).toBeNull();
    expect(nodeOf(0).pipeline.failingSinceMs).not.toBeNull();
    nodeOf(0).fault = () => null;
    await world.clock.advance(3_000);
    expect(outcome.value()).toEqual({ kind: "RECORDED" });
    expect(nodeOf(0).pipeline.failingSinceMs).toBeNull();
  });

  test("a node whose votes others wrote after an outage does not count as failing any more", async () => {
    await open({ running: 2, pipeline: { staggerMs: 0 } });
    nodeOf(0).fault = (operation) => (operation === "commit" ? { failBefore: true } : null);
    nodeOf(0).pipeline.offer(vote(world.cluster, 0, "tx", 7));
    await world.clock.advance(5_000);
    expect(nodeOf(0).pipeline.failingSinceMs).not.toBeNull();
    nodeOf(1).pipeline.offer(vote(world.cluster, 0, "tx", 7));
    await world.clock.advance(1_000);
    expect(nodeOf(0).pipeline.pendingVotes).toBe(0);
    expect(nodeOf(0).pipeline.failingSinceMs).toBeNull();
  });

  test("a transaction that can't be decided holds up no other in its batch", async () => {
    await open({ running: 1 });
    // In view stands a vote that no node can have written: evidence about it can't even be worded.
    const odd = vote(world.cluster, 0, "bad", 9);
    const { nodeId } = odd.vote;
    nodeOf(0).view.adopt({
      snapshot: {
        txId: tx("bad"),
        status: "COLLECTING",
        record: null,
        votes: new Map([[nodeId, { ...odd, vote: { ...odd.vote, issuedAtMs: Number.NaN } }]]),
        violations: new Map(),
        decision: null,
      },
      version: 5n,
      revision: 5n,
    });
    nodeOf(0).pipeline.offer(vote(world.cluster, 0, "bad", 7));
    const good = peek(nodeOf(0).pipeline.record(vote(world.cluster, 0, "good", 7)));
    await world.clock.advance(10);
    expect(nodeOf(0).logger.records.map((r) => r.message)).toContain(
      "transaction can't be decided",
    );
    expect(good.value()).toEqual({ kind: "RECORDED" });
    expect(nodeOf(0).pipeline.failingSinceMs).toBeNull();
  });
});

describe("bounds and the end", () => {
  test("a full queue refuses new votes and says so", async () => {
    await open({ running: 1 });
    const { pipeline } = nodeOf(0);
    // The pipeline takes verified votes on trust, so one signature serves for all of them.
    const one = vote(world.cluster, 0, "t", 1);
    const named = (i: number): VerifiedVote => ({
      ...one,
      vote: { ...one.vote, txId: tx(`t${i}`) },
    });
    for (let i = 0; i < LIMITS.pendingVotesMax; i++)
      if (!pipeline.offer(named(i))) throw new Error(`refused after ${i}`);
    expect(pipeline.offer(named(LIMITS.pendingVotesMax))).toBe(false);
    const refused = await pipeline.record(vote(world.cluster, 1, "more", 1));
    expect(refused).toEqual({ kind: "REFUSED", code: "QUEUE_FULL" });
    // What it holds already it still answers for.
    expect(pipeline.offer(named(0))).toBe(true);
  });

  test("stop settles everybody who waits, and refuses who comes later", async () => {
    await open({ running: 1 });
    nodeOf(0).faults.push({ operation: "commit", fault: { delayMs: 1_000 } });
    const underWay = nodeOf(0).pipeline.record(vote(world.cluster, 0, "a", 7));
    await world.clock.advance(10);
    const waiting = nodeOf(0).pipeline.record(vote(world.cluster, 0, "b", 7));
    nodeOf(0).pipeline.stop();
    const later = nodeOf(0).pipeline.record(vote(world.cluster, 0, "c", 7));
    const stopped = { kind: "REFUSED", code: "STOPPED" };
    expect(await Promise.all([underWay, waiting, later])).toEqual([stopped, stopped, stopped]);
    await world.clock.advance(5_000);
    expect(nodeOf(0).pipeline.pendingVotes).toBe(0);
    expect(world.changes("vote")).toHaveLength(0);
  });

  test("drain waits for the votes under way and no longer", async () => {
    await open({ running: 1 });
    nodeOf(0).faults.push({ operation: "commit", fault: { delayMs: 500 } });
    nodeOf(0).pipeline.offer(vote(world.cluster, 0, "a", 7));
    const drained = peek(
      nodeOf(0)
        .pipeline.drain()
        .then(() => "drained"),
    );
    await world.clock.advance(400);
    expect(drained.value()).toBeNull();
    await world.clock.advance(200);
    expect(drained.value()).toBe("drained");
    expect(world.changes("vote")).toHaveLength(1);
  });
});

describe("deadlines", () => {
  test("a deadline that passes while a commit is under way is judged by the next one", async () => {
    await open({ running: 1 });
    nodeOf(0).pipeline.offer(vote(world.cluster, 0, "tx", 7));
    await world.clock.advance(50);
    nodeOf(0).faults.push({ operation: "commit", fault: { delayMs: 100 } });
    nodeOf(0).pipeline.offer(vote(world.cluster, 1, "tx", 7));
    await world.clock.advance(50);
    expect(nodeOf(0).operations.filter((o) => o === "commit")).toHaveLength(2);
    nodeOf(0).pipeline.judgeDeadline(tx("tx"), new Map(), 0);
    await world.clock.advance(1_000);
    const { status, record, votes: recorded } = await world.snapshot("tx");
    expect(recorded.size).toBe(2);
    expect(status).toBe("ABORTED_BYZANTINE");
    expect(record?.reason).toBe("SILENT_FAILURE");
    expect(record?.absent).toHaveLength(3);
  });

  test("a deadline that several nodes judge at once is recorded once", async () => {
    await open({ pipeline: { staggerMs: 0 } });
    nodeOf(0).pipeline.offer(vote(world.cluster, 0, "tx", 7));
    await world.clock.advance(50);
    for (const node of world.nodes) {
      node.faults.push({ operation: "commit", fault: { delayMs: 5 } });
      node.pipeline.judgeDeadline(tx("tx"), new Map(), 0);
    }
    await world.clock.advance(1_000);
    const judged = world.changes("record").filter((c) => c.record.absent !== null);
    expect(judged).toHaveLength(1);
    expect(world.sum("transactions_aborted_byzantine_total", { reason: "SILENT_FAILURE" })).toBe(1);
  });

  test("the deadline of a transaction that the view has dropped is judged all the same", async () => {
    await open({ running: 1, viewEntriesMax: 2 });
    for (const id of ["a", "b", "c", "d"]) {
      nodeOf(0).pipeline.offer(vote(world.cluster, 0, id, 7));
      await world.clock.advance(50);
    }
    expect(nodeOf(0).view.status(tx("a"))).toBeNull();
    nodeOf(0).pipeline.judgeDeadline(tx("a"), new Map(), 0);
    await world.clock.advance(1_000);
    expect((await world.snapshot("a")).status).toBe("ABORTED_BYZANTINE");
  });
});

describe("epochs", () => {
  test("a transaction of an earlier epoch refuses votes of the new one and disturbs nobody", async () => {
    await open({ running: 1 });
    nodeOf(0).pipeline.offer(vote(world.cluster, 0, "old", 7));
    await world.clock.advance(50);
    const next = testCluster({ trustees: 5, threshold: 4, epoch: 2 });
    world.shared.setConfig(next.set);
    nodeOf(0).pipeline.setConfig(await world.config());
    const old = peek(nodeOf(0).pipeline.record(vote(next, 1, "old", 7)));
    const fresh = peek(nodeOf(0).pipeline.record(vote(next, 1, "new", 7)));
    nodeOf(0).pipeline.judgeDeadline(tx("old"), new Map(), 0);
    await world.clock.advance(1_000);
    expect(fresh.value()).toEqual({ kind: "RECORDED" });
    expect(old.value()).toEqual({ kind: "REFUSED", code: "WRONG_EPOCH" });
    expect(nodeOf(0).pipeline.failingSinceMs).toBeNull();
    expect(nodeOf(0).pipeline.pendingVotes).toBe(0);
  });
});
