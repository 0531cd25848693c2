import {
  doubleVotingEvidence,
  makeTrusteeSet,
  onlySet,
  parseEpoch,
  parseNodeId,
  signFrame,
  type TxId,
  unwrap,
  type VerifiedVote,
  verifyEvidence,
  verifyFrame,
} from "@quorate/core";
import { memoryMetrics, nodeAt, testCluster, unsignedVote, vote, votes } from "@quorate/testkit";
import { afterEach, describe, expect, test } from "vitest";
import { Accusations } from "./accusations.ts";
import { nodeMetrics } from "./catalogue.ts";
import { tx, World, type WorldNode } from "./test-world.ts";

let world: World;

afterEach(async () => world.close());

const first = (): WorldNode => {
  const node = world.nodes[0];
  if (node === undefined) throw new Error("the world has a node");
  return node;
};

const doubles = (): readonly string[] =>
  world
    .changes("violation")
    .filter((c) => c.violation.type === "DOUBLE_VOTING")
    .map((c) => `${c.violation.txId} ${c.violation.nodeId}`);

const bansOf = (peer: number): readonly string[] =>
  world
    .changes("ban")
    .filter((c) => c.peerId === nodeAt(world.cluster, peer).peerId)
    .map((c) => c.ban?.grade ?? "lifted");

/** What a trustee of the next epoch signs, with the same keys. */
const later = (by: number, txId: string, value: number): VerifiedVote => {
  const next = testCluster({ trustees: 5, threshold: 4, epoch: 2 });
  return vote(next, by, txId, value);
};

/** A trustee that is out for an opinion. */
async function banForOpinion(index: number): Promise<void> {
  const { peerId, nodeId } = nodeAt(world.cluster, index);
  await world.store.recordBan({
    peerId,
    nodeId,
    reason: "LOW_REPUTATION",
    grade: "OPINION",
    bannedAtMs: 0,
    evidence: { type: "LOW_REPUTATION", nodeId, score: 0.1, bound: 0.3, violations: [] },
  });
  await world.clock.advance(10);
}

describe("double votes that no transaction takes in", () => {
  test("a trustee that is out for an opinion is proven to vote twice, whatever is recorded", async () => {
    world = await World.open();
    await banForOpinion(2);
    for (const node of world.nodes) {
      node.accusations.refused(vote(world.cluster, 2, "tx", 7));
      node.accusations.refused(vote(world.cluster, 2, "tx", 8));
    }
    await world.clock.advance(2_000);
    expect(doubles()).toEqual(["tx node-003"]);
    expect(bansOf(2)).toEqual(["OPINION", "PROOF"]);
    // Its votes opened nothing.
    expect((await world.snapshot("tx")).status).toBeNull();
  });

  test("one vote refused and one recorded are a double vote in either order, and abort what is open", async () => {
    for (const order of ["refused first", "recorded first"] as const) {
      world = await World.open();
      const node = first();
      const stale = vote(world.cluster, 1, "tx", 8);
      const counted = vote(world.cluster, 1, "tx", 7);
      if (order === "refused first") node.accusations.refused(stale);
      node.accusations.taken(counted);
      node.pipeline.offer(counted);
      await world.clock.advance(1_000);
      if (order === "recorded first") node.accusations.refused(stale);
      await world.clock.advance(1_000);
      expect(doubles()).toEqual(["tx node-002"]);
      expect(bansOf(1)).toEqual(["PROOF"]);
      expect((await world.snapshot("tx")).status).toBe("ABORTED_BYZANTINE");
      await world.close();
    }
    world = await World.open();
  });

  test("the same value refused twice is nothing", async () => {
    world = await World.open();
    await banForOpinion(2);
    const [a] = votes(world.cluster, 2, [{ txId: "tx", value: 7, issuedAtMs: 1 }]);
    const [b] = votes(world.cluster, 2, [{ txId: "tx", value: 7, issuedAtMs: 2 }]);
    if (a === undefined || b === undefined) throw new Error("two votes");
    first().accusations.refused(a);
    first().accusations.refused(b);
    await world.clock.advance(2_000);
    expect(doubles()).toEqual([]);
  });

  test("votes of two trustees are never one trustee's double vote", async () => {
    world = await World.open();
    first().accusations.conflict(vote(world.cluster, 1, "tx", 7), vote(world.cluster, 2, "tx", 8));
    await world.clock.advance(2_000);
    expect(doubles()).toEqual([]);
    expect(first().accusationJournal.entries).toEqual([]);
  });
});

