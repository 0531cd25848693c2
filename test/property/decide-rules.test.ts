import { onlySet, verifyEvidence } from "@quorate/core";
import { nodeAt, valueOf, vote } from "@quorate/testkit";
import { describe, expect, it } from "vitest";
import { outcomesOf, Scenario, type ScenarioOptions } from "./scenario.ts";

const five = (options: Partial<ScenarioOptions> = {}): Scenario =>
  new Scenario({ trustees: 5, threshold: 4, ...options });
const quarantine = { policy: "quarantine-and-continue" } as const;

describe("[rule 1] the same trustee's votes", () => {
  it("the same vote twice counts once, in one input and in two", () => {
    const s = five();
    expect(outcomesOf(s.cast([0, 1], [0, 1]))).toEqual(["RECORDED", "DUPLICATE"]);
    const again = s.cast([0, 1]);
    expect(outcomesOf(again)).toEqual(["DUPLICATE"]);
    expect(again.writes).toBeNull();
    expect(s.fold.count(s.tx, valueOf(1))).toBe(1);
  });

  it("the same value signed at another time is still the same vote", () => {
    const s = five();
    s.cast([0, 1]);
    const later = vote(s.cluster, 0, "tx", 1, 5);
    expect(outcomesOf(s.fold.commit(s.tx, { votes: [later] }))).toEqual(["DUPLICATE"]);
  });

  it.each([
    ["in one input", true],
    ["in two commits", false],
  ])("two values %s are DOUBLE_VOTING, banned with both votes as the proof", (_, together) => {
    const s = five();
    if (together) expect(outcomesOf(s.cast([0, 1], [0, 2]))).toEqual(["RECORDED", "EQUIVOCATION"]);
    else {
      s.cast([0, 1]);
      expect(outcomesOf(s.cast([0, 2]))).toEqual(["EQUIVOCATION"]);
    }
    expect(s.bans()).toEqual(["0 DOUBLE_VOTING PROOF"]);
    expect(s.evidenceHolds()).toBe(true);
    expect(s.outcome()).toBe("ABORTED_BYZANTINE DOUBLE_VOTING");
    // The first vote stands in its place for ever.
    expect(s.snapshot().votes.get(nodeAt(s.cluster, 0).nodeId)?.vote.value).toBe(1n);
    expect([s.fold.count(s.tx, valueOf(1)), s.fold.count(s.tx, valueOf(2))]).toEqual([1, 0]);
  });

  it("a third value adds no second violation", () => {
    const s = five();
    s.cast([0, 1], [0, 2]);
    expect(outcomesOf(s.cast([0, 3]))).toEqual(["EQUIVOCATION"]);
    expect(s.violations()).toEqual(["0 DOUBLE_VOTING"]);
  });

  it("an equivocator is never MINORITY_VOTE too in the commit that convicts it", () => {
    const s = five(quarantine);
    s.cast([4, 2], [0, 1], [1, 1], [2, 1], [3, 1], [4, 3]);
    expect(s.violations()).toEqual(["4 DOUBLE_VOTING"]);
    s.cast([4, 5]);
    expect(s.violations()).toEqual(["4 DOUBLE_VOTING"]);
  });

  it("a minority voter that equivocates later is banned for the stronger reason", () => {
    const s = five();
    s.cast([4, 2], [0, 1], [1, 1], [2, 1], [3, 1]);
    expect(s.bans()).toEqual(["4 MINORITY_VOTE OPINION"]);
    s.cast([4, 1]);
    expect(s.bans()).toEqual(["4 DOUBLE_VOTING PROOF"]);
    expect(s.evidenceHolds()).toBe(true);
  });
});

describe("[rule 2] a vote against the majority", () => {
  const majority = [
    [0, 1],
    [1, 1],
    [2, 1],
    [3, 1],
  ] as const;

  it("is MINORITY_VOTE when it came last [spec §3.1, the example]", () => {
    const s = five();
    s.cast(...majority);
    expect(s.outcome()).toBe("THRESHOLD_REACHED 1");
    s.cast([4, 2]);
    expect(s.bans()).toEqual(["4 MINORITY_VOTE OPINION"]);
    expect(s.outcome()).toBe("ABORTED_BYZANTINE MINORITY_VOTE");
  });

  it("is MINORITY_VOTE when it came first, which the specification's Algorithm 1 misses", () => {
    const s = five();
    s.cast([4, 2]);
    expect(s.bans()).toEqual([]);
    for (const one of majority) s.cast(one);
    expect(s.bans()).toEqual(["4 MINORITY_VOTE OPINION"]);
    expect(s.outcome()).toBe("ABORTED_BYZANTINE MINORITY_VOTE");
    expect(s.evidenceHolds()).toBe(true);
  });

  it("is nobody's fault while no value has t votes", () => {
    const s = five({ threshold: 3 });
    s.cast([0, 1], [1, 1], [2, 2]);
    expect(s.bans()).toEqual([]);
    expect(s.outcome()).toBe("COLLECTING");
  });

  it("convicts all dissenters, whatever they voted", () => {
    const s = new Scenario({ trustees: 7, threshold: 4 });
    s.cast([4, 2], [5, 3], [0, 1], [1, 1], [2, 1], [3, 1]);
    expect(s.bans()).toEqual(["4 MINORITY_VOTE OPINION", "5 MINORITY_VOTE OPINION"]);
    expect(s.snapshot().record?.offenders).toEqual(["node-005", "node-006"]);
    s.cast([6, 2]);
    expect(s.bans()).toHaveLength(3);
  });

  it("names in its evidence exactly t of the majority", () => {
    const s = new Scenario({ trustees: 7, threshold: 4 });
    s.cast([0, 1], [1, 1], [2, 1], [3, 1], [4, 1], [5, 1]);
    s.cast([6, 2]);
    const { evidence } = s.fold.violations[0]!;
    expect(evidence).toMatchObject({ type: "MINORITY_VOTE", threshold: 4 });
    expect(evidence.type === "MINORITY_VOTE" && evidence.majority).toHaveLength(4);
    expect(verifyEvidence(evidence, onlySet(s.cluster.set), s.cluster.verify).ok).toBe(true);
  });
});

