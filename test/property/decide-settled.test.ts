import { decide, emptySnapshot, type TxSnapshot } from "@quorate/core";
import { testCluster, txIdOf, valueOf, vote } from "@quorate/testkit";
import { describe, expect, it } from "vitest";
import { outcomesOf, Scenario, type ScenarioOptions } from "./scenario.ts";

const five = (options: Partial<ScenarioOptions> = {}): Scenario =>
  new Scenario({ trustees: 5, threshold: 4, ...options });
const quarantine = { policy: "quarantine-and-continue" } as const;

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
      verify: s.cluster.verify,
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
        verify: s.cluster.verify,
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

  it("with a vote under the name of no trustee counts it for nothing, and judges nobody by it", () => {
    const s = five({ threshold: 3 });
    s.cast([0, 1], [1, 1]);
    const stranger = vote(testCluster({ trustees: 6, threshold: 3 }), 5, "tx", 1);
    forged(s, { votes: new Map(s.snapshot().votes).set(stranger.vote.nodeId, stranger) });
    s.cast([2, 2]);
    expect(s.outcome()).toBe("COLLECTING");
    s.cast([3, 1]);
    expect(s.bans()).toEqual(["2 MINORITY_VOTE OPINION"]);
    expect(s.fold.count(s.tx, valueOf(1))).toBe(3);
  });

  it("of an epoch that is not the set's stops the program: the caller mixed sets up", () => {
    const s = five();
    s.cast([0, 1]);
    const { set } = testCluster({ trustees: 5, threshold: 4, epoch: 2 });
    expect(() =>
      decide(
        s.snapshot(),
        { votes: [], nowMs: 0, deadlinePassed: false },
        {
          set,
          config: s.fold.config,
          bans: new Map(),
          silenceStreaks: new Map(),
          verify: s.cluster.verify,
        },
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
          verify: s.cluster.verify,
        },
      );
    expect(once()).toEqual(once());
  });
});
