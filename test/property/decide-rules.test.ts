import { decide, emptySnapshot, type TxSnapshot, verifyEvidence } from "@quorate/core";
import { nodeAt, testCluster, txIdOf, valueOf, vote } from "@quorate/testkit";
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
    expect(verifyEvidence(evidence, s.cluster.set, s.cluster.verify).ok).toBe(true);
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

describe("[rule 5] at the deadline", () => {
  it("without t votes: aborts as SILENT_FAILURE and records the absent", () => {
    const s = new Scenario({ trustees: 5, threshold: 3 });
    s.cast([0, 1], [1, 1]);
    s.deadline();
    expect(s.outcome()).toBe("ABORTED_BYZANTINE SILENT_FAILURE");
    expect(s.absent()).toEqual([2, 3, 4]);
    expect(s.fold.decisions.get(s.tx)).toEqual({ kind: "ABORT", reason: "SILENT_FAILURE" });
  });

  it("with t votes: records the absent, and the transaction goes on [spec §14.2]", () => {
    const s = five();
    s.cast([0, 1], [1, 1], [2, 1], [3, 1]);
    s.deadline();
    expect(s.outcome()).toBe("THRESHOLD_REACHED 1");
    expect(s.absent()).toEqual([4]);
    expect(s.violations()).toEqual(["4 SILENT_FAILURE"]);
    expect(s.claim().kind).toBe("claim");
  });

  it("judges once: a second sweep changes nothing", () => {
    const s = five();
    s.cast([0, 1], [1, 1], [2, 1], [3, 1]);
    s.deadline();
    expect(s.deadline().writes).toBeNull();
    expect([s.streak(4), s.violations().length]).toEqual([1, 1]);
  });

  it("takes votes that come in the same commit into account", () => {
    const s = five();
    s.cast([0, 1], [1, 1], [2, 1]);
    s.fold.commit(s.tx, { votes: [s.vote([3, 1])], deadlinePassed: true });
    expect(s.outcome()).toBe("THRESHOLD_REACHED 1");
    expect(s.absent()).toEqual([4]);
  });

  it("opens nothing: the sweep of an unknown transaction writes nothing", () => {
    expect(five().deadline().writes).toBeNull();
  });

  it("holds nothing against anybody when more than N−t are missing at once: an outage", () => {
    const s = five({ profile: "strict" });
    s.cast([0, 1], [1, 1], [2, 1]);
    s.deadline();
    expect(s.outcome()).toBe("ABORTED_BYZANTINE SILENT_FAILURE");
    expect(s.absent()).toEqual([3, 4]);
    expect([s.bans(), s.violations(), s.streak(3)]).toEqual([[], [], 0]);
  });

  it("judges nobody for a transaction that was aborted before", () => {
    const s = five({ profile: "strict" });
    s.cast([0, 1], [0, 2]);
    expect(s.deadline().writes).toBeNull();
    expect(s.absent()).toBeNull();
  });

  it("does not expect trustees that are banned", () => {
    const s = new Scenario({ trustees: 5, threshold: 3, profile: "strict" });
    s.castIn("earlier", [4, 1], [4, 2]);
    s.cast([0, 1], [1, 1], [2, 1]);
    s.deadline();
    expect(s.absent()).toEqual([3]);
    expect(s.bans()).toEqual(["3 SILENT_FAILURE OPINION", "4 DOUBLE_VOTING PROOF"]);
  });

  const silentRound = (s: Scenario, txId: string, voters: readonly number[]): void => {
    s.castIn(txId, ...voters.map((node) => [node, 1] as const));
    s.deadline(txId);
  };

  it("bans silence at once under the strict profile", () => {
    const s = five({ profile: "strict" });
    silentRound(s, "tx", [0, 1, 2, 3]);
    expect(s.bans()).toEqual(["4 SILENT_FAILURE OPINION"]);
  });

  it("bans the third silence in a row under the balanced profile, and not the second", () => {
    const s = five();
    silentRound(s, "tx1", [0, 1, 2, 3]);
    silentRound(s, "tx2", [0, 1, 2, 3]);
    expect([s.streak(4), s.bans()]).toEqual([2, []]);
    silentRound(s, "tx3", [0, 1, 2, 3]);
    expect(s.bans()).toEqual(["4 SILENT_FAILURE OPINION"]);
  });

  it("forgets a run of silence when the trustee votes again", () => {
    const s = five();
    silentRound(s, "tx1", [0, 1, 2, 3]);
    silentRound(s, "tx2", [0, 1, 2, 3]);
    silentRound(s, "tx3", [0, 1, 2, 3, 4]);
    expect(s.streak(4)).toBe(0);
    silentRound(s, "tx4", [0, 1, 2, 3]);
    expect([s.streak(4), s.bans()]).toEqual([1, []]);
  });

  it("writes no run for those who never were silent", () => {
    const s = five();
    silentRound(s, "tx", [0, 1, 2, 3]);
    expect([...s.fold.silenceStreaks.keys()]).toEqual(["node-005"]);
  });

  it("judges by the profile under which the transaction opened", () => {
    const s = five({ profile: "balanced" });
    s.cast([0, 1], [1, 1], [2, 1], [3, 1]);
    const { set } = s.cluster;
    const decision = decide(
      s.snapshot(),
      { votes: [], nowMs: 30_000, deadlinePassed: true },
      {
        set,
        config: { ...s.fold.config, profile: "strict" },
        bans: new Map(),
        silenceStreaks: new Map(),
      },
    );
    expect(decision.writes?.violations).toHaveLength(1);
    expect(decision.writes?.bans).toEqual([]);
  });
});