describe("[rule 3] t identical votes and no dissent", () => {
  it("reach the threshold with the t-th vote and not before", () => {
    const s = five();
    const seen = [0, 1, 2, 3].map((node) => {
      s.cast([node, 7]);
      return s.outcome();
    });
    expect(seen).toEqual(["COLLECTING", "COLLECTING", "COLLECTING", "THRESHOLD_REACHED 7"]);
    expect(s.fold.decisions.size).toBe(0);
  });

  it("are unanimous only when every expected trustee agrees", () => {
    const s = five();
    s.cast([0, 1], [1, 1], [2, 1], [3, 1]);
    expect(s.snapshot().record?.unanimous).toBe(false);
    s.cast([4, 1]);
    expect(s.snapshot().record?.unanimous).toBe(true);
  });

  it("do not wait for a trustee that was banned when the transaction opened", () => {
    const s = five({ threshold: 3 });
    s.castIn("earlier", [4, 1], [4, 2]);
    s.cast([0, 1], [1, 1], [2, 1], [3, 1]);
    expect(s.snapshot().record).toMatchObject({ excluded: ["node-005"], unanimous: true });
  });

  it("are not unanimous because a trustee voted who was not waited for: one who was is missing", () => {
    const s = five({ threshold: 3, profile: "strict" });
    s.castIn("earlier", [0, 1], [1, 1], [2, 1], [3, 1]);
    s.deadline("earlier");
    expect(s.bans()).toEqual(["4 SILENT_FAILURE OPINION"]);
    s.cast([0, 1], [1, 1]);
    // An operator lifts the ban while the transaction is open.
    s.fold.bans.clear();
    s.cast([2, 1], [4, 1]);
    expect(s.snapshot().record).toMatchObject({ excluded: ["node-005"], unanimous: false });
    s.cast([3, 1]);
    expect(s.snapshot().record?.unanimous).toBe(true);
  });

  it("are not unanimous with an equivocator among them", () => {
    const s = five({ threshold: 3, ...quarantine });
    s.cast([0, 1], [1, 1], [2, 1], [3, 1], [4, 1]);
    expect(s.snapshot().record?.unanimous).toBe(true);
    s.cast([4, 2]);
    expect(s.outcome()).toBe("THRESHOLD_REACHED 1");
    expect(s.snapshot().record?.unanimous).toBe(false);
  });

  it("keep the time at which the threshold was first reached", () => {
    const s = five();
    const votes = [0, 1, 2, 3, 4].map((node) => s.vote([node, 1]));
    s.fold.commit(s.tx, { votes: votes.slice(0, 4), nowMs: 100 });
    s.fold.commit(s.tx, { votes: votes.slice(4), nowMs: 200 });
    expect(s.snapshot().record).toMatchObject({
      openedAtMs: 100,
      thresholdAtMs: 100,
      deadlineAtMs: 30_100,
    });
  });

  it("can be a single trustee's word when t is 1 of 1", () => {
    const s = new Scenario({ trustees: 1, threshold: 1 });
    s.cast([0, 9]);
    expect(s.outcome()).toBe("THRESHOLD_REACHED 9");
  });
});

describe("[rule 4] when no value can reach t any more", () => {
  it("aborts as SPLIT_VOTE and bans nobody: there is no majority", () => {
    const s = five();
    s.cast([0, 1], [1, 1]);
    s.cast([2, 2]);
    expect(s.outcome()).toBe("COLLECTING");
    s.cast([3, 2]);
    expect(s.outcome()).toBe("ABORTED_BYZANTINE SPLIT_VOTE");
    expect(s.bans()).toEqual([]);
    expect(s.fold.decisions.get(s.tx)).toEqual({ kind: "ABORT", reason: "SPLIT_VOTE" });
  });

  it("aborts as SPLIT_VOTE when two values reach a t of at most N/2", () => {
    for (const policy of ["strict-abort", "quarantine-and-continue"] as const) {
      const s = new Scenario({ trustees: 4, threshold: 2, policy });
      s.cast([0, 1], [1, 1], [2, 2], [3, 2]);
      expect(s.outcome()).toBe("ABORTED_BYZANTINE SPLIT_VOTE");
      expect(s.bans()).toEqual([]);
    }
  });

  it("aborts as QUORUM_UNREACHABLE when bans leave too few voters", () => {
    const s = five();
    s.castIn("a", [3, 1], [3, 2]);
    s.castIn("b", [4, 1], [4, 2]);
    s.cast([0, 1]);
    expect(s.outcome()).toBe("ABORTED_BYZANTINE QUORUM_UNREACHABLE");
    expect(s.bans()).toHaveLength(2);
  });

  it("aborts as QUORUM_UNREACHABLE when equivocators leave too few under quarantine", () => {
    const s = five(quarantine);
    s.cast([0, 1], [1, 1], [3, 1], [3, 2]);
    expect(s.outcome()).toBe("COLLECTING");
    s.cast([4, 1], [4, 2]);
    expect(s.outcome()).toBe("ABORTED_BYZANTINE QUORUM_UNREACHABLE");
  });
});
