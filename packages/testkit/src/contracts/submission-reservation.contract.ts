import { beforeEach, describe, expect, test } from "vitest";

import {
  attempt,
  expectLost,
  expectRefused,
  GAS_LIMIT,
  hexOf,
  inclusion,
  REQUEUES_MAX,
  requeued,
  SENDER,
  type SubmissionSteps,
  type SubmissionStoreWorld,
  submissionSteps,
  txIdOf,
  WINDOW_MAX,
} from "./submission-fixture.ts";

/** What holds of nonces that are taken before anything is signed for them, and of those that nobody took. */
export function reservationLaws(current: () => SubmissionStoreWorld): void {
  let world: SubmissionStoreWorld;
  let store: SubmissionStoreWorld["store"];
  let steps: SubmissionSteps;
  beforeEach(() => {
    world = current();
    store = world.store;
    steps = submissionSteps(store);
  });

  describe("reserve", () => {
    test("takes the nonce and the items before anything is signed", async () => {
      const lease = await steps.lead(3n);
      const items = await steps.enqueue("tx-a", "tx-b");
      const outcome = await steps.reserve(lease, items);
      const slot = { nonce: 3n, state: "RESERVED", gasLimit: GAS_LIMIT, items, attempts: [] };
      expect(outcome).toEqual({ kind: "reserved", slot: { ...slot, included: null } });
      expect(await world.other.liveSlots(SENDER)).toMatchObject([slot]);
      expect(await steps.get("tx-b")).toMatchObject({ state: "ASSIGNED", nonce: 3n });
      expect(await store.peekQueued(SENDER, 10)).toEqual([]);
      expect(await steps.assigned(lease, "tx-c")).toMatchObject({ nonce: 4n });
    });

    test("its ORIGINAL makes it SIGNED, once and for ever", async () => {
      const lease = await steps.lead(0n);
      await steps.reserved(lease, "tx-a");
      const original = attempt("ORIGINAL", "from the signer");
      expect(await store.addAttempt(lease, 0n, original)).toBe("done");
      expect(await store.liveSlots(SENDER)).toMatchObject([
        { nonce: 0n, state: "SIGNED", attempts: [original] },
      ]);
      // A remote signer may answer twice, and not with the same bytes.
      expect(await store.addAttempt(lease, 0n, original)).toBe("done");
      await expectRefused(store.addAttempt(lease, 0n, attempt("ORIGINAL", "another")));
      expect(await store.addAttempt(lease, 0n, attempt("BUMP", "bump"))).toBe("done");
      expect((await store.liveSlots(SENDER))[0]?.attempts).toHaveLength(2);
    });

    test("before its ORIGINAL it takes nothing else and is in no block", async () => {
      const lease = await steps.lead(0n);
      await steps.reserved(lease, "tx-a");
      for (const kind of ["BUMP", "CANCEL", "GAPFILL"] as const) {
        await expectRefused(store.addAttempt(lease, 0n, attempt(kind, kind)));
      }
      await expectRefused(store.markIncluded(lease, 0n, inclusion(hexOf("any"), 5n)));
      expect(await store.markReorged(lease, 0n, "never included")).toBe("done");
      expect(await store.liveSlots(SENDER)).toMatchObject([{ state: "RESERVED", attempts: [] }]);
      expect(await steps.stateOf("tx-a")).toBe("ASSIGNED");
    });

    test("what assign signed, and a gap, take no other ORIGINAL", async () => {
      const lease = await steps.lead(1n);
      await steps.assigned(lease, "tx-a");
      await expectRefused(store.addAttempt(lease, 1n, attempt("ORIGINAL", "second")));
      await expectRefused(store.addAttempt(lease, 0n, attempt("ORIGINAL", "in a gap")));
      expect((await store.liveSlots(SENDER))[0]?.attempts).toHaveLength(1);
    });

    test("counts against the window as what is signed does", async () => {
      const lease = await steps.lead(0n);
      await steps.reserved(lease, "tx-a");
      await steps.assigned(lease, "tx-b");
      const items = await steps.enqueue("tx-c");
      expect(await steps.reserve(lease, items, { windowMax: 2 })).toEqual({ kind: "window-full" });
      expect(await steps.assign(lease, items, { windowMax: 2 })).toEqual({ kind: "window-full" });
      expect(await steps.reserve(lease, items, { windowMax: 3 })).toMatchObject({
        kind: "reserved",
        slot: { nonce: 2n },
      });
    });

    test("takes nothing without items, while frozen, and for a deposed leader", async () => {
      const old = await steps.lead(0n);
      expect(await steps.reserve(old, [])).toEqual({ kind: "nothing-queued" });
      const items = await steps.enqueue("tx-a");
      await store.freeze(SENDER, "for the test");
      expect(await steps.reserve(old, items)).toEqual({ kind: "frozen" });
      await store.thaw(SENDER, "ada");
      const next = await world.other.becomeLeader(SENDER, 0n);
      expect(await steps.reserve(old, items)).toEqual({ kind: "fenced" });
      expect(await store.liveSlots(SENDER)).toEqual([]);
      expect(await steps.reserve(next, items)).toMatchObject({ slot: { nonce: 0n } });
    });

    test("processes that reserve the same item at once take one nonce for it", async () => {
      const lease = await steps.lead(0n);
      const items = await steps.enqueue("tx-a");
      const request = { items, windowMax: WINDOW_MAX, gasLimit: GAS_LIMIT };
      const calls = [store, world.other, store].map((each) => each.reserve(lease, request));
      const kinds = (await Promise.all(calls)).map(({ kind }) => kind).toSorted();
      expect(kinds).toEqual(["nothing-queued", "nothing-queued", "reserved"]);
      expect(await store.senderState(SENDER)).toMatchObject({ nextNonce: 1n });
    });

    test("a new leader signs what a deposed one reserved, and the late answer is fenced", async () => {
      const old = await steps.lead(0n);
      await steps.reserved(old, "tx-a");
      const next = await world.other.becomeLeader(SENDER, 0n);
      expect(await store.addAttempt(old, 0n, attempt("ORIGINAL", "late"))).toBe("fenced");
      expect(await store.addAttempt(next, 0n, attempt("ORIGINAL", "own"))).toBe("done");
      expect(await store.addAttempt(old, 0n, attempt("ORIGINAL", "late"))).toBe("fenced");
      expect((await store.liveSlots(SENDER))[0]?.attempts).toMatchObject([
        attempt("ORIGINAL", "own"),
      ]);
    });

    test("never sent, it can only end by somebody else's transaction", async () => {
      const lease = await steps.lead(0n);
      await steps.reserved(lease, "tx-a");
      for (const state of ["FINALIZED_OK", "FINALIZED_REVERTED", "FINALIZED_CANCEL"] as const) {
        const final = { ...requeued("tx-a"), state };
        await expectRefused(store.markFinalized(lease, 0n, final));
      }
      expect(await steps.stateOf("tx-a")).toBe("ASSIGNED");
      expect(await store.markFinalized(lease, 0n, requeued("tx-a"))).toBe("done");
      expect(await steps.get("tx-a")).toMatchObject({ state: "QUEUED", nonce: null, tries: 1 });
      await expectRefused(store.addAttempt(lease, 0n, attempt("ORIGINAL", "too late")));
    });

    test("after a lost reply the nonce is there, is not taken twice, and is signed once", async () => {
      const lease = await steps.lead(0n);
      const items = await steps.enqueue("tx-a");
      const lossy = submissionSteps(world.lossy);
      world.loseNextReply();
      await expectLost(lossy.reserve(lease, items));
      expect(await store.liveSlots(SENDER)).toMatchObject([{ nonce: 0n, state: "RESERVED" }]);
      expect(await lossy.reserve(lease, items)).toEqual({ kind: "nothing-queued" });
      const original = attempt("ORIGINAL", "signed");
      world.loseNextReply();
      await expectLost(world.lossy.addAttempt(lease, 0n, original));
      expect(await store.addAttempt(lease, 0n, original)).toBe("done");
      expect(await store.liveSlots(SENDER)).toMatchObject([
        { state: "SIGNED", attempts: [original] },
      ]);
    });
  });

  describe("gaps", () => {
    test("are the nonces below the next one that no slot has, from where one asks", async () => {
      expect(await store.gaps(SENDER, 0n, 10)).toEqual([]);
      await steps.assigned(await steps.lead(2n), "tx-a");
      const lease = await steps.lead(6n);
      expect(await store.gaps(SENDER, 0n, 10)).toEqual([0n, 1n, 3n, 4n, 5n]);
      expect(await store.gaps(SENDER, 1n, 2)).toEqual([1n, 3n]);
      expect(await store.gaps(SENDER, 2n, 10)).toEqual([3n, 4n, 5n]);
      expect(await store.gaps(SENDER, 6n, 10)).toEqual([]);
      expect(await store.gaps({ ...SENDER, chainId: 1 }, 0n, 10)).toEqual([]);
      await store.addAttempt(lease, 3n, attempt("GAPFILL", "three"));
      expect(await store.gaps(SENDER, 2n, 10)).toEqual([4n, 5n]);
    });

    test("of a million nonces cost no more than what is asked for", async () => {
      await steps.lead(2n ** 60n);
      expect(await store.gaps(SENDER, 5n, 3)).toEqual([5n, 6n, 7n]);
    });

    test("a filler may be filled or bumped again, and goes nowhere else", async () => {
      const lease = await steps.lead(1n);
      await steps.assigned(lease, "tx-a");
      await expectRefused(store.addAttempt(lease, 1n, attempt("GAPFILL", "over a batch")));
      await store.addAttempt(lease, 0n, attempt("GAPFILL", "first"));
      expect(await store.addAttempt(lease, 0n, attempt("GAPFILL", "second"))).toBe("done");
      expect(await store.addAttempt(lease, 0n, attempt("BUMP", "third"))).toBe("done");
      await expectRefused(store.addAttempt(lease, 0n, attempt("ORIGINAL", "never")));
      const [gap] = await store.liveSlots(SENDER);
      expect(gap?.attempts.map(({ kind }) => kind)).toEqual(["GAPFILL", "GAPFILL", "BUMP"]);
      const final = { ...requeued(), state: "FINALIZED_OK" } as const;
      expect(await store.markFinalized(lease, 0n, final)).toBe("done");
      expect(await store.liveSlots(SENDER)).toMatchObject([{ nonce: 1n }]);
    });
  });

  describe("items that come back", () => {
    test("are quarantined when they were queued again too often, with the reason", async () => {
      const lease = await steps.lead(0n);
      const items = await steps.enqueue("tx-a");
      for (let tries = 0; tries <= REQUEUES_MAX; tries += 1) {
        expect(await steps.get("tx-a")).toMatchObject({ state: "QUEUED", tries, reason: null });
        await steps.assign(lease, items);
        await store.markFinalized(lease, BigInt(tries), requeued("tx-a"));
      }
      const given = await steps.get("tx-a");
      expect(given).toMatchObject({ state: "QUARANTINED", tries: REQUEUES_MAX });
      expect(given?.reason).toBe(
        `nonce 3 became FINALIZED_FOREIGN without recording it, after ${REQUEUES_MAX} earlier tries`,
      );
      expect(await store.peekQueued(SENDER, 10)).toEqual([]);
    });

    test("of one nonce each go by their own number of tries", async () => {
      const lease = await steps.lead(0n);
      const old = await steps.enqueue("tx-old");
      await steps.assign(lease, old);
      await store.markFinalized(lease, 0n, { ...requeued("tx-old"), requeuesMax: 1 });
      await steps.assign(lease, [...old, ...(await steps.enqueue("tx-new"))]);
      const final = { ...requeued("tx-old", "tx-new"), requeuesMax: 1 };
      await store.markFinalized(lease, 1n, final);
      expect(await steps.get("tx-old")).toMatchObject({ state: "QUARANTINED", tries: 1 });
      expect(await steps.get("tx-new")).toMatchObject({ state: "QUEUED", tries: 1 });
      // One that may never be queued again.
      await steps.assign(lease, await steps.enqueue("tx-once"));
      await store.markFinalized(lease, 2n, { ...requeued("tx-once"), requeuesMax: 0 });
      expect(await steps.stateOf("tx-once")).toBe("QUARANTINED");
    });

    test("come back once, also when the reply was lost", async () => {
      const lease = await steps.lead(0n);
      await steps.assigned(lease, "tx-a");
      world.loseNextReply();
      await expectLost(world.lossy.markFinalized(lease, 0n, requeued("tx-a")));
      expect(await store.markFinalized(lease, 0n, requeued("tx-a"))).toBe("done");
      expect(await store.get(txIdOf("tx-a"))).toMatchObject({ state: "QUEUED", tries: 1 });
    });
  });
}