describe("[rule 6] votes that may not count", () => {
  it("of a trustee banned for something else are refused, and the transaction goes on", () => {
    const s = five();
    s.castIn("earlier", [4, 1], [4, 2]);
    expect(outcomesOf(s.cast([4, 9], [0, 1]))).toEqual(["REFUSED BANNED", "RECORDED"]);
    expect(s.snapshot().votes.size).toBe(1);
    expect(s.outcome()).toBe("COLLECTING");
  });

  it("alone open nothing", () => {
    const s = five();
    s.castIn("earlier", [4, 1], [4, 2]);
    expect(s.cast([4, 9]).writes).toBeNull();
    expect(s.outcome()).toBe("-");
  });

  it("of a trustee under an OPINION ban still prove its equivocation, and make the ban a PROOF", () => {
    const s = five();
    // Its vote in "tx" is recorded, then it is banned for its silence elsewhere.
    s.cast([4, 1]);
    for (const txId of ["a", "b", "c"]) {
      s.castIn(txId, [0, 1], [1, 1], [2, 1], [3, 1]);
      s.deadline(txId);
    }
    expect(s.bans()).toEqual(["4 SILENT_FAILURE OPINION"]);
    expect(outcomesOf(s.cast([4, 2]))).toEqual(["EQUIVOCATION"]);
    expect(s.bans()).toEqual(["4 DOUBLE_VOTING PROOF"]);
    expect(s.evidenceHolds()).toBe(true);
  });

  it("never weaken a PROOF ban: later dissent or equivocation is recorded without another ban", () => {
    const s = five();
    s.cast([4, 2]);
    s.castIn("other", [4, 1], [4, 2]);
    const before = [...s.fold.bans.values()];
    s.cast([0, 1], [1, 1], [2, 1], [3, 1]);
    expect(s.violations()).toEqual(["4 DOUBLE_VOTING", "4 MINORITY_VOTE"]);
    expect([...s.fold.bans.values()]).toEqual(before);
  });

  it("of another epoch or of no trustee are refused, one by one", () => {
    const s = five();
    const context = {
      set: s.cluster.set,
      config: s.fold.config,
      bans: new Map(),
      silenceStreaks: new Map(),
    };
    const elsewhere = testCluster({ trustees: 5, threshold: 4, epoch: 2 });
    const larger = testCluster({ trustees: 6, threshold: 4 });
    const decision = decide(
      emptySnapshot(s.tx),
      {
        votes: [vote(elsewhere, 0, "tx", 1), vote(larger, 5, "tx", 1), s.vote([0, 1])],
        nowMs: 0,
        deadlinePassed: false,
      },
      context,
    );
    expect(outcomesOf(decision)).toEqual([
      "REFUSED WRONG_EPOCH",
      "REFUSED UNKNOWN_TRUSTEE",
      "RECORDED",
    ]);
  });

  it("are a bug when they are another transaction's", () => {
    const s = five();
    expect(() => s.fold.commit(s.tx, { votes: [s.vote([0, 1], "other")] })).toThrow(
      "judged in its own transaction",
    );
  });
});

