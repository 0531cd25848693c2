import type { TxId } from "@quorate/core";
import type { PurgeLevel, RetentionStore } from "@quorate/ports";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { txIdOf } from "../builders.ts";

/** One history, empty at first, as one test sees it. Whatever is told of it happens now. */
export interface RetentionWorld {
  readonly store: RetentionStore;
  /** Another client of the same. */
  readonly other: RetentionStore;
  /** The projector sees a transaction in this status. */
  transaction(txId: TxId, status: "SUBMITTED" | "CONFIRMED" | "ABORTED_BYZANTINE"): Promise<void>;
  submission(txId: TxId, stage: "queued" | "finalized" | "confirmed"): Promise<void>;
  /** The projector sees a vote. */
  vote(txId: TxId): Promise<void>;
  /** Whatever was told before is so much older now, by the store's clock. */
  age(ms: number): Promise<void>;
  /** Ids of rows, in any order. */
  rows(): Promise<{
    readonly active: readonly TxId[];
    readonly archived: readonly TxId[];
    readonly votes: readonly TxId[];
    readonly archivedVotes: readonly TxId[];
  }>;
  close(): Promise<void>;
}

const HOUR_MS = 3_600_000;

/** The laws of `RetentionStore`, for every implementation. */
export function retentionContract(name: string, makeWorld: () => Promise<RetentionWorld>): void {
  describe(`retention store: ${name}`, () => {
    let world: RetentionWorld;
    beforeEach(async () => {
      world = await makeWorld();
    });
    afterEach(() => world.close());

    const confirmed = async (txId: TxId): Promise<void> => {
      await world.submission(txId, "confirmed");
      await world.transaction(txId, "CONFIRMED");
    };
    const listed = async (level: PurgeLevel, settledForMs = 0): Promise<readonly TxId[]> => {
      const query = { level, settledForMs, after: null, limit: 100 };
      return (await world.store.purgeable(query)).txIds;
    };

    test("what is confirmed and aborted is purgeable once it is old enough, oldest first", async () => {
      const [a, b, c] = [txIdOf("tx-b"), txIdOf("tx-a"), txIdOf("tx-c")];
      await confirmed(a);
      await world.transaction(b, "ABORTED_BYZANTINE");
      await confirmed(c);
      for (const level of ["votes", "all"] as const) {
        expect(await listed(level)).toEqual([a, b, c]);
        expect(await listed(level, HOUR_MS)).toEqual([]);
      }
    });

    test("how old something is, the store's own clock says, and no caller's", async () => {
      const [old, young] = [txIdOf("tx-old"), txIdOf("tx-young")];
      await confirmed(old);
      await world.vote(old);
      await world.age(2 * HOUR_MS);
      await confirmed(young);
      await world.vote(young);
      for (const level of ["votes", "all"] as const) {
        expect(await listed(level, 3 * HOUR_MS)).toEqual([]);
        expect(await listed(level, HOUR_MS)).toEqual([old]);
      }
      for (const [forMs, count] of [
        [3 * HOUR_MS, 0],
        [HOUR_MS, 1],
      ] as const) {
        const archived = { confirmedForMs: forMs, limit: 10 };
        expect(await world.store.archiveSubmissions(archived)).toBe(count);
        const retired = { recordedForMs: forMs, limit: 10, to: "archive" } as const;
        expect(await world.store.retireVotes(retired)).toBe(count);
      }
      expect(await world.rows()).toEqual({
        active: [young],
        archived: [old],
        votes: [young],
        archivedVotes: [old],
      });
    });

    test("what could still be submitted is not purgeable, whatever its status says", async () => {
      const ids = ["none", "queued", "finalized", "aborted", "open"].map((s) => txIdOf(`tx-${s}`));
      const [none, queued, finalized, aborted, open] = ids as [TxId, TxId, TxId, TxId, TxId];
      await world.transaction(none, "CONFIRMED");
      await world.submission(queued, "queued");
      await world.transaction(queued, "CONFIRMED");
      await world.submission(finalized, "finalized");
      await world.transaction(finalized, "CONFIRMED");
      await world.submission(aborted, "queued");
      await world.transaction(aborted, "ABORTED_BYZANTINE");
      await world.submission(open, "confirmed");
      await world.transaction(open, "SUBMITTED");
      expect(await listed("votes")).toEqual([]);
      expect(await listed("all")).toEqual([]);
    });

    test("what was noted is not listed again, and the second level implies the first", async () => {
      const [a, b] = [txIdOf("tx-1"), txIdOf("tx-2")];
      await confirmed(a);
      await confirmed(b);
      await world.store.notePurged([a], "votes");
      expect(await listed("votes")).toEqual([b]);
      expect(await listed("all")).toEqual([a, b]);
      await world.store.notePurged([a, b], "all");
      await world.other.notePurged([a, b], "votes");
      await world.store.notePurged([a, txIdOf("tx-unknown")], "all");
      expect(await listed("votes")).toEqual([]);
      expect(await listed("all")).toEqual([]);
    });

    test("a later status of the same transaction does not make it younger", async () => {
      const txId = txIdOf("tx-young");
      await confirmed(txId);
      await world.age(2 * HOUR_MS);
      await world.transaction(txId, "CONFIRMED");
      expect(await listed("votes", HOUR_MS)).toEqual([txId]);
    });

    test("pages continue where the one before ended, though its transactions are not purged", async () => {
      const ids = [0, 1, 2, 3, 4].map((i) => txIdOf(`tx-page-${i}`));
      for (const txId of ids) await confirmed(txId);
      const seen: TxId[] = [];
      let after: string | null = null;
      let pages = 0;
      do {
        const query = { level: "votes", settledForMs: 0, after, limit: 2 } as const;
        const page: Awaited<ReturnType<RetentionStore["purgeable"]>> =
          await world.store.purgeable(query);
        seen.push(...page.txIds);
        after = page.next;
        pages++;
      } while (after !== null && pages < 10);
      expect(seen).toEqual(ids);
      expect(pages).toBe(3);
    });

    test("confirmed submissions move to the archive, oldest first and in bounded numbers, and others stay", async () => {
      const ids = [0, 1, 2].map((i) => txIdOf(`tx-old-${i}`));
      for (const txId of ids) await world.submission(txId, "confirmed");
      await world.submission(txIdOf("tx-final"), "finalized");
      await world.submission(txIdOf("tx-queued"), "queued");
      const confirmedForMs = 0;
      const tooOld = { confirmedForMs: HOUR_MS, limit: 10 };
      expect(await world.store.archiveSubmissions(tooOld)).toBe(0);
      expect(await world.store.archiveSubmissions({ confirmedForMs, limit: 2 })).toBe(2);
      expect([...(await world.rows()).archived].sort()).toEqual(ids.slice(0, 2));
      expect(await world.store.submissionCounts()).toEqual({ active: 3, archived: 2 });
      expect(await world.other.archiveSubmissions({ confirmedForMs, limit: 2 })).toBe(1);
      expect(await world.store.archiveSubmissions({ confirmedForMs, limit: 2 })).toBe(0);
      const { active, archived } = await world.rows();
      expect([...archived].sort()).toEqual(ids);
      expect([...active].sort()).toEqual(["tx-final", "tx-queued"]);
    });

    test("two clients that archive at once move each submission once", async () => {
      const ids = Array.from({ length: 20 }, (_, i) => txIdOf(`tx-both-${i}`));
      for (const txId of ids) await world.submission(txId, "confirmed");
      const query = { confirmedForMs: 0, limit: 20 };
      const moved = await Promise.all(
        [world.store, world.other].map((store) => store.archiveSubmissions(query)),
      );
      expect(moved.reduce((sum, n) => sum + n, 0)).toBe(20);
      expect((await world.rows()).archived).toHaveLength(20);
    });

    test("what is archived stays purgeable: it was submitted", async () => {
      const txId = txIdOf("tx-archived");
      await confirmed(txId);
      await world.store.archiveSubmissions({ confirmedForMs: 0, limit: 10 });
      expect(await listed("all")).toEqual([txId]);
    });

    for (const to of ["delete", "archive"] as const)
      test(`old votes leave history in bounded numbers: ${to}`, async () => {
        const ids = [0, 1, 2].map((i) => txIdOf(`tx-vote-${i}`));
        for (const txId of ids) await world.vote(txId);
        await world.age(2 * HOUR_MS);
        const recordedForMs = HOUR_MS;
        const young = txIdOf("tx-vote-young");
        await world.vote(young);
        expect(await world.store.retireVotes({ recordedForMs, limit: 2, to })).toBe(2);
        expect([...(await world.rows()).votes].sort()).toEqual([ids[2], young]);
        expect(await world.store.retireVotes({ recordedForMs, limit: 2, to })).toBe(1);
        expect(await world.store.retireVotes({ recordedForMs, limit: 2, to })).toBe(0);
        const { votes, archivedVotes } = await world.rows();
        expect(votes).toEqual([young]);
        expect([...archivedVotes].sort()).toEqual(to === "archive" ? ids : []);
      });
  });
}