describe("across epochs", () => {
  test("a value signed for one epoch and another for the next are a double vote, with evidence over both sets", async () => {
    world = await World.open();
    const node = first();
    node.pipeline.offer(vote(world.cluster, 1, "tx", 7));
    await world.clock.advance(1_000);
    const next = testCluster({ trustees: 5, threshold: 4, epoch: 2 });
    const { epochVersion } = await world.config();
    await world.store.changeTrustees(next.set, epochVersion);
    await world.clock.advance(10);
    node.pipeline.offer(later(1, "tx", 8));
    await world.clock.advance(1_000);
    expect(doubles()).toEqual(["tx node-002"]);
    const evidence = world.changes("violation")[0]?.violation.evidence;
    if (evidence === undefined) throw new Error("there is a violation");
    const sets = new Map([...onlySet(world.cluster.set), ...onlySet(next.set)]);
    const found = unwrap(verifyEvidence(evidence, sets, world.cluster.verify));
    expect(found.sentence).toBe("node-002 signed two votes for tx in epochs 1 and 2: 7 and 8.");
    expect((await world.snapshot("tx")).status).toBe("ABORTED_BYZANTINE");
  });

  test("a transaction keeps the trustees and the threshold under which it opened", async () => {
    world = await World.open();
    const node = first();
    for (const by of [0, 1]) node.pipeline.offer(vote(world.cluster, by, "old", 7));
    await world.clock.advance(1_000);
    const next = testCluster({ trustees: 3, threshold: 2, epoch: 2 });
    const { epochVersion } = await world.config();
    expect(await world.store.changeTrustees(next.set, epochVersion)).toBe("changed");
    await world.clock.advance(10);
    // Two votes are enough for what opens now, and not for what was open before.
    for (const by of [0, 1]) node.pipeline.offer(vote(next, by, "new", 7));
    await world.clock.advance(1_000);
    const statuses = async (): Promise<unknown[]> =>
      Promise.all(["old", "new"].map(async (id) => (await world.snapshot(id)).status));
    expect(await statuses()).toEqual(["COLLECTING", "THRESHOLD_REACHED"]);
    // The removed trustees still have their say in it.
    for (const by of [3, 4]) node.pipeline.offer(vote(world.cluster, by, "old", 7));
    await world.clock.advance(1_000);
    expect(await statuses()).toEqual(["THRESHOLD_REACHED", "THRESHOLD_REACHED"]);
    expect((await world.snapshot("old")).record?.epoch).toBe(1);
  });

  test("one key is one signer, under whatever names it goes", async () => {
    world = await World.open();
    const node = first();
    node.pipeline.offer(vote(world.cluster, 1, "tx", 7));
    await world.clock.advance(1_000);
    // In the next epoch the second trustee's key goes by a new name.
    const renamed = world.cluster.set.trustees.map((t, i) =>
      i === 1 ? { ...t, nodeId: unwrap(parseNodeId("renamed")) } : t,
    );
    const { clusterId, threshold } = world.cluster.set;
    const epoch = unwrap(parseEpoch(2));
    const set = unwrap(makeTrusteeSet({ clusterId, epoch, threshold, trustees: renamed }));
    await world.store.changeTrustees(set, (await world.config()).epochVersion);
    await world.clock.advance(10);
    const { signer } = nodeAt(world.cluster, 1);
    const spec = { ...unsignedVote(world.cluster, 1, { txId: "tx", value: 8 }), epoch };
    const frame = signFrame([{ ...spec, nodeId: unwrap(parseNodeId("renamed")) }], (m) =>
      signer.sign(m),
    );
    const [second] = unwrap(verifyFrame(frame, set, world.cluster.verify));
    if (second === undefined) throw new Error("one vote");
    node.pipeline.offer(second);
    await world.clock.advance(1_000);
    expect(doubles()).toEqual(["tx renamed"]);
    expect(bansOf(1)).toEqual(["PROOF"]);
  });

  test("a vote of an old epoch opens nothing", async () => {
    world = await World.open();
    const next = testCluster({ trustees: 5, threshold: 4, epoch: 2 });
    const { epochVersion } = await world.config();
    await world.store.changeTrustees(next.set, epochVersion);
    await world.clock.advance(10);
    const outcome = first().pipeline.record(vote(world.cluster, 1, "tx", 7));
    await world.clock.advance(1_000);
    expect(await outcome).toEqual({ kind: "REFUSED", code: "WRONG_EPOCH" });
    expect((await world.snapshot("tx")).status).toBeNull();
    expect(first().refusals.map((r) => r.code)).toEqual(["WRONG_EPOCH"]);
  });
});

