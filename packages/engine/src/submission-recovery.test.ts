import type { SenderLease } from "@quorate/ports";
import { valueOf } from "@quorate/testkit";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { address, ClaimsStage, SETTLE_MS } from "./test-claims-world.ts";
import { tx } from "./test-world.ts";

let stage: ClaimsStage;

beforeEach(async () => {
  stage = await ClaimsStage.open();
});

afterEach(() => stage.close());

describe("what was submitted before", () => {
  /** Takes an id through to FINALIZED in the database, as an earlier life did. */
  async function finalBefore(txId: string, value: number): Promise<void> {
    const row = { txId: tx(txId), key: stage.chain.keyOf(tx(txId)), value: valueOf(value) };
    const epoch = stage.world.cluster.set.epoch;
    await stage.submissions.enqueue([{ ...row, epoch, decisionRevision: 1n }], stage.lease);
    await stage.submissions.markAlreadyRecorded(stage.lease, tx(txId), 5n);
    await stage.submissions.markConfirmed([tx(txId)]);
  }

  test("and was forgotten by etcd is confirmed there again, and not sent again", async () => {
    await finalBefore("tx", 7);
    const { claims, signal } = await stage.start();
    await stage.votes("tx", [7, 7, 7, 7, 7]);
    await stage.world.clock.advance(100);
    expect(await stage.status("tx")).toBe("CONFIRMED");
    expect((await stage.submissions.counts()).QUEUED).toBe(0);
    expect(await claims.confirmOnce({ signal })).toBe(0);
  });

  test("and is archived is confirmed again when it is the same value, and said to be refused", async () => {
    await finalBefore("tx", 7);
    stage.submissions.archive(tx("tx"));
    const { logger, metrics } = await stage.start();
    await stage.votes("tx", [7, 7, 7, 7, 7]);
    await stage.world.clock.advance(100);
    expect(await stage.status("tx")).toBe("CONFIRMED");
    expect((await stage.submissions.counts()).QUEUED).toBe(0);
    expect(metrics.value("submission_claims_total", { outcome: "archived" })).toBe(1);
    expect(logger.records.map((r) => r.message)).toContain(
      "this transaction id was submitted long ago and is archived; it is refused",
    );
  });

  test("and is archived never reaches the chain with another value", async () => {
    await finalBefore("tx", 8);
    stage.submissions.archive(tx("tx"));
    const { metrics } = await stage.start();
    await stage.votes("tx", [7, 7, 7, 7, 7]);
    await stage.world.clock.advance(100);
    expect(await stage.status("tx")).toBe("SUBMITTED");
    expect((await stage.submissions.counts()).QUEUED).toBe(0);
    expect(metrics.value("submission_claims_total", { outcome: "archived" })).toBe(1);
  });

  test("a queued result that etcd aborts after all is taken from the queue", async () => {
    const row = { txId: tx("tx"), key: stage.chain.keyOf(tx("tx")), value: valueOf(7) };
    const epoch = stage.world.cluster.set.epoch;
    await stage.submissions.enqueue([{ ...row, epoch, decisionRevision: 1n }], stage.lease);
    const { logger } = await stage.start();
    await stage.votes("tx", [7, 7, 8, 8, null]);
    await stage.world.clock.advance(100);
    expect(await stage.status("tx")).toBe("ABORTED_BYZANTINE");
    expect((await stage.submissions.get(tx("tx")))?.state).toBe("ABORTED");
    expect(logger.records.map((r) => r.message)).toContain(
      "a queued result was aborted in etcd and is not sent",
    );
  });
});