describe("[R6] quarantine-and-continue", () => {
  it("sets a dissenter aside and goes on with t identical votes", () => {
    const s = five(quarantine);
    s.cast([4, 2], [0, 1], [1, 1], [2, 1], [3, 1]);
    expect(s.outcome()).toBe("THRESHOLD_REACHED 1");
    expect(s.bans()).toEqual(["4 MINORITY_VOTE OPINION"]);
    expect(s.snapshot().record?.offenders).toEqual(["node-005"]);
    expect(s.claim()).toMatchObject({ kind: "claim", value: 1n });
  });

  it("loses the threshold with an equivocator's vote, and reaches it again with another's", () => {
    const s = five(quarantine);
    s.cast([0, 1], [1, 1], [2, 1], [3, 1]);
    s.cast([3, 2]);
    expect(s.outcome()).toBe("COLLECTING");
    expect(s.snapshot().record).toMatchObject({ value: null, thresholdAtMs: null });
    expect(s.claim().kind).toBe("not-ready");
    s.fold.commit(s.tx, { votes: [s.vote([4, 1])], nowMs: 99 });
    expect(s.outcome()).toBe("THRESHOLD_REACHED 1");
    expect(s.snapshot().record?.thresholdAtMs).toBe(99);
    expect(s.claim().kind).toBe("claim");
  });

  it("counts an equivocator's word for nothing, though it is in the counters", () => {
    const s = five({ threshold: 3, ...quarantine });
    s.cast([0, 1], [0, 2], [1, 1], [2, 1]);
    expect(s.outcome()).toBe("COLLECTING");
    expect(s.fold.count(s.tx, valueOf(1))).toBe(3);
    s.cast([3, 1]);
    expect(s.outcome()).toBe("THRESHOLD_REACHED 1");
  });

  it("is judged by the policy under which the transaction opened", () => {
    const s = five(quarantine);
    s.cast([4, 2]);
    const strictNow = decide(
      s.snapshot(),
      { votes: [0, 1, 2, 3].map((n) => s.vote([n, 1])), nowMs: 0, deadlinePassed: false },
      {
        set: s.cluster.set,
        config: { ...s.fold.config, policy: "strict-abort" },
        bans: new Map(),
        silenceStreaks: new Map(),
      },
    );
    expect(strictNow.writes?.status).toBe("THRESHOLD_REACHED");
  });
});

describe("[spec §6] once the outcome is settled", () => {
  const submitted = (): Scenario => {
    const s = five();
    s.cast([0, 1], [1, 1], [2, 1], [3, 1]);
    expect(s.claim().kind).toBe("claim");
    return s;
  };

  it("late votes for the value are recorded, nothing else changes", () => {
    const s = submitted();
    s.cast([4, 1]);
    expect(s.outcome()).toBe("SUBMITTED 1");
    expect(s.snapshot().votes.size).toBe(5);
    expect(s.fold.count(s.tx, valueOf(1))).toBe(5);
  });

  it.each(["SUBMITTED", "CONFIRMED"])(
    "late dissent in %s is convicted, the value stands",
    (status) => {
      const s = submitted();
      if (status === "CONFIRMED") expect(s.confirm()).toBe(true);
      s.cast([4, 2]);
      expect(s.outcome()).toBe(`${status} 1`);
      expect(s.bans()).toEqual(["4 MINORITY_VOTE OPINION"]);
      expect(s.snapshot().record?.offenders).toEqual(["node-005"]);
      expect(s.fold.decisions.get(s.tx)).toEqual({ kind: "SUBMIT", value: 1n });
      expect(s.snapshot().record?.chain).toEqual(
        status === "CONFIRMED" ? { txHash: "0xab", blockNumber: "7" } : null,
      );
    },
  );

  it.each(["SUBMITTED", "CONFIRMED"])(
    "late equivocation in %s is convicted, the value stands",
    (status) => {
      const s = submitted();
      if (status === "CONFIRMED") s.confirm();
      s.cast([0, 2]);
      expect(s.outcome()).toBe(`${status} 1`);
      expect(s.bans()).toEqual(["0 DOUBLE_VOTING PROOF"]);
      // One of the t has gone, so the remaining three prove no majority against node 4.
      s.cast([4, 2]);
      expect(s.bans()).toEqual(["0 DOUBLE_VOTING PROOF"]);
      expect(s.evidenceHolds()).toBe(true);
    },
  );

  it("late votes after an abort are recorded and judged, and the abort's reason stays", () => {
    const s = five();
    s.cast([0, 1], [0, 2]);
    s.cast([1, 1], [2, 1], [3, 1], [4, 1]);
    expect(s.outcome()).toBe("ABORTED_BYZANTINE DOUBLE_VOTING");
    expect(s.snapshot().votes.size).toBe(5);
    s.cast([4, 2]);
    expect(s.outcome()).toBe("ABORTED_BYZANTINE DOUBLE_VOTING");
    expect(s.bans()).toEqual(["0 DOUBLE_VOTING PROOF", "4 DOUBLE_VOTING PROOF"]);
    expect([...s.fold.decisions.values()]).toEqual([{ kind: "ABORT", reason: "DOUBLE_VOTING" }]);
  });

  it("late dissent after an abort is convicted when a majority forms", () => {
    const s = new Scenario({ trustees: 5, threshold: 3 });
    s.cast([0, 1], [0, 2], [1, 1], [2, 1], [4, 2]);
    expect(s.bans()).toEqual(["0 DOUBLE_VOTING PROOF"]);
    s.cast([3, 1]);
    expect(s.outcome()).toBe("ABORTED_BYZANTINE DOUBLE_VOTING");
    expect(s.bans()).toEqual(["0 DOUBLE_VOTING PROOF", "4 MINORITY_VOTE OPINION"]);
  });

  it("the deadline of a submitted transaction still judges silence", () => {
    const s = submitted();
    s.deadline();
    expect(s.outcome()).toBe("SUBMITTED 1");
    expect(s.absent()).toEqual([4]);
    expect(s.violations()).toEqual(["4 SILENT_FAILURE"]);
  });
});