describe("a crash", () => {
  /** The next run: nothing of the last one but its disk, and a pipeline that has heard nothing. */
  function restarted(node: WorldNode): Accusations {
    const fresh = world.nodes[1];
    if (fresh === undefined) throw new Error("the world has a second node");
    return new Accusations({
      store: world.store,
      journal: node.accusationJournal,
      view: fresh.view,
      clock: world.clock,
      logger: fresh.logger,
      metrics: nodeMetrics(memoryMetrics()),
      sets: () => world.sets,
      verify: world.cluster.verify,
      record: (v) => fresh.pipeline.record(v),
      onBan: () => {},
    });
  }

  test("between detection and record loses no accusation: it is taken up again and recorded once", async () => {
    world = await World.open({ running: 2 });
    const node = first();
    // Nothing reaches the tally any more, and then the node is gone.
    node.fault = (operation) =>
      operation === "commit" || operation === "violation" ? { failBefore: true } : null;
    node.pipeline.offer(vote(world.cluster, 1, "tx", 7));
    node.pipeline.offer(vote(world.cluster, 1, "tx", 8));
    await world.clock.advance(3_000);
    expect(doubles()).toEqual([]);
    expect(node.accusationJournal.entries.map((e) => e.kind)).toEqual(["conflict"]);
    node.pipeline.stop();
    const again = restarted(node);
    await again.load();
    await world.clock.advance(5_000);
    expect(doubles()).toEqual(["tx node-002"]);
    expect(bansOf(1)).toEqual(["PROOF"]);
    expect(again.underWay).toBe(0);
    expect(node.accusationJournal.entries).toEqual([]);
    await restarted(node).load();
    await world.clock.advance(1_000);
    expect(doubles()).toHaveLength(1);
  });
});

test("an accusation that failed stays in the journal, whatever succeeds after it", async () => {
  world = await World.open({ running: 1 });
  const node = first();
  node.fault = (operation) => (operation === "commit" ? { failBefore: true } : null);
  node.accusations.conflict(vote(world.cluster, 1, "a", 7), vote(world.cluster, 1, "a", 8));
  await world.clock.advance(10);
  node.pipeline.stop();
  await world.clock.advance(10);
  const { peerId, nodeId } = nodeAt(world.cluster, 2);
  const evidence = doubleVotingEvidence(
    vote(world.cluster, 2, "b", 7),
    vote(world.cluster, 2, "b", 8),
  );
  const who = { peerId, nodeId, grade: "PROOF", evidence } as const;
  node.accusations.badSignature({
    violation: { ...who, txId: tx("b"), type: "DOUBLE_VOTING", detectedAtMs: 0 },
    ban: { ...who, reason: "DOUBLE_VOTING", bannedAtMs: 0 },
  });
  await world.clock.advance(1_000);
  expect(doubles()).toEqual(["b node-003"]);
  expect(node.accusationJournal.entries.map((e) => e.kind)).toEqual(["conflict", "violation"]);
});

test("what a forger put into the tally under a trustee's name accuses nobody", async () => {
  world = await World.open();
  const real = vote(world.cluster, 1, "tx", 7);
  const forged = {
    vote: unsignedVote(world.cluster, 1, { txId: "tx", value: 8 }),
    proof: vote(world.cluster, 1, "other", 8).proof,
  };
  first().accusations.conflict(forged, real);
  await world.clock.advance(1_000);
  expect(doubles()).toEqual([]);
  expect(first().accusationJournal.entries).toEqual([]);
  const id: TxId = tx("tx");
  expect((await world.snapshot(id)).votes.size).toBe(0);
});
