import { backing, decideClaim, decideConfirm, type SignedVote, TX_STATUSES } from "@quorate/core";
import { nodeAt, tamper, testCluster, valueOf, vote } from "@quorate/testkit";
import { describe, expect, it } from "vitest";
import { Scenario, type ScenarioOptions } from "./scenario.ts";

const ready = (options: Partial<ScenarioOptions> = {}): Scenario => {
  const s = new Scenario({ trustees: 5, threshold: 3, ...options });
  s.cast([0, 1], [1, 1], [2, 1]);
  return s;
};

/** Puts a vote under a node's key, as somebody with write access could. */
const plant = (s: Scenario, node: number, stored: SignedVote): void => {
  const snapshot = s.snapshot();
  const votes = new Map(snapshot.votes).set(nodeAt(s.cluster, node).nodeId, stored);
  s.fold.forge({ ...snapshot, votes });
};

const flawed = (honest: SignedVote): SignedVote => ({
  vote: honest.vote,
  proof: { ...honest.proof, signature: tamper(honest.proof.signature, 5) },
});

describe("decideClaim", () => {
  it("claims t valid identical votes, with the write-once decision SUBMIT", () => {
    const s = ready();
    expect(s.claim()).toMatchObject({
      kind: "claim",
      value: 1n,
      writes: {
        status: "SUBMITTED",
        decision: { kind: "SUBMIT", value: 1n },
        record: s.snapshot().record,
      },
    });
    expect(s.outcome()).toBe("SUBMITTED 1");
  });

  it("has nothing to do in any other status, and so claims nothing twice", () => {
    const s = ready();
    for (const status of [null, ...TX_STATUSES]) {
      if (status === "THRESHOLD_REACHED") continue;
      s.fold.forge({ ...s.snapshot(), status });
      expect(s.claim()).toEqual({ kind: "not-ready" });
    }
  });

  it("counts a vote with a bad signature for nothing", () => {
    const s = ready();
    plant(s, 2, flawed(s.vote([2, 1])));
    expect(s.claim()).toEqual({ kind: "unbacked", validVotes: 2, needed: 3 });
    expect(s.outcome()).toBe("THRESHOLD_REACHED 1");
  });

  it("counts a vote copied under other nodes' keys once", () => {
    const s = ready();
    const copied = s.vote([0, 1]);
    plant(s, 1, copied);
    plant(s, 2, copied);
    expect(s.claim()).toEqual({ kind: "unbacked", validVotes: 1, needed: 3 });
  });

  it("counts a vote from another transaction, epoch or cluster for nothing", () => {
    for (const foreign of [
      vote(ready().cluster, 2, "other", 1),
      vote(testCluster({ trustees: 5, threshold: 3, epoch: 2 }), 2, "tx", 1),
      vote(testCluster({ trustees: 5, threshold: 3, clusterId: "elsewhere" }), 2, "tx", 1),
    ]) {
      const s = ready();
      plant(s, 2, foreign);
      expect(s.claim()).toMatchObject({ kind: "unbacked", validVotes: 2 });
    }
  });

  it("counts what was signed, not what the stored fields say", () => {
    const s = ready();
    const honest = s.vote([2, 1]);
    plant(s, 2, { ...honest, vote: { ...honest.vote, value: valueOf(9) } });
    expect(s.claim()).toMatchObject({ kind: "claim", value: 1n });
    const other = ready();
    const against = other.vote([2, 9]);
    plant(other, 2, { ...against, vote: { ...against.vote, value: valueOf(1) } });
    expect(other.claim()).toMatchObject({ kind: "unbacked", validVotes: 2 });
  });

  it("does not submit another value than its votes are for", () => {
    const s = ready();
    const snapshot = s.snapshot();
    s.fold.forge({ ...snapshot, record: { ...snapshot.record!, value: valueOf(66) } });
    expect(s.claim()).toMatchObject({ kind: "unbacked" });
    s.fold.forge({ ...snapshot, record: null });
    expect(s.claim()).toMatchObject({ kind: "unbacked" });
  });

  it("sees valid dissent that the status hides, under strict-abort", () => {
    const s = ready();
    plant(s, 4, s.vote([4, 2]));
    expect(s.claim()).toEqual({ kind: "dissent" });
  });

  it("lets no forged dissent hold a transaction up", () => {
    const s = ready();
    plant(s, 4, flawed(s.vote([4, 2])));
    expect(s.claim()).toMatchObject({ kind: "claim", value: 1n });
  });

  it("takes a recorded equivocator's vote out, and under strict-abort refuses with it", () => {
    const violations = new Map([
      [nodeAt(ready().cluster, 0).nodeId, new Set(["DOUBLE_VOTING"] as const)],
    ]);
    for (const [policy, more, expected] of [
      ["strict-abort", [], "unbacked"],
      ["strict-abort", [3], "dissent"],
      ["quarantine-and-continue", [], "unbacked"],
      ["quarantine-and-continue", [3], "claim"],
    ] as const) {
      const s = ready({ policy });
      s.cast(...more.map((node) => [node, 1] as const));
      s.fold.forge({ ...s.snapshot(), violations });
      expect(s.claim().kind).toBe(expected);
    }
  });

  it("goes on beside dissent under quarantine-and-continue", () => {
    const s = ready({ policy: "quarantine-and-continue" });
    s.cast([4, 2]);
    expect(s.claim()).toMatchObject({ kind: "claim", value: 1n });
  });

  it("claims neither of two values with t votes each", () => {
    const s = new Scenario({ trustees: 4, threshold: 2, policy: "quarantine-and-continue" });
    s.cast([0, 1], [1, 1]);
    plant(s, 2, s.vote([2, 2]));
    plant(s, 3, s.vote([3, 2]));
    expect(s.claim()).toMatchObject({ kind: "unbacked" });
  });

  it("asks the verifier about every vote that it counts", () => {
    const s = ready();
    const never = (): boolean => false;
    expect(backing(s.snapshot(), s.cluster.set, never)).toMatchObject({ validVotes: 0 });
    expect(decideClaim(s.snapshot(), s.cluster.set, never).kind).toBe("unbacked");
  });
});

describe("decideConfirm", () => {
  const chain = { txHash: "0xab", blockNumber: "7" };

  it("confirms what was submitted, with its place in the chain, once", () => {
    const s = ready();
    s.claim();
    expect(s.confirm()).toBe(true);
    expect(s.outcome()).toBe("CONFIRMED 1");
    expect(s.snapshot().record?.chain).toEqual(chain);
    expect(s.confirm()).toBe(false);
  });

  it("confirms nothing in any other status, nor without a record", () => {
    const s = ready();
    for (const status of [null, ...TX_STATUSES])
      expect(decideConfirm({ ...s.snapshot(), status }, chain) !== null).toBe(
        status === "SUBMITTED",
      );
    expect(decideConfirm({ ...s.snapshot(), status: "SUBMITTED", record: null }, chain)).toBeNull();
  });
});