describe("a snapshot that somebody forged", () => {
  const forged = (s: Scenario, changes: Partial<TxSnapshot>): void =>
    s.fold.forge({ ...s.snapshot(), ...changes });

  it("with a threshold and no votes is healed to COLLECTING, and never claimed", () => {
    const s = five();
    forged(s, { status: "THRESHOLD_REACHED" });
    expect(s.claim()).toEqual({ kind: "unbacked", validVotes: 0, needed: 4 });
    s.cast([0, 1]);
    expect(s.outcome()).toBe("COLLECTING");
  });

  it("with a threshold and a record of its own is not claimed either", () => {
    const s = five();
    s.cast([0, 1]);
    const { record } = s.snapshot();
    forged(s, {
      status: "THRESHOLD_REACHED",
      record: { ...record!, value: valueOf(66), unanimous: true, thresholdAtMs: 0 },
    });
    expect(s.claim()).toEqual({ kind: "unbacked", validVotes: 1, needed: 4 });
    // A repeated vote is enough for the next commit to notice.
    s.cast([0, 1]);
    expect(s.outcome()).toBe("COLLECTING");
    expect(s.snapshot().record).toMatchObject({ value: null, unanimous: false });
  });

  it("of an epoch that is not the set's stops the program: the caller mixed sets up", () => {
    const s = five();
    s.cast([0, 1]);
    const { set } = testCluster({ trustees: 5, threshold: 4, epoch: 2 });
    expect(() =>
      decide(
        s.snapshot(),
        { votes: [], nowMs: 0, deadlinePassed: false },
        { set, config: s.fold.config, bans: new Map(), silenceStreaks: new Map() },
      ),
    ).toThrow("the set is the transaction's");
  });

  it("is never mutated by a decision", () => {
    const s = five();
    s.cast([0, 1], [1, 2]);
    const before = structuredClone([...s.snapshot().votes]);
    const snapshot = s.snapshot();
    s.cast([0, 3], [2, 1], [3, 1], [4, 1]);
    expect([...snapshot.votes]).toEqual(before);
    expect([snapshot.status, snapshot.violations.size]).toEqual(["COLLECTING", 0]);
  });
});

describe("decide", () => {
  it("gives every node the same decision for the same input", () => {
    const s = five();
    const votes = [s.vote([0, 1]), s.vote([4, 2]), s.vote([1, 1])];
    const once = (): unknown =>
      decide(
        emptySnapshot(txIdOf("tx")),
        { votes, nowMs: 5, deadlinePassed: false },
        {
          set: s.cluster.set,
          config: s.fold.config,
          bans: new Map(),
          silenceStreaks: new Map(),
        },
      );
    expect(once()).toEqual(once());
  });
});