describe("crashes and repetitions", () => {
  test("more open transactions than a view holds are all claimed at a start", async () => {
    const ids = Array.from({ length: 12 }, (_, i) => `tx-${i}`);
    for (const id of ids) await stage.votes(id, [7, 7, 7, 7, 7]);
    const { queued } = await stage.start(3);
    await stage.world.clock.advance(1_000);
    expect([...queued].sort()).toEqual([...ids].sort());
    expect(await Promise.all(ids.map((id) => stage.status(id)))).toEqual(
      ids.map(() => "SUBMITTED"),
    );
  });

  test("a trustee that signs a second value after the claim takes nothing back, even when it was the t-th", async () => {
    stage.storeFault = (operation, when) => {
      if (operation === "enqueue" && when === "before") throw new Error("away");
    };
    const first = await stage.start();
    await stage.votes("tx", [7, 7, 7, 7, null]);
    await stage.world.clock.advance(SETTLE_MS + 50);
    expect(await stage.status("tx")).toBe("SUBMITTED");
    await stage.votes("tx", [8, null, null, null, null]);
    expect([...(await stage.world.store.readBans()).bans]).toHaveLength(1);
    first.crash();
    stage.storeFault = () => {};
    const { queued } = await stage.start();
    await stage.world.clock.advance(50);
    expect(queued).toEqual(["tx"]);
    expect((await stage.submissions.get(tx("tx")))?.value).toBe(7n);
  });

  test("a crash between claim and queue is made good at the next start", async () => {
    stage.storeFault = (operation, when) => {
      if (operation === "enqueue" && when === "before") throw new Error("away");
    };
    const first = await stage.start();
    await stage.votes("tx", [7, 7, 7, 7, 7]);
    await stage.world.clock.advance(50);
    expect(await stage.status("tx")).toBe("SUBMITTED");
    expect(await stage.submissions.get(tx("tx"))).toBeNull();
    first.crash();
    stage.storeFault = () => {};
    const second = await stage.start();
    await stage.world.clock.advance(50);
    expect(second.queued).toEqual(["tx"]);
    expect((await stage.submissions.get(tx("tx")))?.value).toBe(7n);
  });

  test("a crash is made good even when somebody dissented meanwhile", async () => {
    stage.storeFault = (operation, when) => {
      if (operation === "enqueue" && when === "before") throw new Error("away");
    };
    const first = await stage.start();
    await stage.votes("tx", [7, 7, 7, 7, null]);
    await stage.world.clock.advance(SETTLE_MS + 50);
    first.crash();
    await stage.votes("tx", [null, null, null, null, 8]);
    stage.storeFault = () => {};
    const second = await stage.start();
    await stage.world.clock.advance(50);
    expect(second.queued).toEqual(["tx"]);
  });

  test("a lost reply of the queue is made good without a second entry", async () => {
    let losses = 2;
    stage.storeFault = (operation, when) => {
      if (operation === "enqueue" && when === "after" && losses-- > 0) throw new Error("lost");
    };
    const { queued } = await stage.start();
    await stage.votes("tx", [7, 7, 7, 7, 7]);
    await stage.world.clock.advance(10_000);
    expect(queued).toEqual(["tx"]);
    expect((await stage.submissions.counts()).QUEUED).toBe(1);
  });

  test("a lost reply of the claim is made good by reading it back", async () => {
    const process = await stage.start();
    let losses = 1;
    process.fault = (operation) =>
      operation === "commit" && losses-- > 0 ? { loseReply: true } : null;
    await stage.votes("tx", [7, 7, 7, 7, 7]);
    await stage.world.clock.advance(10_000);
    expect(await stage.status("tx")).toBe("SUBMITTED");
    expect(process.queued).toEqual(["tx"]);
  });

  test("what becomes ready while a claim is under way is not left lying", async () => {
    const process = await stage.start();
    await stage.votes("first", [7, 7, 7, 7, null]);
    process.fault = (operation) => (operation === "commit" ? { delayMs: 100 } : null);
    await stage.world.clock.advance(SETTLE_MS);
    // Now the claim of the first is on its way, and this is SUBMITTED by another process meanwhile.
    await stage.votes("second", [7, 7, 7, 7, 7]);
    const { version } = await stage.world.store.read(tx("second"));
    await stage.world.store.commit(
      [
        {
          version,
          writes: {
            txId: tx("second"),
            newVotes: [],
            counts: new Map(),
            status: "SUBMITTED",
            record: null,
            decision: { kind: "SUBMIT", value: valueOf(7) },
            violations: [],
            bans: [],
            silenceStreaks: new Map(),
          },
        },
      ],
      (await stage.world.config()).epochVersion,
    );
    await stage.world.clock.advance(5_000);
    expect(process.queued.toSorted((a, b) => (a < b ? -1 : 1))).toEqual(["first", "second"]);
  });
});

test("with nothing to claim it waits for news and does not look again and again", async () => {
  await stage.start();
  await stage.votes("tx", [7, 7, 7, 7, 7]);
  await stage.world.clock.advance(1_000);
  expect(stage.world.clock.untilNextMs).toBeGreaterThan(10_000);
});

describe("confirmation", () => {
  async function finalize(lease: SenderLease, txId: string): Promise<void> {
    await stage.submissions.markAlreadyRecorded(lease, tx(txId), 5n);
  }

  test("what is final is confirmed once, and confirming again changes nothing", async () => {
    const lease = await stage.submissions.becomeLeader(
      { chainId: stage.chain.chainId, address },
      0n,
    );
    const { claims, signal } = await stage.start();
    await stage.votes("tx", [7, 7, 7, 7, 7]);
    await stage.world.clock.advance(50);
    await finalize(lease, "tx");
    expect(await claims.confirmOnce({ signal })).toBe(1);
    expect(await claims.confirmOnce({ signal })).toBe(0);
    expect(await stage.status("tx")).toBe("CONFIRMED");
    expect((await stage.world.snapshot("tx")).record?.chain?.blockNumber).toBe("5");
    expect(stage.world.changes("status").filter((c) => c.status === "CONFIRMED")).toHaveLength(1);
  });

  test("a lost reply of the confirmation is found out by reading, not by writing again", async () => {
    const lease = await stage.submissions.becomeLeader(
      { chainId: stage.chain.chainId, address },
      0n,
    );
    const process = await stage.start();
    await stage.votes("tx", [7, 7, 7, 7, 7]);
    await stage.world.clock.advance(50);
    await finalize(lease, "tx");
    let losses = 1;
    process.fault = (operation) =>
      operation === "commit" && losses-- > 0 ? { loseReply: true } : null;
    const { claims, signal } = process;
    await expect(claims.confirmOnce({ signal })).rejects.toThrow("lost its reply");
    await claims.confirmOnce({ signal });
    expect(await stage.submissions.unconfirmed(10)).toEqual([]);
    expect(stage.world.changes("status").filter((c) => c.status === "CONFIRMED")).toHaveLength(1);
  });
});
