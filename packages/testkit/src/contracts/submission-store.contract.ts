import { parseValue, unwrap, utf8 } from "@quorate/core";
import type { SenderLease, SubmissionStore } from "@quorate/ports";
import { afterEach, beforeEach, describe, expect, test } from "vitest";

import {
  attempt,
  expectRefused,
  FEES,
  firstHash,
  GAS_LIMIT,
  hexOf,
  inclusion,
  itemOf,
  REQUEUES_MAX,
  requeued,
  SENDER,
  type Sign,
  type SubmissionSteps,
  type SubmissionStoreWorld,
  sign,
  submission,
  submissionSteps,
  txIdOf,
  WINDOW_MAX,
} from "./submission-fixture.ts";
import { historyLaws } from "./submission-history.contract.ts";
import { recoveryLaws } from "./submission-recovery.contract.ts";
import { reservationLaws } from "./submission-reservation.contract.ts";

/** The contract of SubmissionStore: to be run on each implementation. */
export function submissionStoreContract(
  name: string,
  makeWorld: () => Promise<SubmissionStoreWorld>,
): void {
  describe(`SubmissionStore contract: ${name}`, () => {
    let world: SubmissionStoreWorld;
    let store: SubmissionStore;
    let steps: SubmissionSteps;

    beforeEach(async () => {
      world = await makeWorld();
      store = world.store;
      steps = submissionSteps(store);
    });
    afterEach(() => world.close());

    const enqueue: SubmissionSteps["enqueue"] = (...names) => steps.enqueue(...names);
    const assign: SubmissionSteps["assign"] = (...call) => steps.assign(...call);
    const assigned: SubmissionSteps["assigned"] = (...call) => steps.assigned(...call);
    const stateOf: SubmissionSteps["stateOf"] = (id) => steps.stateOf(id);

    describe("leadership", () => {
      test("each new leader gets a higher epoch, and only the newest leads", async () => {
        const first = await steps.lead(0n);
        expect(await store.isLeader(first)).toBe(true);
        const second = await world.other.becomeLeader(SENDER, 0n);
        expect(second.leaderEpoch).toBeGreaterThan(first.leaderEpoch);
        expect(await store.isLeader(first)).toBe(false);
        expect(await store.isLeader(second)).toBe(true);
      });

      test("nobody leads a sender that is not there", async () => {
        expect(await store.isLeader({ ...SENDER, leaderEpoch: 1n })).toBe(false);
      });

      test("leaders of two chains do not depose each other", async () => {
        const here = await steps.lead(0n);
        await store.becomeLeader({ ...SENDER, chainId: 1 }, 0n);
        expect(await store.isLeader(here)).toBe(true);
      });

      test("the floor raises the next nonce and never lowers it", async () => {
        const raised = await assigned(await steps.lead(5n), "tx-a");
        expect(raised.nonce).toBe(5n);
        const kept = await assigned(await steps.lead(2n), "tx-b");
        expect(kept.nonce).toBe(6n);
        const again = await assigned(await steps.lead(9n), "tx-c");
        expect(again.nonce).toBe(9n);
      });

      test("two leaders fencing: the deposed one changes nothing by any call", async () => {
        const old = await steps.lead(0n);
        const slot = await assigned(old, "tx-a");
        const [queued] = await enqueue("tx-b");
        if (queued === undefined) throw new Error("one was enqueued");
        const current = await world.other.becomeLeader(SENDER, 0n);
        const before = await store.liveSlots(SENDER);

        let signed = 0;
        const counting: Sign = (nonce, items) => {
          signed += 1;
          return sign(nonce, items);
        };
        expect(await assign(old, [queued], { sign: counting })).toEqual({ kind: "fenced" });
        expect(await steps.reserve(old, [queued])).toEqual({ kind: "fenced" });
        expect(signed).toBe(0);
        expect(await store.addAttempt(old, 0n, attempt("BUMP", "late"))).toBe("fenced");
        expect(await store.markIncluded(old, 0n, inclusion(firstHash(slot), 1n))).toBe("fenced");
        expect(await store.markReorged(old, 0n, "late")).toBe("fenced");
        const final = requeued("tx-a");
        expect(await store.markFinalized(old, 0n, final)).toBe("fenced");
        expect(await store.markAlreadyRecorded(old, queued.txId, 1n)).toBe("fenced");
        expect(await store.quarantine(old, queued.txId, "late")).toBe("fenced");

        expect(await store.liveSlots(SENDER)).toEqual(before);
        expect(await stateOf("tx-a")).toBe("ASSIGNED");
        expect(await stateOf("tx-b")).toBe("QUEUED");
        // And no nonce was lost on the way.
        const next = await assign(current, [queued]);
        expect(next).toMatchObject({ kind: "assigned", slot: { nonce: 1n } });
      });
    });

    describe("queue", () => {
      test("a decided transaction is queued once, however often it is enqueued", async () => {
        expect(await store.enqueue([submission("tx-a")], SENDER)).toEqual([{ kind: "queued" }]);
        expect(await world.other.enqueue([submission("tx-a")], SENDER)).toEqual([
          { kind: "exists", state: "QUEUED" },
        ]);
        expect(await store.peekQueued(SENDER, 10)).toEqual([itemOf(submission("tx-a"))]);
        expect(await store.get(txIdOf("tx-a"))).toMatchObject({
          ...submission("tx-a"),
          state: "QUEUED",
          nonce: null,
          txHash: null,
          blockNumber: null,
          finalizedAtMs: null,
        });
      });

      test("outcomes come one per input, in order", async () => {
        await enqueue("tx-b");
        const inputs = [submission("tx-c"), submission("tx-b"), submission("tx-a")];
        expect(await store.enqueue(inputs, SENDER)).toEqual([
          { kind: "queued" },
          { kind: "exists", state: "QUEUED" },
          { kind: "queued" },
        ]);
        expect(await store.enqueue([], SENDER)).toEqual([]);
      });

      test("an id twice in one call is queued once", async () => {
        expect(await store.enqueue([submission("tx-a"), submission("tx-a")], SENDER)).toEqual([
          { kind: "queued" },
          { kind: "exists", state: "QUEUED" },
        ]);
      });

      test("the same id with another value is a conflict, and is quarantined", async () => {
        await enqueue("tx-a", "tx-b");
        const inputs = [submission("tx-a", 8n), submission("tx-b")];
        expect(await store.enqueue(inputs, SENDER)).toEqual([
          { kind: "conflict", storedValue: 7n },
          { kind: "exists", state: "QUEUED" },
        ]);
        expect(await store.get(txIdOf("tx-a"))).toMatchObject({ state: "QUARANTINED", value: 7n });
        expect(await store.peekQueued(SENDER, 10)).toEqual([itemOf(submission("tx-b"))]);
        // The value that was stored first is still known, and still quarantined.
        expect(await store.enqueue([submission("tx-a")], SENDER)).toEqual([
          { kind: "exists", state: "QUARANTINED" },
        ]);
      });

      test("two values for one id in one call are a conflict", async () => {
        expect(
          await store.enqueue([submission("tx-a", 1n), submission("tx-a", 2n)], SENDER),
        ).toEqual([{ kind: "queued" }, { kind: "conflict", storedValue: 1n }]);
        expect(await stateOf("tx-a")).toBe("QUARANTINED");
      });

      test("values up to 2^64 - 1 are kept exactly", async () => {
        const values = [0n, 2n ** 53n + 1n, 2n ** 63n, 2n ** 64n - 1n];
        const inputs = values.map((value, index) => submission(`tx-${index}`, value));
        await store.enqueue(inputs, SENDER);
        const queued = await store.peekQueued(SENDER, 10);
        expect(queued.map(({ value }) => value)).toEqual(values);
        const lease = await steps.lead(0n);
        await assign(lease, queued);
        const [slot] = await store.liveSlots(SENDER);
        expect(slot?.items).toEqual(queued);
      });

      test("the queue is read oldest first, up to the limit, per chain", async () => {
        await enqueue("tx-c", "tx-a");
        await enqueue("tx-b");
        await store.enqueue([submission("tx-elsewhere")], { ...SENDER, chainId: 1 });
        const ids = (await store.peekQueued(SENDER, 10)).map(({ txId }) => txId);
        expect(ids).toEqual(["tx-c", "tx-a", "tx-b"]);
        expect(await store.peekQueued(SENDER, 2)).toHaveLength(2);
      });

      test("processes that enqueue the same ids at once queue each exactly once", async () => {
        const names = Array.from({ length: 20 }, (_, index) => `tx-${index}`);
        const forward = names.map((each) => submission(each));
        const outcomes = await Promise.all([
          store.enqueue(forward, SENDER),
          world.other.enqueue(forward.toReversed(), SENDER),
        ]);
        const kinds = outcomes.flat().map(({ kind }) => kind);
        expect(kinds.filter((kind) => kind === "queued")).toHaveLength(20);
        expect(kinds.filter((kind) => kind === "exists")).toHaveLength(20);
      });

      test("a key that belongs to another id refuses the whole call", async () => {
        await enqueue("tx-a");
        const stolen = { ...submission("tx-b"), key: submission("tx-a").key };
        await expectRefused(store.enqueue([submission("tx-c"), stolen], SENDER));
        expect(await store.get(txIdOf("tx-b"))).toBeNull();
        expect(await store.get(txIdOf("tx-c"))).toBeNull();
      });

      test("counts name every state", async () => {
        const zero = { QUEUED: 0, ASSIGNED: 0, INCLUDED: 0, FINALIZED: 0, ABORTED: 0 };
        expect(await store.counts()).toEqual({ ...zero, QUARANTINED: 0 });
        const lease = await steps.lead(0n);
        await assigned(lease, "tx-a");
        await enqueue("tx-b", "tx-c");
        await store.quarantine(lease, txIdOf("tx-c"), "for the count");
        expect(await store.counts()).toEqual({ ...zero, QUEUED: 1, ASSIGNED: 1, QUARANTINED: 1 });
      });
    });

    describe("assign", () => {
      test("claims, signs and stores in one step, and reads the slot back", async () => {
        const lease = await steps.lead(3n);
        const items = await enqueue("tx-a", "tx-b");
        const outcome = await assign(lease, items);
        const signed = await sign(3n, items);
        expect(outcome).toMatchObject({
          kind: "assigned",
          slot: {
            nonce: 3n,
            state: "SIGNED",
            gasLimit: GAS_LIMIT,
            items,
            attempts: [
              { ...FEES, hash: signed.hash, raw: signed.raw, kind: "ORIGINAL", sentCount: 0 },
            ],
            included: null,
          },
        });
        expect(await world.other.liveSlots(SENDER)).toEqual(
          outcome.kind === "assigned" ? [outcome.slot] : [],
        );
        expect(await store.get(txIdOf("tx-b"))).toMatchObject({ state: "ASSIGNED", nonce: 3n });
        expect(await store.peekQueued(SENDER, 10)).toEqual([]);
      });

      test("signs exactly the items that are still queued with that value, in the order asked", async () => {
        const lease = await steps.lead(0n);
        const [a, b, c] = await enqueue("tx-a", "tx-b", "tx-c");
        if (a === undefined || b === undefined || c === undefined) throw new Error("enqueued");
        await assign(lease, [b]);
        const otherValue = { txId: a.txId, value: unwrap(parseValue(99n)) };
        const unknown = itemOf(submission("tx-unknown"));
        const outcome = await assign(lease, [c, b, otherValue, unknown, c]);
        expect(outcome).toMatchObject({ kind: "assigned", slot: { nonce: 1n, items: [c] } });
        expect(await stateOf("tx-a")).toBe("QUEUED");
      });

      test("nothing queued takes no nonce and signs nothing", async () => {
        const lease = await steps.lead(0n);
        const never: Sign = () => Promise.reject(new Error("must not sign"));
        expect(await assign(lease, [], { sign: never })).toEqual({ kind: "nothing-queued" });
        const gone = [itemOf(submission("tx-unknown"))];
        expect(await assign(lease, gone, { sign: never })).toEqual({ kind: "nothing-queued" });
        expect((await assigned(lease, "tx-a")).nonce).toBe(0n);
      });

      test("crash between sign and commit: a sign that throws changes nothing and burns no nonce", async () => {
        const lease = await steps.lead(0n);
        const items = await enqueue("tx-a");
        const crash = new Error("crashed while signing");
        await expect(assign(lease, items, { sign: () => Promise.reject(crash) })).rejects.toBe(
          crash,
        );
        expect(await store.liveSlots(SENDER)).toEqual([]);
        expect(await stateOf("tx-a")).toBe("QUEUED");
        expect(await assign(lease, items)).toMatchObject({ kind: "assigned", slot: { nonce: 0n } });
      });

      test("an abort before the commit changes nothing and rejects with the signal's reason", async () => {
        const lease = await steps.lead(0n);
        const items = await enqueue("tx-a");
        const controller = new AbortController();
        const reason = new Error("shutting down");
        const aborting: Sign = (nonce, claimed) => {
          controller.abort(reason);
          return sign(nonce, claimed);
        };
        const request = { items, windowMax: WINDOW_MAX, gasLimit: GAS_LIMIT, sign: aborting };
        const call = store.assign(lease, request, { signal: controller.signal });
        await expect(call).rejects.toBe(reason);
        expect(await stateOf("tx-a")).toBe("QUEUED");
        expect(await assign(lease, items)).toMatchObject({ kind: "assigned", slot: { nonce: 0n } });
      });

      test("a full window takes nothing until a nonce is mined", async () => {
        const lease = await steps.lead(0n);
        const first = await assigned(lease, "tx-a");
        await assigned(lease, "tx-b");
        const items = await enqueue("tx-c");
        expect(await assign(lease, items, { windowMax: 2 })).toEqual({ kind: "window-full" });
        expect(await stateOf("tx-c")).toBe("QUEUED");
        await store.markIncluded(lease, 0n, inclusion(firstHash(first), 1n));
        expect(await assign(lease, items, { windowMax: 2 })).toMatchObject({
          kind: "assigned",
          slot: { nonce: 2n },
        });
      });

      test("concurrent calls by one leader get distinct nonces without a gap", async () => {
        const lease = await steps.lead(10n);
        const names = Array.from({ length: 6 }, (_, index) => `tx-${index}`);
        const items = await enqueue(...names);
        const outcomes = await Promise.all(items.map((item) => assign(lease, [item])));
        const nonces = outcomes.map((each) => (each.kind === "assigned" ? each.slot.nonce : -1n));
        expect(nonces.toSorted((a, b) => Number(a - b))).toEqual([10n, 11n, 12n, 13n, 14n, 15n]);
        const slots = await store.liveSlots(SENDER);
        expect(slots.map(({ nonce }) => nonce)).toEqual([10n, 11n, 12n, 13n, 14n, 15n]);
      });

      test("concurrent calls for one item assign it once", async () => {
        const lease = await steps.lead(0n);
        const items = await enqueue("tx-a");
        const request = { items, windowMax: WINDOW_MAX, gasLimit: GAS_LIMIT, sign };
        const calls = [store, world.other, store].map((each) => each.assign(lease, request));
        const kinds = (await Promise.all(calls)).map(({ kind }) => kind).toSorted();
        expect(kinds).toEqual(["assigned", "nothing-queued", "nothing-queued"]);
      });

      test("a leader deposed while it signs has either committed before its successor leads, or is fenced", async () => {
        const lease = await steps.lead(0n);
        const items = await enqueue("tx-a");
        let successor: Promise<SenderLease> | undefined;
        const slow: Sign = (nonce, claimed) => {
          successor = world.other.becomeLeader(SENDER, 0n);
          return sign(nonce, claimed);
        };
        const outcome = await assign(lease, items, { sign: slow });
        const next = await successor;
        if (next === undefined) throw new Error("the signer ran");
        expect(outcome.kind).toBe("assigned");
        expect(await store.isLeader(lease)).toBe(false);
        expect(await assign(next, await enqueue("tx-b"))).toMatchObject({ slot: { nonce: 1n } });
      });

      test("a frozen sender takes no nonce until it is released", async () => {
        const lease = await steps.lead(0n);
        await store.freeze(SENDER, "for the test");
        const items = await enqueue("tx-a");
        expect(await assign(lease, items)).toEqual({ kind: "frozen" });
        expect(await stateOf("tx-a")).toBe("QUEUED");
        // A new leader does not thaw it.
        const next = await steps.lead(0n);
        expect(await assign(next, items)).toEqual({ kind: "frozen" });
        await store.thaw(SENDER, "ada");
        expect(await assign(next, items)).toMatchObject({ kind: "assigned" });
      });
    });

    describe("attempts", () => {
      test("are kept with the nonce, oldest first, and survive a new leader", async () => {
        const lease = await steps.lead(0n);
        const slot = await assigned(lease, "tx-a");
        expect(await store.addAttempt(lease, 0n, attempt("BUMP", "bump"))).toBe("done");
        const next = await steps.lead(0n);
        expect(await store.addAttempt(next, 0n, attempt("CANCEL", "cancel"))).toBe("done");
        const [read] = await world.other.liveSlots(SENDER);
        expect(read?.attempts.map(({ kind }) => kind)).toEqual(["ORIGINAL", "BUMP", "CANCEL"]);
        expect(read?.attempts[0]).toEqual(slot.attempts[0]);
        expect(read?.attempts[1]).toMatchObject(attempt("BUMP", "bump"));
      });

      test("the same one again is a no-op; its hash with other bytes is refused", async () => {
        const lease = await steps.lead(0n);
        await assigned(lease, "tx-a");
        await store.addAttempt(lease, 0n, attempt("BUMP", "bump"));
        expect(await store.addAttempt(lease, 0n, attempt("BUMP", "bump"))).toBe("done");
        const forged = { ...attempt("BUMP", "bump"), raw: utf8("other bytes") };
        await expectRefused(store.addAttempt(lease, 0n, forged));
        const [slot] = await store.liveSlots(SENDER);
        expect(slot?.attempts).toHaveLength(2);
      });

      test("only a gap-filler opens a nonce that a floor jumped over, and none that was never taken", async () => {
        const lease = await steps.lead(2n);
        await expectRefused(store.addAttempt(lease, 1n, attempt("BUMP", "bump")));
        await expectRefused(store.addAttempt(lease, 2n, attempt("GAPFILL", "ahead")));
        expect(await store.addAttempt(lease, 1n, attempt("GAPFILL", "gap"))).toBe("done");
        expect(await store.liveSlots(SENDER)).toMatchObject([
          { nonce: 1n, state: "SIGNED", items: [], attempts: [{ kind: "GAPFILL" }] },
        ]);
      });

      test("a final nonce takes no more attempts", async () => {
        const lease = await steps.lead(0n);
        await assigned(lease, "tx-a");
        await store.markFinalized(lease, 0n, requeued("tx-a"));
        await expectRefused(store.addAttempt(lease, 0n, attempt("BUMP", "late")));
      });

      test("sends are counted, and a send of an unknown hash is forgotten", async () => {
        const lease = await steps.lead(0n);
        const hash = firstHash(await assigned(lease, "tx-a"));
        await store.noteSent(hash, "accepted");
        await store.noteSent(hash, "x".repeat(1_000));
        await store.noteSent(hexOf("unknown"), "accepted");
        const [slot] = await store.liveSlots(SENDER);
        expect(slot?.attempts[0]?.sentCount).toBe(2);
      });
    });

    describe("inclusion and reorg", () => {
      test("include, reorg, include elsewhere, finalize", async () => {
        const lease = await steps.lead(0n);
        const slot = await assigned(lease, "tx-a", "tx-b");
        const mined = firstHash(slot);
        expect(await store.markIncluded(lease, 0n, inclusion(mined, 5n))).toBe("done");
        expect(await store.get(txIdOf("tx-a"))).toMatchObject({
          state: "INCLUDED",
          txHash: mined,
          blockNumber: 5n,
          finalizedAtMs: null,
        });
        expect(await store.liveSlots(SENDER)).toMatchObject([
          { state: "INCLUDED", included: { hash: mined, blockNumber: 5n } },
        ]);

        expect(await store.markReorged(lease, 0n, "block 5 is not canonical")).toBe("done");
        expect(await store.liveSlots(SENDER)).toEqual([slot]);
        expect(await store.get(txIdOf("tx-b"))).toMatchObject({
          state: "ASSIGNED",
          nonce: 0n,
          txHash: null,
          blockNumber: null,
        });

        await store.markIncluded(lease, 0n, inclusion(mined, 6n));
        const finalized = { outcome: "finalized", txHash: mined } as const;
        const items = [
          { txId: txIdOf("tx-a"), ...finalized },
          { txId: txIdOf("tx-b"), ...finalized },
        ];
        const final = {
          state: "FINALIZED_OK",
          blockNumber: 6n,
          items,
          requeuesMax: REQUEUES_MAX,
        } as const;
        expect(await store.markFinalized(lease, 0n, final)).toBe("done");
        expect(await store.liveSlots(SENDER)).toEqual([]);
        const done = await store.get(txIdOf("tx-b"));
        expect(done).toMatchObject({
          state: "FINALIZED",
          nonce: 0n,
          txHash: mined,
          blockNumber: 6n,
        });
        expect(done?.finalizedAtMs).toBeGreaterThan(0);
      });

      test("every step repeated is a no-op", async () => {
        const lease = await steps.lead(0n);
        const mined = firstHash(await assigned(lease, "tx-a"));
        await store.markReorged(lease, 0n, "never included");
        expect(await stateOf("tx-a")).toBe("ASSIGNED");
        await store.markIncluded(lease, 0n, inclusion(mined, 5n));
        expect(await store.markIncluded(lease, 0n, inclusion(mined, 5n))).toBe("done");
        const items = [{ txId: txIdOf("tx-a"), outcome: "finalized", txHash: mined }] as const;
        const final = {
          state: "FINALIZED_OK",
          blockNumber: 5n,
          items,
          requeuesMax: REQUEUES_MAX,
        } as const;
        await store.markFinalized(lease, 0n, final);
        const once = await store.get(txIdOf("tx-a"));
        expect(await store.markFinalized(lease, 0n, final)).toBe("done");
        expect(await store.markIncluded(lease, 0n, inclusion(mined, 5n))).toBe("done");
        expect(await store.get(txIdOf("tx-a"))).toEqual(once);
      });

      test("found in another block without a reorg between, it stands in the newer one", async () => {
        const lease = await steps.lead(0n);
        const mined = firstHash(await assigned(lease, "tx-a"));
        await store.markIncluded(lease, 0n, inclusion(mined, 5n));
        await store.markIncluded(lease, 0n, inclusion(mined, 7n));
        expect(await store.get(txIdOf("tx-a"))).toMatchObject({
          state: "INCLUDED",
          blockNumber: 7n,
        });
      });

      test.each(["reverted", "cancelled"])(
        "a %s inclusion takes the nonce but includes no submission",
        async (how) => {
          const lease = await steps.lead(0n);
          const original = firstHash(await assigned(lease, "tx-a"));
          const cancel = attempt("CANCEL", "cancel");
          await store.addAttempt(lease, 0n, cancel);
          // First it looked well, then another block told otherwise.
          await store.markIncluded(lease, 0n, inclusion(original, 5n));
          const second =
            how === "reverted" ? inclusion(original, 6n, "reverted") : inclusion(cancel.hash, 6n);
          expect(await store.markIncluded(lease, 0n, second)).toBe("done");
          expect(await store.liveSlots(SENDER)).toMatchObject([{ state: "INCLUDED" }]);
          expect(await stateOf("tx-a")).toBe("ASSIGNED");
        },
      );

      test("a hash that was never signed for the nonce is refused", async () => {
        const lease = await steps.lead(0n);
        await assigned(lease, "tx-a");
        const other = firstHash(await assigned(lease, "tx-b"));
        await expectRefused(store.markIncluded(lease, 0n, inclusion(other, 5n)));
        await expectRefused(store.markIncluded(lease, 7n, inclusion(other, 5n)));
        expect(await stateOf("tx-a")).toBe("ASSIGNED");
      });
    });

    describe("finality", () => {
      test("requeued items keep their place in the queue and get a new nonce", async () => {
        const lease = await steps.lead(0n);
        const mined = firstHash(await assigned(lease, "tx-a", "tx-b", "tx-c"));
        await enqueue("tx-z");
        // INCLUDED once, so that the way back leads through ASSIGNED.
        await store.markIncluded(lease, 0n, inclusion(mined, 5n));
        const items = [
          { txId: txIdOf("tx-a"), outcome: "requeue", txHash: null },
          { txId: txIdOf("tx-b"), outcome: "quarantine", txHash: null },
          { txId: txIdOf("tx-c"), outcome: "finalized", txHash: mined },
        ] as const;
        const final = {
          state: "FINALIZED_REVERTED",
          blockNumber: 5n,
          items,
          requeuesMax: REQUEUES_MAX,
        } as const;
        expect(await store.markFinalized(lease, 0n, final)).toBe("done");
        expect(await store.get(txIdOf("tx-a"))).toMatchObject({ state: "QUEUED", nonce: null });
        expect(await stateOf("tx-b")).toBe("QUARANTINED");
        expect(await stateOf("tx-c")).toBe("FINALIZED");
        const queued = await store.peekQueued(SENDER, 10);
        expect(queued.map(({ txId }) => txId)).toEqual(["tx-a", "tx-z"]);
        expect(await assign(lease, queued)).toMatchObject({ slot: { nonce: 1n, items: queued } });
        // The repetition of the old step does not take them back.
        expect(await store.markFinalized(lease, 0n, final)).toBe("done");
        expect(await store.get(txIdOf("tx-a"))).toMatchObject({ state: "ASSIGNED", nonce: 1n });
      });

      test("an item that was quarantined meanwhile stays so when its nonce is final", async () => {
        const lease = await steps.lead(0n);
        const mined = firstHash(await assigned(lease, "tx-a"));
        await store.enqueue([submission("tx-a", 8n)], SENDER);
        expect(await stateOf("tx-a")).toBe("QUARANTINED");
        // The bytes are signed; the slot still names what they carry.
        expect(await store.liveSlots(SENDER)).toMatchObject([{ items: [{ txId: "tx-a" }] }]);
        const items = [{ txId: txIdOf("tx-a"), outcome: "finalized", txHash: mined }] as const;
        await store.markFinalized(lease, 0n, {
          state: "FINALIZED_OK",
          blockNumber: 5n,
          items,
          requeuesMax: REQUEUES_MAX,
        });
        expect(await stateOf("tx-a")).toBe("QUARANTINED");
        expect(await store.liveSlots(SENDER)).toEqual([]);
      });

      test("an outcome that forgets an item, or names a stranger, is refused whole", async () => {
        const lease = await steps.lead(0n);
        await assigned(lease, "tx-a", "tx-b");
        const a = { txId: txIdOf("tx-a"), outcome: "requeue", txHash: null } as const;
        const b = { ...a, txId: txIdOf("tx-b") };
        const stranger = { ...a, txId: txIdOf("tx-stranger") };
        for (const items of [[a], [a, b, stranger]]) {
          const final = {
            state: "FINALIZED_FOREIGN",
            blockNumber: 5n,
            items,
            requeuesMax: REQUEUES_MAX,
          } as const;
          await expectRefused(store.markFinalized(lease, 0n, final));
        }
        expect(await store.liveSlots(SENDER)).toMatchObject([{ state: "SIGNED" }]);
        expect(await stateOf("tx-a")).toBe("ASSIGNED");
      });

      test("a final nonce never moves again", async () => {
        const lease = await steps.lead(0n);
        const mined = firstHash(await assigned(lease, "tx-a"));
        const items = [{ txId: txIdOf("tx-a"), outcome: "requeue", txHash: null }] as const;
        const final = {
          state: "FINALIZED_FOREIGN",
          blockNumber: null,
          items,
          requeuesMax: REQUEUES_MAX,
        } as const;
        await store.markFinalized(lease, 0n, final);
        const other = { ...final, state: "FINALIZED_OK" } as const;
        await expectRefused(store.markFinalized(lease, 0n, other));
        await expectRefused(store.markIncluded(lease, 0n, inclusion(mined, 5n)));
        await expectRefused(store.markReorged(lease, 0n, "too deep"));
        expect(await stateOf("tx-a")).toBe("QUEUED");
      });

      test("what the contract already holds is settled without a nonce", async () => {
        const lease = await steps.lead(0n);
        await enqueue("tx-a");
        expect(await store.markAlreadyRecorded(lease, txIdOf("tx-a"), 4n)).toBe("done");
        expect(await store.markAlreadyRecorded(lease, txIdOf("tx-a"), 5n)).toBe("done");
        expect(await store.get(txIdOf("tx-a"))).toMatchObject({
          state: "FINALIZED",
          nonce: null,
          txHash: null,
          blockNumber: 4n,
        });
        await expectRefused(store.markAlreadyRecorded(lease, txIdOf("tx-unknown"), 4n));
      });

      test("quarantine is a no-op when repeated, and too late after finality", async () => {
        const lease = await steps.lead(0n);
        await enqueue("tx-a", "tx-b");
        expect(await store.quarantine(lease, txIdOf("tx-a"), "guard differs")).toBe("done");
        expect(await store.quarantine(lease, txIdOf("tx-a"), "again")).toBe("done");
        expect(await stateOf("tx-a")).toBe("QUARANTINED");
        await expectRefused(store.markAlreadyRecorded(lease, txIdOf("tx-a"), 4n));
        await store.markAlreadyRecorded(lease, txIdOf("tx-b"), 4n);
        await expectRefused(store.quarantine(lease, txIdOf("tx-b"), "too late"));
        await expectRefused(store.quarantine(lease, txIdOf("tx-unknown"), "no such"));
      });
    });

    describe("confirmation and retention", () => {
      test("finalized submissions are unconfirmed, oldest first, until marked", async () => {
        const lease = await steps.lead(0n);
        await enqueue("tx-a", "tx-b", "tx-c");
        for (const id of ["tx-c", "tx-a"]) await store.markAlreadyRecorded(lease, txIdOf(id), 4n);
        const waiting = await store.unconfirmed(10);
        expect(new Set(waiting.map(({ txId }) => txId))).toEqual(new Set(["tx-c", "tx-a"]));
        const times = waiting.map(({ finalizedAtMs }) => finalizedAtMs ?? 0);
        expect(times).toEqual(times.toSorted((a, b) => a - b));
        expect(await store.unconfirmed(1)).toEqual(waiting.slice(0, 1));
        // One that is not final yet is not confirmed by being named.
        const ids = [txIdOf("tx-c"), txIdOf("tx-b")];
        await store.markConfirmed(ids);
        await store.markConfirmed(ids);
        await store.markConfirmed([]);
        expect((await store.unconfirmed(10)).map(({ txId }) => txId)).toEqual(["tx-a"]);
        await store.markAlreadyRecorded(lease, txIdOf("tx-b"), 5n);
        const left = (await store.unconfirmed(10)).map(({ txId }) => txId);
        expect(new Set(left)).toEqual(new Set(["tx-a", "tx-b"]));
      });

      test("tombstone: an archived id can never be enqueued again", async () => {
        const lease = await steps.lead(0n);
        await enqueue("tx-a");
        await store.markAlreadyRecorded(lease, txIdOf("tx-a"), 4n);
        await store.markConfirmed([txIdOf("tx-a")]);
        await world.archive(txIdOf("tx-a"));
        for (const value of [7n, 8n]) {
          expect(await store.enqueue([submission("tx-a", value)], SENDER)).toEqual([
            { kind: "archived", storedValue: 7n },
          ]);
        }
        expect(await store.peekQueued(SENDER, 10)).toEqual([]);
      });

      test("an aborted signal rejects with its reason and changes nothing", async () => {
        const reason = new Error("stopped");
        const options = { signal: AbortSignal.abort(reason) };
        await expect(store.becomeLeader(SENDER, 0n, options)).rejects.toBe(reason);
        await expect(store.enqueue([submission("tx-a")], SENDER, options)).rejects.toBe(reason);
        await expect(store.counts(options)).rejects.toBe(reason);
        expect(await store.get(txIdOf("tx-a"))).toBeNull();
      });
    });

    reservationLaws(() => world);
    historyLaws(() => world);
    recoveryLaws(() => world);
  });
}
