import { decide } from "@quorate/core";
import { describe, expect, it } from "vitest";
import { Scenario, type ScenarioOptions } from "./scenario.ts";

const five = (options: Partial<ScenarioOptions> = {}): Scenario =>
  new Scenario({ trustees: 5, threshold: 4, ...options });

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

  it("holds nothing against anybody when the tally was in trouble meanwhile, and says that it is an outage", () => {
    const s = five({ profile: "strict" });
    s.cast([0, 1], [1, 1], [2, 1], [3, 1]);
    const judge = (storeTrouble: boolean) =>
      decide(
        s.snapshot(),
        { votes: [], nowMs: 30_000, deadlinePassed: true, storeTrouble },
        {
          set: s.cluster.set,
          config: s.fold.config,
          bans: new Map(),
          silenceStreaks: new Map(),
          verify: s.cluster.verify,
        },
      );
    const troubled = judge(true);
    expect(troubled.outage).toBe(true);
    expect(troubled.writes?.record?.absent).toEqual(["node-005"]);
    expect([troubled.writes?.violations, troubled.writes?.bans]).toEqual([[], []]);
    expect(troubled.writes?.silenceStreaks.size).toBe(0);
    const calm = judge(false);
    expect([calm.outage, calm.writes?.bans.length]).toEqual([false, 1]);
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
        verify: s.cluster.verify,
      },
    );
    expect(decision.writes?.violations).toHaveLength(1);
    expect(decision.writes?.bans).toEqual([]);
  });
});
