import type { SubmissionState, TxId } from "@quorate/core";
import { HISTORY_REASON, RESTORED_REASON } from "@quorate/core";
import type { NewSubmission } from "@quorate/ports";
import { beforeEach, describe, expect, test } from "vitest";

import {
  attempt,
  eventOf,
  expectLost,
  expectRefused,
  firstHash,
  hexOf,
  inclusion,
  requeued,
  SENDER,
  type SubmissionSteps,
  type SubmissionStoreWorld,
  submission,
  submissionSteps,
  txIdOf,
} from "./submission-fixture.ts";

const NOTHING = { known: 0, inFlight: 0, settled: [], contradicted: [], unknownKeys: [] };

/** What holds when a person, a restore or the chain itself steps in, and of what a person can see. */
export function recoveryLaws(current: () => SubmissionStoreWorld): void {
  let world: SubmissionStoreWorld;
  let store: SubmissionStoreWorld["store"];
  let steps: SubmissionSteps;
  beforeEach(() => {
    world = current();
    store = world.store;
    steps = submissionSteps(store);
  });

  const operatorLog = async () =>
    (await world.operatorLog()).map(({ action, subject, by, reason }) => [
      action,
      subject,
      by,
      reason,
    ]);

  describe("release", () => {
    test("puts a quarantined submission back at its place in the queue, and is logged", async () => {
      const lease = await steps.lead(0n);
      const [a, b] = await steps.enqueue("tx-a", "tx-b");
      await store.quarantine(lease, txIdOf("tx-a"), "guard differs");
      expect(await steps.get("tx-a")).toMatchObject({ reason: "guard differs" });
      expect(await store.release(txIdOf("tx-a"), "ada", "looked, it is right")).toBe("released");
      expect(await steps.get("tx-a")).toMatchObject({ state: "QUEUED", nonce: null, reason: null });
      expect(await store.peekQueued(SENDER, 10)).toEqual([a, b]);
      expect(await operatorLog()).toEqual([["RELEASE", "tx-a", "ada", "looked, it is right"]]);
    });

    test("is for what is quarantined only", async () => {
      await steps.enqueue("tx-a");
      expect(await store.release(txIdOf("tx-a"), "ada", "why")).toBe("not-quarantined");
      expect(await store.release(txIdOf("tx-unknown"), "ada", "why")).toBe("unknown");
      expect(await operatorLog()).toEqual([]);
    });

    test.each(["RESERVED", "SIGNED", "INCLUDED"])(
      "waits until the nonce it had is final, while that is %s",
      async (slotState) => {
        const lease = await steps.lead(0n);
        if (slotState === "RESERVED") await steps.reserved(lease, "tx-a");
        else {
          const mined = firstHash(await steps.assigned(lease, "tx-a"));
          if (slotState === "INCLUDED") await store.markIncluded(lease, 0n, inclusion(mined, 5n));
        }
        await store.quarantine(lease, txIdOf("tx-a"), "for the test");
        expect(await store.release(txIdOf("tx-a"), "ada", "why")).toBe("slot-live");
        expect(await steps.get("tx-a")).toMatchObject({ state: "QUARANTINED", nonce: 0n });
        await store.markFinalized(lease, 0n, requeued("tx-a"));
        expect(await steps.stateOf("tx-a")).toBe("QUARANTINED");
        expect(await store.release(txIdOf("tx-a"), "ada", "why")).toBe("released");
        expect(await operatorLog()).toHaveLength(1);
        const again = await steps.assign(lease, await store.peekQueued(SENDER, 10));
        expect(again).toMatchObject({ slot: { nonce: 1n } });
      },
    );

    test("happens once, of two at once and after a lost reply", async () => {
      const lease = await steps.lead(0n);
      await steps.enqueue("tx-a", "tx-b");
      for (const id of ["tx-a", "tx-b"]) await store.quarantine(lease, txIdOf(id), "why");
      const outcomes = await Promise.all(
        [store, world.other].map((each) => each.release(txIdOf("tx-a"), "ada", "why")),
      );
      expect(outcomes.toSorted()).toEqual(["not-quarantined", "released"]);
      world.loseNextReply();
      await expectLost(world.lossy.release(txIdOf("tx-b"), "bob", "why"));
      expect(await store.release(txIdOf("tx-b"), "bob", "why")).toBe("not-quarantined");
      expect(await steps.stateOf("tx-b")).toBe("QUEUED");
      expect(await operatorLog()).toHaveLength(2);
    });
  });

  describe("freeze and thaw", () => {
    const subject = `${SENDER.chainId}/${SENDER.address}`;

    test("a sender that is not there has no state and can't be frozen", async () => {
      expect(await store.senderState(SENDER)).toBeNull();
      expect(await store.freeze(SENDER, "why")).toBe(false);
      expect(await store.thaw(SENDER, "ada")).toBe(false);
      expect(await operatorLog()).toEqual([]);
    });

    test("the state tells of leader, nonce and freeze, and both are logged once", async () => {
      const { leaderEpoch } = await steps.lead(4n);
      const history = { importedThroughBlock: null, historyChecked: true, historyDiffers: false };
      const state = { ...SENDER, leaderEpoch, nextNonce: 4n, ...history };
      expect(await store.senderState(SENDER)).toEqual({ ...state, frozen: null });
      for (let times = 0; times < 2; times += 1) {
        expect(await store.freeze(SENDER, "key may be known")).toBe(true);
      }
      const frozen = (await world.other.senderState(SENDER))?.frozen;
      expect(frozen).toMatchObject({ reason: "key may be known" });
      expect(frozen?.sinceMs).toBeGreaterThan(0);
      for (let times = 0; times < 2; times += 1) {
        expect(await store.thaw(SENDER, "ada")).toBe(true);
      }
      expect(await store.senderState(SENDER)).toEqual({ ...state, frozen: null });
      expect(await operatorLog()).toEqual([
        ["FREEZE", subject, null, "key may be known"],
        ["THAW", subject, "ada", "key may be known"],
      ]);
    });

    test("a reason that needs a person stands over one that does not, whichever came first", async () => {
      await steps.lead(0n);
      const reason = async () => (await store.senderState(SENDER))?.frozen?.reason;
      await store.freeze(SENDER, `${RESTORED_REASON}monday`);
      await store.freeze(SENDER, `${HISTORY_REASON}5 events`);
      expect(await reason()).toBe(`${RESTORED_REASON}monday`);
      await store.freeze(SENDER, "a person said stop");
      expect(await reason()).toBe("a person said stop");
      await store.freeze(SENDER, `${HISTORY_REASON}5 events`);
      await store.freeze(SENDER, "another person did");
      expect(await reason()).toBe("a person said stop");
    });

    test("what was signed before goes on to finality", async () => {
      const lease = await steps.lead(0n);
      const mined = firstHash(await steps.assigned(lease, "tx-a"));
      await steps.reserved(lease, "tx-b");
      await store.freeze(SENDER, "why");
      expect(await store.addAttempt(lease, 1n, attempt("ORIGINAL", "b"))).toBe("done");
      expect(await store.addAttempt(lease, 0n, attempt("BUMP", "a"))).toBe("done");
      expect(await store.markIncluded(lease, 0n, inclusion(mined, 5n))).toBe("done");
      const items = [{ txId: txIdOf("tx-a"), outcome: "finalized", txHash: mined }] as const;
      const final = { ...requeued(), state: "FINALIZED_OK", items } as const;
      expect(await store.markFinalized(lease, 0n, final)).toBe("done");
      expect(await steps.stateOf("tx-a")).toBe("FINALIZED");
    });

    test("both happen once when the reply is lost", async () => {
      await steps.lead(0n);
      world.loseNextReply();
      await expectLost(world.lossy.freeze(SENDER, "why"));
      expect(await store.freeze(SENDER, "why")).toBe(true);
      world.loseNextReply();
      await expectLost(world.lossy.thaw(SENDER, "ada"));
      expect(await store.thaw(SENDER, "ada")).toBe(true);
      expect(await operatorLog()).toHaveLength(2);
    });
  });

  describe("abort of what is queued", () => {
    test("moves what is QUEUED and nothing else, for ever and with the reason", async () => {
      const lease = await steps.lead(0n);
      await steps.assigned(lease, "tx-signed");
      await steps.enqueue("tx-b", "tx-a", "tx-kept");
      const ids = ["tx-a", "tx-signed", "tx-unknown", "tx-b", "tx-a"].map(txIdOf);
      expect(await store.abortQueued(lease, ids, "decided ABORT")).toEqual({
        kind: "done",
        aborted: ["tx-a", "tx-b"],
      });
      expect(await steps.get("tx-a")).toMatchObject({ state: "ABORTED", reason: "decided ABORT" });
      expect(await steps.stateOf("tx-signed")).toBe("ASSIGNED");
      expect(await store.abortQueued(lease, ids, "again")).toEqual({ kind: "done", aborted: [] });
      expect(await store.enqueue([submission("tx-a")], SENDER)).toEqual([
        { kind: "exists", state: "ABORTED" },
      ]);
      expect(await store.peekQueued(SENDER, 10)).toMatchObject([{ txId: "tx-kept" }]);
      await expectRefused(store.quarantine(lease, txIdOf("tx-a"), "terminal"));
      expect(await store.release(txIdOf("tx-a"), "ada", "terminal")).toBe("not-quarantined");
    });

    test("and assign at the same time: one of them has it", async () => {
      const lease = await steps.lead(0n);
      const items = await steps.enqueue("tx-a");
      const ids = items.map(({ txId }) => txId);
      const [taken, aborted] = await Promise.all([
        submissionSteps(world.other).reserve(lease, items),
        store.abortQueued(lease, ids, "decided ABORT"),
      ]);
      const won = taken.kind === "reserved";
      expect(aborted).toEqual({ kind: "done", aborted: won ? [] : ids });
      expect(await steps.stateOf("tx-a")).toBe(won ? "ASSIGNED" : "ABORTED");
    });
  });

  describe("import of the chain's records", () => {
    test("settles what is queued, finds what is in flight, and remembers what is unknown", async () => {
      const lease = await steps.lead(0n);
      await steps.assigned(lease, "tx-signed");
      await steps.enqueue("tx-queued", "tx-done", "tx-other");
      await store.markAlreadyRecorded(lease, txIdOf("tx-done"), 4n);
      const events = ["tx-signed", "tx-queued", "tx-done", "tx-new"].map((id) => eventOf(id));
      expect(await store.importRecords(lease, events, 9n)).toEqual({
        kind: "done",
        known: 1,
        inFlight: 1,
        settled: ["tx-queued"],
        contradicted: [],
        unknownKeys: [submission("tx-new").key],
      });
      expect(await steps.get("tx-queued")).toMatchObject({
        state: "FINALIZED",
        nonce: null,
        txHash: hexOf("mined", "tx-queued"),
        blockNumber: 5n,
      });
      expect(await steps.stateOf("tx-signed")).toBe("ASSIGNED");
      expect(await steps.get("tx-done")).toMatchObject({ blockNumber: 4n, txHash: null });
      expect(await store.peekQueued(SENDER, 10)).toMatchObject([{ txId: "tx-other" }]);
      // Again, as after a lost reply: what was a difference is none any more.
      expect(await store.importRecords(lease, events, 9n)).toEqual({
        ...NOTHING,
        kind: "done",
        known: 3,
        inFlight: 1,
      });
    });

    test("quarantines what has another value, but for what is final", async () => {
      const lease = await steps.lead(0n);
      await steps.assigned(lease, "tx-signed");
      await steps.enqueue("tx-queued", "tx-done", "tx-aborted", "tx-away");
      await store.markAlreadyRecorded(lease, txIdOf("tx-done"), 4n);
      await store.abortQueued(lease, [txIdOf("tx-aborted")], "why");
      await store.quarantine(lease, txIdOf("tx-away"), "an earlier reason");
      const ids = ["tx-signed", "tx-queued", "tx-done", "tx-away"];
      // What was aborted should not be on the chain at all.
      const events = [...ids.map((id) => eventOf(id, 8n)), eventOf("tx-aborted")];
      expect(await store.importRecords(lease, events, 9n)).toEqual({
        ...NOTHING,
        kind: "done",
        contradicted: [...ids, "tx-aborted"],
      });
      const states = await Promise.all([...ids, "tx-aborted"].map((id) => steps.stateOf(id)));
      expect(states).toEqual(["QUARANTINED", "QUARANTINED", "FINALIZED", "QUARANTINED", "ABORTED"]);
      const reason = "the contract holds value 8 for it, since block 5";
      expect(await steps.get("tx-queued")).toMatchObject({ reason });
      expect(await steps.get("tx-away")).toMatchObject({ reason: "an earlier reason" });
      // The nonce it has is still followed.
      expect(await steps.get("tx-signed")).toMatchObject({ nonce: 0n, reason });
      expect(await store.liveSlots(SENDER)).toMatchObject([{ nonce: 0n }]);
      expect(await store.importRecords(lease, events, 9n)).toMatchObject({ known: 5 });
    });

    test("knows what is archived or with a person", async () => {
      const lease = await steps.lead(0n);
      await steps.enqueue("tx-old", "tx-away");
      await store.markAlreadyRecorded(lease, txIdOf("tx-old"), 4n);
      await store.markConfirmed([txIdOf("tx-old")]);
      await world.archive(txIdOf("tx-old"));
      await store.quarantine(lease, txIdOf("tx-away"), "why");
      const events = [eventOf("tx-old"), eventOf("tx-away")];
      expect(await store.importRecords(lease, events, 9n)).toMatchObject({ ...NOTHING, known: 2 });
      expect(await steps.stateOf("tx-away")).toBe("QUARANTINED");
      expect(await store.importRecords(lease, [eventOf("tx-old", 8n)], 9n)).toMatchObject({
        contradicted: ["tx-old"],
      });
    });

    test("what it remembers is not sent when its decision comes", async () => {
      const lease = await steps.lead(0n);
      await store.importRecords(lease, [eventOf("tx-a"), eventOf("tx-b", 8n)], 9n);
      const inputs = ["tx-a", "tx-b", "tx-c", "tx-a"].map((id) => submission(id));
      expect(await store.enqueue(inputs, SENDER)).toEqual([
        { kind: "recorded", blockNumber: 5n },
        { kind: "conflict", storedValue: 8n },
        { kind: "queued" },
        { kind: "exists", state: "FINALIZED" },
      ]);
      expect(await steps.get("tx-a")).toMatchObject({
        state: "FINALIZED",
        value: 7n,
        nonce: null,
        txHash: hexOf("mined", "tx-a"),
        blockNumber: 5n,
      });
      expect(await steps.get("tx-b")).toMatchObject({
        state: "QUARANTINED",
        value: 7n,
        reason: "the contract holds value 8 for it, since block 5",
      });
      expect(await store.peekQueued(SENDER, 10)).toMatchObject([{ txId: "tx-c" }]);
      expect((await store.unconfirmed(10)).map(({ txId }) => txId)).toEqual(["tx-a"]);
      expect(await store.enqueue(inputs.slice(0, 2), SENDER)).toEqual([
        { kind: "exists", state: "FINALIZED" },
        { kind: "exists", state: "QUARANTINED" },
      ]);
    });

    test("is of one chain", async () => {
      const lease = await steps.lead(0n);
      const elsewhere = { ...SENDER, chainId: 1 };
      await store.importRecords(lease, [eventOf("tx-a")], 9n);
      expect(await store.enqueue([submission("tx-a")], elsewhere)).toEqual([{ kind: "queued" }]);
      expect(await steps.stateOf("tx-a")).toBe("QUEUED");
    });

    test("the block imported last never goes down, and an event never changes", async () => {
      const lease = await steps.lead(0n);
      const through = async () => (await store.senderState(SENDER))?.importedThroughBlock;
      expect(await store.importRecords(lease, [], 0n)).toEqual({ ...NOTHING, kind: "done" });
      expect(await through()).toBe(0n);
      await store.importRecords(lease, [eventOf("tx-a")], 9n);
      await store.importRecords(lease, [], 8n);
      expect(await through()).toBe(9n);
      await steps.enqueue("tx-b");
      const changed = [eventOf("tx-b"), eventOf("tx-a", 8n)];
      await expectRefused(store.importRecords(lease, changed, 10n));
      expect(await through()).toBe(9n);
      expect(await steps.stateOf("tx-b")).toBe("QUEUED");
    });

    test("a deposed leader imports nothing", async () => {
      const old = await steps.lead(0n);
      await steps.enqueue("tx-a", "tx-b");
      await world.other.becomeLeader(SENDER, 0n);
      const events = [eventOf("tx-a"), eventOf("tx-b", 8n), eventOf("tx-c")];
      expect(await store.importRecords(old, events, 9n)).toEqual({ kind: "fenced" });
      expect(await store.abortQueued(old, [txIdOf("tx-a")], "late")).toEqual({ kind: "fenced" });
      expect(await store.senderState(SENDER)).toMatchObject({ importedThroughBlock: null });
      expect(await store.counts()).toMatchObject({ QUEUED: 2 });
      expect(await store.enqueue([submission("tx-c")], SENDER)).toEqual([{ kind: "queued" }]);
    });

    test("and decisions that come at the same time: none of them stays in the queue", async () => {
      const lease = await steps.lead(0n);
      const names = Array.from({ length: 12 }, (_, index) => `tx-${index}`);
      const inputs: readonly NewSubmission[] = names.map((id) => submission(id));
      const events = names.map((id) => eventOf(id));
      await Promise.all([
        ...inputs.map((input) => world.other.enqueue([input], SENDER)),
        store.importRecords(lease, events.slice(0, 6), 8n),
        store.importRecords(lease, events.slice(6), 9n),
      ]);
      expect(await store.counts()).toMatchObject({ QUEUED: 0, FINALIZED: 12 });
    });

    test("has taken effect when its reply is lost, and so has an enqueue", async () => {
      const lease = await steps.lead(0n);
      await steps.enqueue("tx-a");
      const events = [eventOf("tx-a"), eventOf("tx-b")];
      world.loseNextReply();
      await expectLost(world.lossy.importRecords(lease, events, 9n));
      expect(await store.importRecords(lease, events, 9n)).toMatchObject({ ...NOTHING, known: 2 });
      world.loseNextReply();
      await expectLost(world.lossy.enqueue([submission("tx-b")], SENDER));
      expect(await store.enqueue([submission("tx-b")], SENDER)).toEqual([
        { kind: "exists", state: "FINALIZED" },
      ]);
      await steps.enqueue("tx-c");
      world.loseNextReply();
      await expectLost(world.lossy.abortQueued(lease, [txIdOf("tx-c")], "why"));
      expect(await steps.stateOf("tx-c")).toBe("ABORTED");
    });
  });

  describe("what a person sees", () => {
    test("pages of submissions, oldest first, each once", async () => {
      expect(await store.list({ after: null, limit: 5 })).toEqual({ submissions: [], next: null });
      const names = ["tx-c", "tx-a", "tx-e", "tx-b", "tx-d"];
      await steps.enqueue(...names);
      const seen: TxId[] = [];
      let after: string | null = null;
      let pages = 0;
      do {
        const page = await world.other.list({ after, limit: 2 });
        expect(page.submissions.length).toBeLessThanOrEqual(2);
        seen.push(...page.submissions.map(({ txId }) => txId));
        after = page.next;
        pages += 1;
      } while (after !== null);
      expect(seen).toEqual(names);
      expect(pages).toBe(3);
      // A page that ends where the list does says so.
      expect(await store.list({ after: null, limit: 5 })).toMatchObject({ next: null });
      for (const bad of ["x", "", "-1", "1".repeat(19)]) {
        await expectRefused(store.list({ after: bad, limit: 2 }));
      }
    });

    test("pages of chosen states only", async () => {
      const lease = await steps.lead(0n);
      await steps.assigned(lease, "tx-a", "tx-d");
      await steps.enqueue("tx-b", "tx-c");
      await store.quarantine(lease, txIdOf("tx-b"), "why");
      const listed = async (...states: readonly SubmissionState[]) =>
        (await store.list({ states, after: null, limit: 10 })).submissions.map(({ txId }) => txId);
      expect(await listed("QUARANTINED")).toEqual(["tx-b"]);
      expect(await listed("QUARANTINED", "ASSIGNED")).toEqual(["tx-a", "tx-d", "tx-b"]);
      expect(await listed("FINALIZED")).toEqual([]);
      const states = ["ASSIGNED", "QUEUED"] as const;
      const first = await store.list({ states, after: null, limit: 2 });
      expect(first.submissions).toEqual([await steps.get("tx-a"), await steps.get("tx-d")]);
      expect(await store.list({ states, after: first.next, limit: 2 })).toEqual({
        submissions: [await steps.get("tx-c")],
        next: null,
      });
    });

    test("every nonce a submission had, with all that was signed and what became of it", async () => {
      expect(await store.detail(txIdOf("tx-a"))).toBeNull();
      const lease = await steps.lead(0n);
      await steps.enqueue("tx-a");
      expect(await store.detail(txIdOf("tx-a"))).toEqual({
        submission: await steps.get("tx-a"),
        slots: [],
        history: [],
      });
      const items = await store.peekQueued(SENDER, 10);
      await steps.reserve(lease, items);
      await store.addAttempt(lease, 0n, attempt("ORIGINAL", "first"));
      const mined = attempt("BUMP", "second");
      await store.addAttempt(lease, 0n, mined);
      await store.markIncluded(lease, 0n, inclusion(mined.hash, 5n));
      await store.markReorged(lease, 0n, "block 5 went away");
      await store.markFinalized(lease, 0n, requeued("tx-a"));
      await steps.assigned(lease, "tx-other");
      await steps.assign(lease, items);
      const detail = await world.other.detail(txIdOf("tx-a"));
      expect(detail?.submission).toEqual(await steps.get("tx-a"));
      expect(detail?.slots).toMatchObject([
        { nonce: 0n, state: "FINALIZED_FOREIGN", attempts: [{ kind: "ORIGINAL" }, mined] },
        { nonce: 2n, state: "SIGNED", attempts: [{ kind: "ORIGINAL" }] },
      ]);
      const { leaderEpoch } = lease;
      expect(
        detail?.history.map(({ nonce, from, to, blockNumber }) => [nonce, from, to, blockNumber]),
      ).toEqual([
        [0n, null, "RESERVED", null],
        [0n, "RESERVED", "SIGNED", null],
        [0n, "SIGNED", "INCLUDED", 5n],
        [0n, "INCLUDED", "SIGNED", null],
        [0n, "SIGNED", "FINALIZED_FOREIGN", 9n],
        [2n, null, "SIGNED", null],
      ]);
      expect(detail?.history[3]).toMatchObject({ leaderEpoch, reason: "block 5 went away" });
    });

    test("an archived submission, whole", async () => {
      const lease = await steps.lead(0n);
      const mined = firstHash(await steps.assigned(lease, "tx-a"));
      const items = [{ txId: txIdOf("tx-a"), outcome: "finalized", txHash: mined }] as const;
      await store.markFinalized(lease, 0n, { ...requeued(), state: "FINALIZED_OK", items });
      expect(await steps.get("tx-a")).toMatchObject({ confirmedAtMs: null, archivedAtMs: null });
      await store.markConfirmed([txIdOf("tx-a")]);
      const before = await steps.get("tx-a");
      expect(before?.confirmedAtMs).toBeGreaterThan(0);
      await world.archive(txIdOf("tx-a"));
      const after = await steps.get("tx-a");
      expect(after).toEqual({ ...before, archivedAtMs: after?.archivedAtMs });
      expect(after?.archivedAtMs).toBeGreaterThan(0);
      expect(await store.detail(txIdOf("tx-a"))).toMatchObject({
        submission: after,
        slots: [{ nonce: 0n, state: "FINALIZED_OK" }],
        history: [{ to: "SIGNED" }, { to: "FINALIZED_OK" }],
      });
      expect(await store.list({ after: null, limit: 10 })).toMatchObject({ submissions: [] });
      expect(await store.counts()).toMatchObject({ FINALIZED: 0 });
      expect(await store.release(txIdOf("tx-a"), "ada", "why")).toBe("not-quarantined");
      const stolen = { ...submission("tx-b"), key: submission("tx-a").key };
      await expectRefused(store.enqueue([stolen], SENDER));
    });
  });
}
