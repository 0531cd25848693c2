import { onlySet, type TrusteeSets, unwrap, verifyEvidence } from "@quorate/core";
import { nodeAt, type TestCluster, testCluster, txIdOf, vote } from "@quorate/testkit";
import { describe, expect, it } from "vitest";
import { outcomesOf, Scenario } from "./scenario.ts";

const setsOf = (...clusters: readonly TestCluster[]): TrusteeSets =>
  new Map(clusters.map(({ set }) => [set.epoch, set]));

/** A transaction that opened in epoch 1 with node 0's vote for 1. */
function opened(): Scenario {
  const s = new Scenario({ trustees: 5, threshold: 3 });
  s.cast([0, 1]);
  return s;
}

const nextEpoch = testCluster({ trustees: 5, threshold: 3, epoch: 2 });

describe("a vote of the next epoch on a transaction of this one", () => {
  it("for another value is an equivocation: one key, one transaction, two values", () => {
    const s = opened();
    const decision = s.fold.commit(txIdOf("tx"), { votes: [vote(nextEpoch, 0, "tx", 2)] });
    expect(outcomesOf(decision)).toEqual(["EQUIVOCATION"]);
    expect(s.bans()).toEqual(["0 DOUBLE_VOTING PROOF"]);
    expect(s.outcome()).toBe("ABORTED_BYZANTINE DOUBLE_VOTING");
  });

  it("proves it with the sets of both epochs, and not with one of them", () => {
    const s = opened();
    s.fold.commit(txIdOf("tx"), { votes: [vote(nextEpoch, 0, "tx", 2)] });
    const { evidence } = s.fold.violations[0] ?? expect.fail("it was recorded");
    const { verify } = s.cluster;
    const finding = unwrap(verifyEvidence(evidence, setsOf(s.cluster, nextEpoch), verify));
    expect(finding).toEqual({
      nodeId: "node-001",
      peerId: nodeAt(s.cluster, 0).peerId,
      txId: "tx",
      sentence: "node-001 signed two votes for tx in epochs 1 and 2: 1 and 2.",
    });
    for (const { set } of [s.cluster, nextEpoch])
      expect(verifyEvidence(evidence, onlySet(set), verify).ok).toBe(false);
  });

  it("for the same value is refused and held against nobody", () => {
    const s = opened();
    const decision = s.fold.commit(txIdOf("tx"), { votes: [vote(nextEpoch, 0, "tx", 1)] });
    expect(outcomesOf(decision)).toEqual(["REFUSED WRONG_EPOCH"]);
    expect([s.violations(), s.bans()]).toEqual([[], []]);
  });

  it("by another key under the same name is another signer's, and proves nothing", () => {
    const s = opened();
    const newKeys = testCluster({ trustees: 5, threshold: 3, epoch: 2, seed: 2 });
    const late = vote(newKeys, 0, "tx", 2);
    expect(late.vote.nodeId).toBe(nodeAt(s.cluster, 0).nodeId);
    const decision = s.fold.commit(txIdOf("tx"), { votes: [late] });
    expect(outcomesOf(decision)).toEqual(["REFUSED WRONG_EPOCH"]);
    expect([s.violations(), s.bans()]).toEqual([[], []]);
  });

  it("by two keys under one name is refused when somebody makes evidence of it", () => {
    const s = opened();
    const newKeys = testCluster({ trustees: 5, threshold: 3, epoch: 2, seed: 2 });
    s.fold.commit(txIdOf("tx"), { votes: [vote(nextEpoch, 0, "tx", 2)] });
    const { evidence } = s.fold.violations[0] ?? expect.fail("it was recorded");
    expect(verifyEvidence(evidence, setsOf(s.cluster, newKeys), s.cluster.verify).ok).toBe(false);
  });
});
