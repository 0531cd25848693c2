import {
  DEFAULT_PROTOCOL_CONFIG,
  decide,
  decideClaim,
  decideConfirm,
  isArchived,
  type TrusteeSet,
  type TxId,
  type TxWrites,
  type VerifiedVote,
} from "@quorate/core";
import type {
  Election,
  PurgeLevel,
  PurgeOutcome,
  TallyMaintenance,
  TallyStore,
  TxCommit,
} from "@quorate/ports";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { txIdOf } from "../builders.ts";
import {
  castVotes,
  conflictOf,
  EIGHT,
  fail,
  NINE,
  NOW_MS,
  SEVEN,
  TallyFixture,
  type TallyWorld,
  Watched,
} from "./tally-fixture.ts";

/** The laws of `TallyMaintenance`, for every implementation. */
export function tallyPurgeContract(name: string, makeWorld: () => Promise<TallyWorld>): void {
  describe(`purging: ${name}`, () => {
    let world: TallyWorld;
    let store: TallyStore & Election & TallyMaintenance;
    let fixture: TallyFixture;
    let set: TrusteeSet;
    let epochVersion: bigint;

    beforeEach(async () => {
      world = await makeWorld();
      store = await world.client();
      fixture = new TallyFixture(world.clusterId, 5);
      set = fixture.set(3);
      await store.initCluster(set);
      ({ epochVersion } = await store.readConfig());
    });
    afterEach(async () => {
      await world.close();
    });

    const cast = (txId: TxId, ...votes: readonly VerifiedVote[]): Promise<TxWrites | null> =>
      castVotes(store, set, epochVersion, { txId, votes });
    const commit = async (txId: TxId, writes: TxWrites): Promise<void> => {
      const { version } = await store.read(txId);
      const [outcome] = await store.commit([{ version, writes }], epochVersion);
      expect(outcome?.kind).toBe("committed");
    };
    const claim = async (txId: TxId): Promise<void> => {
      await cast(txId, ...[0, 1, 2].map((i) => fixture.vote(i, txId, SEVEN)));
      const claimed = decideClaim((await store.read(txId)).snapshot, set, fixture.verify);
      if (claimed.kind !== "claim") throw new Error(`expected a claim, got ${claimed.kind}`);
      await commit(txId, claimed.writes);
    };
    const confirm = async (txId: TxId): Promise<void> => {
      await claim(txId);
      const chain = { txHash: `0x${"11".repeat(32)}`, blockNumber: "5" };
      await commit(txId, decideConfirm((await store.read(txId)).snapshot, chain) ?? fail());
    };
    const abort = async (txId: TxId): Promise<void> => {
      await cast(txId, fixture.vote(0, txId, SEVEN));
      await cast(txId, fixture.vote(0, txId, EIGHT));
    };
    /** The commit of a vote as decided on what is stored now. */
    const lateVote = async (txId: TxId, index: number): Promise<TxCommit> => {
      const { snapshot, version } = await store.read(txId);
      const input = {
        votes: [fixture.vote(index, txId, SEVEN)],
        nowMs: NOW_MS,
        deadlinePassed: false,
      };
      const { writes } = decide(snapshot, input, contextOf());
      return { version, writes: writes ?? fail() };
    };
    const contextOf = (): Parameters<typeof decide>[2] => ({
      set,
      config: DEFAULT_PROTOCOL_CONFIG,
      bans: new Map(),
      silenceStreaks: new Map(),
      verify: fixture.verify,
    });
    const purge = async (
      txId: TxId,
      level: PurgeLevel,
      throughRevision?: bigint,
    ): Promise<PurgeOutcome | undefined> => {
      const through = throughRevision ?? (await store.revision());
      return (await store.purge([{ txId, level, throughRevision: through }]))[0];
    };

    test("of a confirmed transaction the votes go first, and its status, record and decision stay", async () => {
      const txId = txIdOf("tx-votes");
      await confirm(txId);
      const before = await store.read(txId);
      expect(isArchived(before.snapshot)).toBe(false);
      expect(await purge(txId, "votes")).toBe("purged");
      const { snapshot, version } = await store.read(txId);
      expect(snapshot).toMatchObject({
        status: "CONFIRMED",
        record: before.snapshot.record,
        decision: { kind: "SUBMIT", value: 7n },
      });
      expect(snapshot.votes.size).toBe(0);
      expect(isArchived(snapshot)).toBe(true);
      expect(version).toBeGreaterThan(before.version);
    });

    test("of an aborted transaction all goes but its decision, its violations and the ban", async () => {
      const txId = txIdOf("tx-aborted");
      await abort(txId);
      expect(await purge(txId, "all")).toBe("purged");
      const { snapshot, version } = await store.read(txId);
      expect(snapshot).toMatchObject({ status: null, record: null });
      expect(snapshot.decision).toEqual({ kind: "ABORT", reason: "DOUBLE_VOTING" });
      expect(isArchived(snapshot)).toBe(true);
      expect(version).toBe(0n);
      expect(await store.readViolations(txId)).toHaveLength(1);
      expect((await store.readBans()).bans.size).toBe(1);
      expect(await store.listTransactions({ after: null, limit: 10 })).toEqual([]);
    });

    test("what is open, reached or submitted is kept", async () => {
      const [open, reached, submitted] = ["tx-open", "tx-reached", "tx-submitted"].map(txIdOf);
      if (open === undefined || reached === undefined || submitted === undefined) return fail();
      await cast(open, fixture.vote(0, open, SEVEN));
      await cast(reached, ...[0, 1, 2].map((i) => fixture.vote(i, reached, SEVEN)));
      await claim(submitted);
      for (const txId of [open, reached, submitted]) {
        const before = (await store.read(txId)).snapshot;
        for (const level of ["votes", "all"] as const)
          expect(await purge(txId, level)).toBe("kept");
        expect((await store.read(txId)).snapshot).toEqual(before);
      }
    });

    test("what was written after the revision that history has is kept", async () => {
      const txId = txIdOf("tx-late-vote");
      await confirm(txId);
      const projected = await store.revision();
      await cast(txId, fixture.vote(3, txId, SEVEN));
      for (const level of ["votes", "all"] as const)
        expect(await purge(txId, level, projected)).toBe("kept");
      expect((await store.read(txId)).snapshot.votes.size).toBe(4);
      expect(await purge(txId, "votes")).toBe("purged");
      // The purge itself moved the status, and wrote nothing that history lacks.
      expect(await purge(txId, "all", projected)).toBe("purged");
    });

    test("purging again finds nothing and writes nothing", async () => {
      const txId = txIdOf("tx-again");
      await confirm(txId);
      for (const level of ["votes", "all"] as const) {
        expect(await purge(txId, level)).toBe("purged");
        const before = await store.revision();
        expect(await purge(txId, level)).toBe("gone");
        expect(await purge(txId, "votes")).toBe("gone");
        expect(await store.revision()).toBe(before);
      }
      expect(await purge(txIdOf("tx-never"), "all")).toBe("gone");
    });

    test("each request of a call has its own outcome, in order, however many there are", async () => {
      const ids = Array.from({ length: 70 }, (_, i) => txIdOf(`tx-many-${i}`));
      for (const [i, txId] of ids.entries()) if (i % 7 !== 0) await abortAlone(txId);
      const throughRevision = await store.revision();
      const outcomes = await store.purge(
        ids.map((txId) => ({ txId, level: "votes", throughRevision }) as const),
      );
      expect(outcomes).toEqual(ids.map((_, i) => (i % 7 === 0 ? "gone" : "purged")));
    });
    /** No ban comes of it, so that it can be done many times. */
    const abortAlone = async (txId: TxId): Promise<void> => {
      const votes = [0, 1, 2, 3, 4].map((i) =>
        fixture.vote(i, txId, i < 2 ? SEVEN : i < 4 ? EIGHT : NINE),
      );
      await cast(txId, ...votes);
    };

    test("a vote that was decided on before the purge is a conflict after it, and is then refused", async () => {
      const txId = txIdOf("tx-stale");
      await confirm(txId);
      const late = await lateVote(txId, 3);
      expect(await purge(txId, "votes")).toBe("purged");
      const { fresh } = conflictOf((await store.commit([late], epochVersion))[0]);
      expect(isArchived(fresh.snapshot)).toBe(true);
      const again = decide(
        fresh.snapshot,
        { votes: late.writes.newVotes, nowMs: NOW_MS, deadlinePassed: true },
        contextOf(),
      );
      expect(again).toMatchObject({
        writes: null,
        outcomes: [{ kind: "REFUSED", code: "ARCHIVED" }],
      });
      expect((await store.read(txId)).snapshot.votes.size).toBe(0);
    });

    test("a purged id is never open again, though nothing but its decision is left", async () => {
      const txId = txIdOf("tx-replayed");
      const fresh = txIdOf("tx-fresh");
      // Decided before anything was stored, as a node does that has never seen the id.
      const replay = await lateVote(txId, 3);
      const other = await lateVote(fresh, 3);
      await confirm(txId);
      expect(await purge(txId, "all")).toBe("purged");
      const outcomes = await store.commit([replay, other], epochVersion);
      expect(isArchived(conflictOf(outcomes[0]).fresh.snapshot)).toBe(true);
      expect(outcomes[1]?.kind).toBe("committed");
      expect((await store.read(txId)).snapshot.status).toBeNull();
    });

    test("the watch tells that votes are archived, and that a status is gone", async () => {
      const txId = txIdOf("tx-watched");
      await confirm(txId);
      const watched = new Watched(store, await store.revision());
      await purge(txId, "votes");
      await purge(txId, "all");
      await watched.until(
        ({ changes }) => changes.some((c) => c.kind === "status" && c.status === null),
        "the end of the status",
      );
      const [first, second] = watched.sets;
      const kinds = (changes: (typeof watched)["changes"]): string[] => [
        ...new Set(changes.map(({ kind }) => kind)),
      ];
      expect(kinds(first?.changes ?? []).sort()).toEqual(["archived", "status"]);
      expect(first?.changes.find((c) => c.kind === "status")).toMatchObject({
        status: "CONFIRMED",
        created: false,
      });
      expect(second?.changes).toContainEqual({
        kind: "status",
        txId,
        status: null,
        created: false,
      });
      await watched.stop();
    });

    test("transactions are counted while they have a status", async () => {
      const [a, b] = [txIdOf("tx-count-a"), txIdOf("tx-count-b")];
      await confirm(a);
      await cast(b, fixture.vote(0, b, SEVEN));
      expect(await store.countTransactions()).toBe(2);
      await purge(a, "votes");
      expect(await store.countTransactions()).toBe(2);
      await purge(a, "all");
      expect(await store.countTransactions()).toBe(1);
    });

    test("a compaction forgets history once, and repeating it is harmless", async () => {
      const txId = txIdOf("tx-compact");
      await confirm(txId);
      const revision = await store.revision();
      expect(await store.compact(revision)).toBe(true);
      expect(await store.compact(revision)).toBe(false);
      expect(await store.compact(revision - 1n)).toBe(false);
      const watched = new Watched(store, 1n);
      await expect(watched.end).rejects.toMatchObject({ code: "CORRUPT" });
      expect((await store.read(txId)).snapshot.status).toBe("CONFIRMED");
    });

    test("storage tells sizes and alarms, and defragmenting and disarming a healthy store change nothing", async () => {
      await confirm(txIdOf("tx-storage"));
      const before = await store.storage();
      expect(before.alarms).toEqual([]);
      expect(before.dbSizeInUseBytes).toBeLessThanOrEqual(before.dbSizeBytes);
      await store.defragment();
      expect(await store.disarm()).toBe(0);
      expect((await store.read(txIdOf("tx-storage"))).snapshot.status).toBe("CONFIRMED");
    });
  });
}
