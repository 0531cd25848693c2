import { makeTrusteeSet, parseEpoch, unwrap } from "@quorate/core";
import { nodeAt, type TestCluster, testCluster, vote } from "@quorate/testkit";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { ClaimsStage, SETTLE_MS } from "./test-claims-world.ts";
import { tx } from "./test-world.ts";

let stage: ClaimsStage;

beforeEach(async () => {
  stage = await ClaimsStage.open();
});

afterEach(() => stage.close());

describe("the settle window", () => {
  test("a unanimous transaction is claimed at once and queued", async () => {
    const { queued } = await stage.start();
    await stage.votes("tx", [7, 7, 7, 7, 7]);
    await stage.world.clock.advance(50);
    expect(await stage.status("tx")).toBe("SUBMITTED");
    expect(queued).toEqual(["tx"]);
    expect((await stage.submissions.get(tx("tx")))?.value).toBe(7n);
    expect(stage.world.changes("decision").map((c) => c.decision)).toEqual([
      { kind: "SUBMIT", value: 7n },
    ]);
  });

  test("one that is not unanimous waits for the whole window, and no longer", async () => {
    await stage.start();
    await stage.votes("tx", [7, 7, 7, 7, null]);
    await stage.world.clock.advance(SETTLE_MS - 30);
    expect(await stage.status("tx")).toBe("THRESHOLD_REACHED");
    await stage.world.clock.advance(60);
    expect(await stage.status("tx")).toBe("SUBMITTED");
  });

  test("dissent inside the window aborts, and nothing is ever queued", async () => {
    const { queued } = await stage.start();
    await stage.votes("tx", [7, 7, 7, 7, null]);
    await stage.votes("tx", [null, null, null, null, 8]);
    await stage.world.clock.advance(10_000);
    expect(await stage.status("tx")).toBe("ABORTED_BYZANTINE");
    expect(queued).toEqual([]);
    expect(await stage.submissions.get(tx("tx"))).toBeNull();
  });

  test("dissent that overtakes the claim on its way wins, and the claim comes to nothing", async () => {
    const process = await stage.start();
    process.fault = (operation) => (operation === "commit" ? { delayMs: 100 } : null);
    await stage.votes("tx", [7, 7, 7, 7, null]);
    await stage.world.clock.advance(SETTLE_MS + 10);
    await stage.votes("tx", [null, null, null, null, 8]);
    await stage.world.clock.advance(10_000);
    expect(await stage.status("tx")).toBe("ABORTED_BYZANTINE");
    expect(process.queued).toEqual([]);
    expect(process.metrics.value("submission_claims_total", { outcome: "conflict" })).toBe(1);
    expect(stage.world.changes("decision").map((c) => c.decision.kind)).toEqual(["ABORT"]);
  });

  test("the fifth vote ends the wait", async () => {
    await stage.start();
    await stage.votes("tx", [7, 7, 7, 7, null]);
    await stage.votes("tx", [null, null, null, null, 7]);
    await stage.world.clock.advance(50);
    expect(await stage.status("tx")).toBe("SUBMITTED");
  });

  test("dissent after the claim bans, and the submission stands", async () => {
    const { queued } = await stage.start();
    await stage.votes("tx", [7, 7, 7, 7, null]);
    await stage.world.clock.advance(SETTLE_MS + 100);
    await stage.votes("tx", [null, null, null, null, 8]);
    await stage.world.clock.advance(1_000);
    expect(await stage.status("tx")).toBe("SUBMITTED");
    expect(queued).toEqual(["tx"]);
    expect([...(await stage.world.store.readBans()).bans.keys()]).toEqual([
      nodeAt(stage.world.cluster, 4).peerId,
    ]);
  });
});

