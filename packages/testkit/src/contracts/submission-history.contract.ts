import {
  DIFFERS_REASON,
  type EvmAddress,
  HISTORY_REASON,
  parseEvmAddress,
  RESTORED_REASON,
  unwrap,
} from "@quorate/core";
import type { Sender } from "@quorate/ports";
import { beforeEach, describe, expect, test } from "vitest";

import {
  eventOf,
  expectLost,
  firstHash,
  GAS_LIMIT,
  inclusion,
  requeued,
  SENDER,
  type SubmissionSteps,
  type SubmissionStoreWorld,
  sign,
  submissionSteps,
  txIdOf,
  WINDOW_MAX,
} from "./submission-fixture.ts";

const OTHER_ADDRESS: EvmAddress = unwrap(parseEvmAddress(`0x${"b2".repeat(20)}`));
const NEIGHBOUR: Sender = { ...SENDER, address: OTHER_ADDRESS };
const RESTORED = `${RESTORED_REASON}monday`;

/** What holds before the database was held against the chain, when both differ, and of nonces that others used. */
export function historyLaws(current: () => SubmissionStoreWorld): void {
  let world: SubmissionStoreWorld;
  let store: SubmissionStoreWorld["store"];
  let steps: SubmissionSteps;
  beforeEach(() => {
    world = current();
    store = world.store;
    steps = submissionSteps(store);
  });

  const state = () => store.senderState(SENDER);

  describe("checked history", () => {
    test("a new sender takes no nonce before its history is checked, then it does", async () => {
      const lease = await store.becomeLeader(SENDER, 4n);
      const items = await steps.enqueue("tx-a", "tx-b");
      expect(await state()).toMatchObject({ historyChecked: false, frozen: null });
      let signed = 0;
      const counting: typeof sign = (...call) => {
        signed += 1;
        return sign(...call);
      };
      expect(await steps.assign(lease, items, { sign: counting })).toEqual({ kind: "frozen" });
      expect(await steps.reserve(lease, items)).toEqual({ kind: "frozen" });
      expect(signed).toBe(0);
      expect(await state()).toMatchObject({ nextNonce: 4n });
      expect(await store.peekQueued(SENDER, 10)).toEqual(items);
      expect(await store.markHistoryChecked(lease)).toBe("done");
      expect(await store.markHistoryChecked(lease)).toBe("done");
      expect(await world.other.senderState(SENDER)).toMatchObject({ historyChecked: true });
      expect(await steps.assign(lease, items.slice(0, 1))).toMatchObject({ slot: { nonce: 4n } });
      expect(await steps.reserve(lease, items)).toMatchObject({ slot: { nonce: 5n } });
    });

    test("it stays checked for the next leader", async () => {
      await steps.lead(0n);
      const next = await world.other.becomeLeader(SENDER, 0n);
      expect(await state()).toMatchObject({ historyChecked: true });
      expect(await steps.assigned(next, "tx-a")).toMatchObject({ nonce: 0n });
    });

    test("is one sender's own", async () => {
      const lease = await store.becomeLeader(SENDER, 0n);
      const neighbour = await store.becomeLeader(NEIGHBOUR, 0n);
      const elsewhere = await store.becomeLeader({ ...SENDER, chainId: 1 }, 0n);
      await store.markHistoryChecked(neighbour);
      await store.markHistoryChecked(elsewhere);
      expect(await steps.assign(lease, await steps.enqueue("tx-a"))).toEqual({ kind: "frozen" });
      await store.markHistoryChecked(lease);
      await store.freeze(NEIGHBOUR, RESTORED);
      await store.importRecords(neighbour, [eventOf("tx-new")], 9n);
      for (const each of [SENDER, { ...SENDER, chainId: 1 }]) {
        expect(await store.senderState(each)).toMatchObject({
          historyChecked: true,
          historyDiffers: false,
        });
      }
      // Nor does a thaw accept for another.
      await store.freeze(SENDER, "why");
      await store.thaw(SENDER, "ada");
      expect(await store.senderState(NEIGHBOUR)).toMatchObject({ historyDiffers: true });
    });

    test.each([RESTORED, `${HISTORY_REASON}5 events`])(
      "is asked for again by a freeze with the reason: %s",
      async (reason) => {
        const lease = await steps.lead(0n);
        await store.freeze(SENDER, reason);
        expect(await state()).toMatchObject({ historyChecked: false, frozen: { reason } });
        // To thaw it is not to check it, whoever does.
        await store.thaw(SENDER, "ada");
        expect(await state()).toMatchObject({ historyChecked: false, frozen: null });
        const items = await steps.enqueue("tx-a");
        expect(await steps.assign(lease, items)).toEqual({ kind: "frozen" });
        expect(await steps.reserve(lease, items)).toEqual({ kind: "frozen" });
        await store.markHistoryChecked(lease);
        expect(await steps.assign(lease, items)).toMatchObject({ kind: "assigned" });
      },
    );

    test("is asked for again also where a person's reason stands and is kept", async () => {
      const lease = await steps.lead(0n);
      await store.freeze(SENDER, "a person said stop");
      expect(await state()).toMatchObject({ historyChecked: true });
      await store.freeze(SENDER, RESTORED);
      const frozen = { reason: "a person said stop" };
      expect(await state()).toMatchObject({ historyChecked: false, frozen });
      await store.thaw(SENDER, "ada");
      expect(await steps.assign(lease, await steps.enqueue("tx-a"))).toEqual({ kind: "frozen" });
    });

    test("is not asked for by a person's freeze, nor by one because it differs", async () => {
      await steps.lead(0n);
      await store.freeze(SENDER, `${DIFFERS_REASON}2 records`);
      await store.thaw(SENDER, "ada");
      await store.freeze(SENDER, "a person said stop");
      expect(await state()).toMatchObject({ historyChecked: true });
    });

    test("while frozen a checked history opens nothing", async () => {
      const lease = await steps.lead(0n);
      await store.freeze(SENDER, RESTORED);
      await store.markHistoryChecked(lease);
      expect(await state()).toMatchObject({ historyChecked: true, frozen: { reason: RESTORED } });
      expect(await steps.reserve(lease, await steps.enqueue("tx-a"))).toEqual({ kind: "frozen" });
    });

    test("what was signed before goes on to finality", async () => {
      const lease = await steps.lead(0n);
      const mined = firstHash(await steps.assigned(lease, "tx-a"));
      await store.freeze(SENDER, RESTORED);
      await store.thaw(SENDER, "ada");
      expect(await store.markIncluded(lease, 0n, inclusion(mined, 5n))).toBe("done");
      const items = [{ txId: txIdOf("tx-a"), outcome: "finalized", txHash: mined }] as const;
      const final = { ...requeued(), state: "FINALIZED_OK", items } as const;
      expect(await store.markFinalized(lease, 0n, final)).toBe("done");
      expect(await steps.stateOf("tx-a")).toBe("FINALIZED");
    });
  });

  describe("a history that differs", () => {
    test.each([
      ["what was queued is on the chain", "tx-queued", 7n],
      ["what was queued is there with another value", "tx-queued", 8n],
      ["a key nobody knows is there", "tx-new", 7n],
    ])("is remembered with the import that found it: %s", async (_, name, value) => {
      const lease = await steps.lead(0n);
      await steps.enqueue("tx-queued");
      const events = [eventOf(name, value)];
      await store.importRecords(lease, events, 9n);
      expect(await state()).toMatchObject({ historyDiffers: true, importedThroughBlock: 9n });
      // Found once: what is remembered is known from then on, but nobody has accepted it.
      expect(await store.importRecords(lease, events, 9n)).toMatchObject({ known: 1 });
      await store.importRecords(lease, [], 12n);
      await store.markHistoryChecked(lease);
      await world.other.becomeLeader(SENDER, 0n);
      expect(await state()).toMatchObject({ historyDiffers: true, historyChecked: true });
    });

    test("is not one of records that are known or in flight", async () => {
      const lease = await steps.lead(0n);
      await steps.assigned(lease, "tx-signed");
      await steps.enqueue("tx-done");
      await store.markAlreadyRecorded(lease, txIdOf("tx-done"), 4n);
      await store.importRecords(lease, [eventOf("tx-signed"), eventOf("tx-done")], 9n);
      await store.importRecords(lease, [], 10n);
      expect(await state()).toMatchObject({ historyDiffers: false, importedThroughBlock: 10n });
    });

    test("is accepted by a person's thaw, once, and by nothing that a program does", async () => {
      const lease = await steps.lead(0n);
      await store.freeze(SENDER, RESTORED);
      await store.importRecords(lease, [eventOf("tx-new")], 9n);
      await store.markHistoryChecked(lease);
      expect(await store.thaw(SENDER, "a program", { onlyIf: RESTORED })).toBe(true);
      const frozen = { reason: RESTORED };
      expect(await state()).toMatchObject({ frozen, historyDiffers: true });
      expect(await store.thaw(SENDER, "ada")).toBe(true);
      expect(await state()).toMatchObject({ frozen: null, historyDiffers: false });
      await store.freeze(SENDER, RESTORED);
      await store.thaw(SENDER, "a program", { onlyIf: RESTORED });
      expect(await state()).toMatchObject({ frozen: null });
      expect((await world.operatorLog()).map(({ action, by }) => [action, by])).toEqual([
        ["FREEZE", null],
        ["THAW", "ada"],
        ["FREEZE", null],
        ["THAW", "a program"],
      ]);
    });

    test("a person accepts it before anybody froze for it, and that is logged once", async () => {
      const lease = await steps.lead(0n);
      await store.importRecords(lease, [eventOf("tx-new")], 9n);
      expect(await store.thaw(SENDER, "a program", { onlyIf: RESTORED })).toBe(true);
      expect(await state()).toMatchObject({ historyDiffers: true });
      for (let times = 0; times < 2; times += 1) await store.thaw(SENDER, "ada");
      expect(await state()).toMatchObject({ frozen: null, historyDiffers: false });
      expect(await world.operatorLog()).toMatchObject([
        { action: "THAW", by: "ada", reason: `${DIFFERS_REASON}not frozen for it yet` },
      ]);
    });

    test("a thaw that is meant for one reason leaves another standing", async () => {
      await steps.lead(0n);
      await store.freeze(SENDER, "maintenance");
      await store.thaw(SENDER, "a program", { onlyIf: "restored from a backup" });
      expect((await store.senderState(SENDER))?.frozen?.reason).toBe("maintenance");
      await store.thaw(SENDER, "a program", { onlyIf: "maintenance" });
      expect((await store.senderState(SENDER))?.frozen).toBeNull();
    });
  });

  describe("a floor", () => {
    test("is raised under the lease and never lowered", async () => {
      const lease = await steps.lead(2n);
      expect(await store.raiseFloor(lease, 7n)).toBe("done");
      expect(await store.raiseFloor(lease, 7n)).toBe("done");
      expect(await store.raiseFloor(lease, 3n)).toBe("done");
      expect(await world.other.senderState(SENDER)).toMatchObject({ nextNonce: 7n });
      expect(await steps.assigned(lease, "tx-a")).toMatchObject({ nonce: 7n });
      expect(await store.gaps(SENDER, 5n, 10)).toEqual([5n, 6n]);
    });

    test("is raised while no nonce may be taken, and for its own sender only", async () => {
      const lease = await store.becomeLeader(SENDER, 0n);
      await store.becomeLeader(NEIGHBOUR, 1n);
      await store.becomeLeader({ ...SENDER, chainId: 1 }, 1n);
      await store.freeze(SENDER, "why");
      expect(await store.raiseFloor(lease, 2n ** 60n)).toBe("done");
      expect(await state()).toMatchObject({ nextNonce: 2n ** 60n, historyChecked: false });
      expect(await store.senderState(NEIGHBOUR)).toMatchObject({ nextNonce: 1n });
      expect(await store.senderState({ ...SENDER, chainId: 1 })).toMatchObject({ nextNonce: 1n });
    });

    test("and nonces that are taken at the same time: none is taken below it twice", async () => {
      const lease = await steps.lead(0n);
      const items = await steps.enqueue("tx-a");
      const [, taken] = await Promise.all([
        store.raiseFloor(lease, 5n),
        submissionSteps(world.other).reserve(lease, items),
      ]);
      const nonce = taken.kind === "reserved" ? taken.slot.nonce : null;
      expect([0n, 5n]).toContain(nonce);
      expect(await state()).toMatchObject({ nextNonce: nonce === 5n ? 6n : 5n });
    });
  });

  describe("stranded slots", () => {
    test("are the live ones of other senders on the same chain", async () => {
      expect(await store.strandedSlots(SENDER)).toBe(0);
      const lease = await steps.lead(0n);
      const mined = firstHash(await steps.assigned(lease, "tx-a"));
      await steps.reserved(lease, "tx-b");
      await steps.assigned(lease, "tx-c");
      await store.markIncluded(lease, 0n, inclusion(mined, 5n));
      // Of this one there are three: RESERVED, SIGNED and INCLUDED.
      expect(await store.strandedSlots(SENDER)).toBe(0);
      expect(await store.strandedSlots({ ...NEIGHBOUR, chainId: 1 })).toBe(0);
      expect(await world.other.strandedSlots(NEIGHBOUR)).toBe(3);
      const neighbour = await store.becomeLeader(NEIGHBOUR, 0n);
      await store.markHistoryChecked(neighbour);
      const items = await steps.enqueue("tx-d");
      const request = { items, windowMax: WINDOW_MAX, gasLimit: GAS_LIMIT };
      expect(await store.reserve(neighbour, request)).toMatchObject({ kind: "reserved" });
      expect(await store.strandedSlots(SENDER)).toBe(1);
      expect(await store.strandedSlots(NEIGHBOUR)).toBe(3);
      await store.markFinalized(lease, 1n, requeued("tx-b"));
      await store.markFinalized(neighbour, 0n, requeued("tx-d"));
      expect(await store.strandedSlots(NEIGHBOUR)).toBe(2);
      expect(await store.strandedSlots(SENDER)).toBe(0);
    });
  });

  describe("the history's calls under a lease", () => {
    test("a deposed leader changes nothing, and nobody does for a sender that is not there", async () => {
      const old = await store.becomeLeader(SENDER, 1n);
      await world.other.becomeLeader(SENDER, 0n);
      const before = await state();
      expect(await store.markHistoryChecked(old)).toBe("fenced");
      expect(await store.raiseFloor(old, 9n)).toBe("fenced");
      expect(await store.importRecords(old, [eventOf("tx-new")], 9n)).toEqual({ kind: "fenced" });
      expect(await state()).toEqual(before);
      const nobody = { ...NEIGHBOUR, leaderEpoch: 1n };
      expect(await store.markHistoryChecked(nobody)).toBe("fenced");
      expect(await store.raiseFloor(nobody, 9n)).toBe("fenced");
      expect(await store.senderState(NEIGHBOUR)).toBeNull();
    });

    test("what was deposed reads as that, not as frozen", async () => {
      const old = await store.becomeLeader(SENDER, 0n);
      await world.other.becomeLeader(SENDER, 0n);
      expect(await steps.reserve(old, await steps.enqueue("tx-a"))).toEqual({ kind: "fenced" });
    });

    test("have taken effect when their reply is lost, and may be repeated", async () => {
      const lease = await store.becomeLeader(SENDER, 0n);
      world.loseNextReply();
      await expectLost(world.lossy.markHistoryChecked(lease));
      expect(await state()).toMatchObject({ historyChecked: true });
      expect(await world.lossy.markHistoryChecked(lease)).toBe("done");
      world.loseNextReply();
      await expectLost(world.lossy.raiseFloor(lease, 4n));
      expect(await state()).toMatchObject({ nextNonce: 4n });
      await steps.assigned(lease, "tx-a");
      expect(await world.lossy.raiseFloor(lease, 4n)).toBe("done");
      expect(await state()).toMatchObject({ nextNonce: 5n });
      world.loseNextReply();
      await expectLost(world.lossy.importRecords(lease, [eventOf("tx-new")], 9n));
      expect(await state()).toMatchObject({ historyDiffers: true });
      world.loseNextReply();
      await expectLost(world.lossy.freeze(SENDER, RESTORED));
      await store.markHistoryChecked(lease);
      // Repeated it asks again: a check too many loses nothing.
      expect(await world.lossy.freeze(SENDER, RESTORED)).toBe(true);
      expect(await state()).toMatchObject({ historyChecked: false });
      world.loseNextReply();
      await expectLost(world.lossy.thaw(SENDER, "ada"));
      expect(await world.lossy.thaw(SENDER, "ada")).toBe(true);
      expect(await state()).toMatchObject({ frozen: null, historyDiffers: false });
    });
  });
}