describe("a tally is never trusted", () => {
  test.each([
    ["THRESHOLD_REACHED", null],
    ["SUBMITTED", null],
    ["THRESHOLD_REACHED", "real"],
    ["SUBMITTED", "real"],
  ] as const)("a forged %s with votes copied from %s is never queued", async (word, copies) => {
    const { queued, logger } = await stage.start();
    await stage.votes("real", [7, 7, 7, 7, 7]);
    const stolen = copies === null ? [] : stage.copied(copies, "forged", 7);
    await stage.forge("forged", { status: word, value: 7 }, stolen);
    await stage.world.clock.advance(10_000);
    expect(queued).toEqual(["real"]);
    expect(await stage.submissions.get(tx("forged"))).toBeNull();
    expect(logger.records.map((r) => r.message)).toContain(
      "a status in etcd is not backed by votes; it is not submitted",
    );
  });

  test("forgeries that were there before the start are not queued either", async () => {
    await stage.votes("real", [7, 7, 7, 7, 7]);
    await stage.forge("one", { status: "SUBMITTED", value: 7 }, stage.copied("real", "one", 7));
    await stage.forge("two", { status: "THRESHOLD_REACHED", value: 9 });
    const { queued } = await stage.start();
    await stage.world.clock.advance(10_000);
    expect(queued).toEqual(["real"]);
  });

  test("a record that names another value than the votes is not queued", async () => {
    const { queued } = await stage.start();
    await stage.votes("tx", [7, 7, 7, null, null]);
    await stage.forge("tx", { status: "THRESHOLD_REACHED", value: 9 });
    await stage.votes("tx", [null, null, null, 7, null]);
    await stage.world.clock.advance(10_000);
    // The rules put the record right with the next vote; what was forged reaches nothing.
    expect((await stage.submissions.get(tx("tx")))?.value ?? 7n).toBe(7n);
    expect(queued.length).toBeLessThanOrEqual(1);
  });
});

describe("after a change of the trustees", () => {
  /** The keys of the five trustees, and of two who come later. */
  const more = testCluster({ trustees: 7, threshold: 4 });
  const EPOCH_2 = unwrap(parseEpoch(2));

  /** By default two trustees go and two come: of the first epoch's five only three are left. */
  async function exchange(members: readonly number[] = [2, 3, 4, 5, 6]): Promise<TestCluster> {
    const { set: before, epochVersion } = await stage.world.config();
    const trustees = members.map((i) => nodeAt(more, i).trustee);
    const set = unwrap(makeTrusteeSet({ ...before, epoch: EPOCH_2, trustees }));
    expect(await stage.world.store.changeTrustees(set, epochVersion)).toBe("changed");
    await stage.world.clock.advance(1);
    return { ...more, set };
  }

  test("a transaction is claimed by the votes of the epoch that it opened in", async () => {
    const { queued } = await stage.start();
    await stage.votes("tx", [7, 7, 7, 7, null]);
    expect(await stage.status("tx")).toBe("THRESHOLD_REACHED");
    await exchange();
    await stage.world.clock.advance(SETTLE_MS + 50);
    expect(await stage.status("tx")).toBe("SUBMITTED");
    expect(queued).toEqual(["tx"]);
    expect(await stage.submissions.get(tx("tx"))).toMatchObject({ value: 7n, epoch: 1 });
  });

  test("one that was claimed before is queued at the next start", async () => {
    stage.storeFault = (operation, when) => {
      if (operation === "enqueue" && when === "before") throw new Error("away");
    };
    const first = await stage.start();
    await stage.votes("tx", [7, 7, 7, 7, 7]);
    await stage.world.clock.advance(50);
    first.crash();
    await exchange();
    stage.storeFault = () => {};
    const { queued } = await stage.start();
    await stage.world.clock.advance(50);
    expect(queued).toEqual(["tx"]);
    expect(await stage.submissions.get(tx("tx"))).toMatchObject({ epoch: 1 });
  });

  test.each([
    ["by trustees who came and who stayed", [2, 3, 4, 5, 6], [2, 3, 4, 5, 6]],
    ["by trustees who are in both, as they signed for the next", [1, 2, 3, 4, 5], [1, 2, 3, 4]],
  ])("it is backed by no votes of the next epoch: %s", async (_name, members, voters) => {
    const { queued, logger } = await stage.start();
    const next = await exchange(members);
    const later = voters.map((i) => vote(next, i, "old", 7));
    // The record says epoch 1, as if the transaction had opened before the change.
    await stage.forge("old", { status: "THRESHOLD_REACHED", value: 7 }, later);
    await stage.world.clock.advance(10_000);
    expect(queued).toEqual([]);
    expect(await stage.submissions.get(tx("old"))).toBeNull();
    expect(logger.records.map((r) => r.message)).toContain(
      "a status in etcd is not backed by votes; it is not submitted",
    );
  });

  test("three votes of its own epoch and one of the next are not four", async () => {
    const { queued } = await stage.start();
    const next = await exchange();
    const own = [0, 1, 2].map((i) => vote(stage.world.cluster, i, "old", 7));
    const stranger = vote(next, 5, "old", 7);
    await stage.forge("old", { status: "SUBMITTED", value: 7 }, [...own, stranger]);
    await stage.world.clock.advance(10_000);
    expect(queued).toEqual([]);
  });
});
