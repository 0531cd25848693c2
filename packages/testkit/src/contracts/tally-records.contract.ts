import {
  type BanLift,
  DEFAULT_PROTOCOL_CONFIG,
  type DecideContext,
  decide,
  emptySnapshot,
  isoTime,
  LIMITS,
  type NodeId,
  type PeerId,
  type Receipt,
  type StreakChange,
  type TrusteeSet,
  type TxId,
  type TxWrites,
  type ViolationType,
} from "@quorate/core";
import type {
  BanEntry,
  Election,
  StandaloneViolation,
  TallyMaintenance,
  TallyStore,
} from "@quorate/ports";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { txIdOf } from "../builders.ts";
import {
  castVotes,
  conflictOf,
  EIGHT,
  fail,
  forgery,
  NOW_MS,
  SEVEN,
  TallyFixture,
  type TallyWorld,
  Watched,
} from "./tally-fixture.ts";

const TTL_MS = LIMITS.receiptsTtlSeconds * 1_000;

/** The laws of what `TallyStore` keeps besides transactions: trustee sets, silent runs, bans and their ends, receipts, violations. */
export function tallyRecordsContract(name: string, makeWorld: () => Promise<TallyWorld>): void {
  describe(`tally store's records: ${name}`, () => {
    let world: TallyWorld;
    let store: TallyStore & Election & TallyMaintenance;
    let fixture: TallyFixture;
    let set: TrusteeSet;
    let epochVersion: bigint;

    beforeEach(async () => {
      world = await makeWorld();
      store = await world.client();
      fixture = new TallyFixture(world.clusterId, 6);
      set = fixture.setOf([0, 1, 2, 3, 4], 3, 1);
      await store.initCluster(set);
      ({ epochVersion } = await store.readConfig());
    });
    afterEach(async () => {
      await world.close();
    });

    const memberOf = (index: number): { readonly nodeId: NodeId; readonly peerId: PeerId } =>
      fixture.members[index]?.trustee ?? fail();

    /** What a call changes in the store: whether the revision moved. */
    const isSilent = async (call: () => Promise<unknown>): Promise<boolean> => {
      const before = await store.revision();
      await call();
      return (await store.revision()) === before;
    };

    const lowReputation = (index: number, bannedAtMs: number = NOW_MS): BanEntry => {
      const { nodeId, peerId } = memberOf(index);
      const violations = [
        { txId: "tx-1", type: "SILENT_FAILURE", detectedAtMs: NOW_MS - 1_000 },
        { txId: "tx-2", type: "MINORITY_VOTE", detectedAtMs: NOW_MS - 500 },
      ];
      const evidence = {
        type: "LOW_REPUTATION",
        nodeId,
        score: 0.15,
        bound: 0.2,
        violations,
      } as const;
      return { peerId, nodeId, reason: "LOW_REPUTATION", grade: "OPINION", bannedAtMs, evidence };
    };

    const liftOf = (index: number, liftedAtMs: number, by = "ann"): BanLift => ({
      peerId: memberOf(index).peerId,
      nodeId: memberOf(index).nodeId,
      kind: "OPERATOR",
      by,
      reason: "its disk was full; replaced",
      liftedAtMs,
      banReason: "LOW_REPUTATION",
    });

    describe("trustee sets", () => {
      test("a new cluster has one set, and it is the one in force", async () => {
        const { sets } = await store.readConfig();
        expect([...sets]).toEqual([[1, set]]);
      });

      test("a change puts the next set in force in one step, and the one before is kept", async () => {
        const next = fixture.setOf([0, 2, 3, 5], 2, 2);
        const watched = new Watched(store, await store.revision());
        expect(await store.changeTrustees(next, epochVersion)).toBe("changed");
        const config = await store.readConfig();
        expect(config.set).toEqual(next);
        expect(config.epochVersion).toBeGreaterThan(epochVersion);
        expect([...config.sets]).toEqual([
          [1, set],
          [2, next],
        ]);
        await watched.until(({ sets }) => sets.length > 0, "the change");
        await watched.stop();
        expect(watched.sets).toEqual([
          { revision: config.epochVersion, changes: [{ kind: "config" }] },
        ]);
      });

      test.each([1, 3])("epoch 1 is not followed by epoch %i", async (epoch) => {
        const silent = await isSilent(async () => {
          const change = store.changeTrustees(fixture.setOf([0, 1, 2], 2, epoch), epochVersion);
          await expect(change).rejects.toMatchObject({ code: "REFUSED", retryable: false });
        });
        expect(silent).toBe(true);
      });

      test("a change made from a set that is no longer in force is a conflict", async () => {
        await store.changeTrustees(fixture.setOf([0, 1, 2, 3], 3, 2), epochVersion);
        const late = fixture.setOf([0, 1, 2, 3, 4, 5], 4, 2);
        const silent = await isSilent(async () => {
          expect(await store.changeTrustees(late, epochVersion)).toBe("conflict");
        });
        expect(silent).toBe(true);
      });

      test("of two changes at once one is made, the other is a conflict", async () => {
        const other = await world.client();
        for (let epoch = 2; epoch < 12; epoch++) {
          const { epochVersion: version } = await store.readConfig();
          const nexts = [fixture.setOf([0, 1, 2], 2, epoch), fixture.setOf([0, 1, 2, 3], 3, epoch)];
          const outcomes = await Promise.all(
            [store, other].map((client, at) => client.changeTrustees(nexts[at] ?? fail(), version)),
          );
          expect([...outcomes].sort()).toEqual(["changed", "conflict"]);
          const config = await store.readConfig();
          expect(config.set).toEqual(nexts[outcomes.indexOf("changed")]);
          expect(config.sets.get(config.set.epoch)).toEqual(config.set);
        }
      });

      test("a change whose reply was lost, made again, is made once", async () => {
        const next = fixture.setOf([0, 1, 2, 3], 3, 2);
        await store.changeTrustees(next, epochVersion);
        const silent = await isSilent(async () => {
          expect(await store.changeTrustees(next, epochVersion)).toBe("changed");
        });
        expect(silent).toBe(true);
      });

      test("a commit that was decided before the change is a conflict, and nothing of it is written", async () => {
        const txId = txIdOf("tx-late");
        const { writes } = decide(
          emptySnapshot(txId),
          { votes: [fixture.vote(0, txId, SEVEN)], nowMs: NOW_MS, deadlinePassed: false },
          contextOf(new Map()),
        );
        await store.changeTrustees(fixture.setOf([0, 1, 2, 3], 3, 2), epochVersion);
        const commit = { version: 0n, writes: writes ?? fail() };
        const { fresh } = conflictOf((await store.commit([commit], epochVersion))[0]);
        expect(fresh.version).toBe(0n);
        expect((await store.read(txId)).snapshot.votes.size).toBe(0);
      });

      test("what opened before the change goes on under the set that it opened under", async () => {
        const txId = txIdOf("tx-open");
        await castVotes(store, set, epochVersion, { txId, votes: [fixture.vote(4, txId, SEVEN)] });
        await store.changeTrustees(fixture.setOf([0, 1, 2, 3], 3, 2), epochVersion);
        const config = await store.readConfig();
        const before = config.sets.get(set.epoch) ?? fail();
        const votes = [0, 1].map((i) => fixture.vote(i, txId, SEVEN));
        await castVotes(store, before, config.epochVersion, { txId, votes });
        expect((await store.read(txId)).snapshot.status).toBe("THRESHOLD_REACHED");
      });

      test("a hundred trustees make room for a hundred others in one step", async () => {
        const large = new TallyFixture(world.clusterId, 2 * LIMITS.trusteesMax);
        const half = (from: number): readonly number[] =>
          Array.from({ length: LIMITS.trusteesMax }, (_, i) => from + i);
        await store.changeTrustees(large.setOf(half(0), 67, 2), epochVersion);
        const config = await store.readConfig();
        const others = large.setOf(half(LIMITS.trusteesMax), 51, 3);
        expect(await store.changeTrustees(others, config.epochVersion)).toBe("changed");
        const { set: inForce, sets } = await store.readConfig();
        expect(inForce).toEqual(others);
        expect([...sets.keys()]).toEqual([1, 2, 3]);
        expect(sets.get(config.set.epoch)).toEqual(config.set);
      });

      test(`the newest ${LIMITS.epochsKept} sets are read, the one in force among them`, async () => {
        const last = LIMITS.epochsKept + 3;
        for (let epoch = 2; epoch <= last; epoch++) {
          const { epochVersion: version } = await store.readConfig();
          await store.changeTrustees(fixture.setOf([epoch % 6], 1, epoch), version);
        }
        const epochs = [...(await store.readConfig()).sets.keys()];
        expect(epochs).toHaveLength(LIMITS.epochsKept);
        expect([epochs[0], epochs.at(-1)]).toEqual([4, last]);
      });
    });

    const contextOf = (silenceStreaks: ReadonlyMap<NodeId, number>): DecideContext => ({
      set,
      config: DEFAULT_PROTOCOL_CONFIG,
      bans: new Map(),
      silenceStreaks,
      verify: fixture.verify,
    });

    const deadlineMs = NOW_MS + DEFAULT_PROTOCOL_CONFIG.deadlineMs;

    /** A transaction on which these have voted when its deadline passes. */
    const openTx = async (txId: TxId, ...voters: readonly number[]): Promise<void> => {
      const votes = voters.map((i) => fixture.vote(i, txId, SEVEN));
      await castVotes(store, set, epochVersion, { txId, votes });
    };

    /** The judgement of its silence, on these lengths of silent runs. */
    const judge = async (
      txId: TxId,
      streaks: ReadonlyMap<NodeId, number>,
    ): Promise<{ readonly version: bigint; readonly writes: TxWrites }> => {
      const { snapshot, version } = await store.read(txId);
      const input = { votes: [], nowMs: deadlineMs, deadlinePassed: true };
      const { writes } = decide(snapshot, input, contextOf(streaks));
      return { version, writes: writes ?? fail() };
    };

    describe("silent runs", () => {
      test("of two judgements on the same run the second is a conflict, and counts when made again", async () => {
        const [a, b] = [txIdOf("tx-silent-a"), txIdOf("tx-silent-b")];
        for (const txId of [a, b]) await openTx(txId, 0, 1, 2, 3);
        const none = await store.readSilenceStreaks();
        const commits = [await judge(a, none), await judge(b, none)];
        const outcomes = await store.commit(commits, epochVersion);
        expect(outcomes.map(({ kind }) => kind).sort()).toEqual(["committed", "conflict"]);
        expect([...(await store.readSilenceStreaks())]).toEqual([["node-004", 1]]);
        const lost = outcomes[0]?.kind === "conflict" ? a : b;
        const again = await judge(lost, await store.readSilenceStreaks());
        expect((await store.commit([again], epochVersion))[0]?.kind).toBe("committed");
        expect([...(await store.readSilenceStreaks())]).toEqual([["node-004", 2]]);
      });

      test("of two clients' judgements at once no one is lost", async () => {
        const other = await world.client();
        const ids = Array.from({ length: 10 }, (_, i) => txIdOf(`tx-sweep-${i}`));
        for (const txId of ids) await openTx(txId, 0, 1, 2, 3);
        const sweep = (client: TallyStore, txId: TxId): Promise<TxWrites | null> =>
          castVotes(client, set, epochVersion, {
            txId,
            votes: [],
            nowMs: deadlineMs,
            deadlinePassed: true,
          });
        // Two and two: the third in a row bans, and is then no longer expected.
        await Promise.all([sweep(store, ids[0] ?? fail()), sweep(other, ids[1] ?? fail())]);
        expect([...(await store.readSilenceStreaks())]).toEqual([["node-004", 2]]);
        expect((await store.readBans()).bans.size).toBe(0);
      });

      test("a run that ended begins anew from 0", async () => {
        for (const [i, voters] of [
          [0, 1, 2, 3],
          [0, 1, 2, 3, 4],
          [0, 1, 2, 3],
        ].entries()) {
          const txId = txIdOf(`tx-run-${i}`);
          await openTx(txId, ...voters);
          const commit = await judge(txId, await store.readSilenceStreaks());
          expect((await store.commit([commit], epochVersion))[0]?.kind).toBe("committed");
        }
        expect((await store.readSilenceStreaks()).get(memberOf(4).nodeId)).toBe(1);
      });

      test.each<[string, StreakChange]>([
        ["longer", { before: 5, after: 6 }],
        ["shorter", { before: 0, after: 1 }],
      ])(
        "a commit that takes a run to be %s than it is, is a conflict and writes nothing",
        async (_, change) => {
          const first = txIdOf("tx-first");
          await openTx(first, 0, 1, 2, 3);
          await store.commit([await judge(first, new Map())], epochVersion);
          const txId = txIdOf("tx-wrong");
          await openTx(txId, 0, 1, 2, 3);
          const commit = await judge(txId, await store.readSilenceStreaks());
          const silenceStreaks = new Map([[memberOf(4).nodeId, change]]);
          const wrong = { ...commit, writes: { ...commit.writes, silenceStreaks } };
          const silent = await isSilent(async () => {
            const { fresh } = conflictOf((await store.commit([wrong], epochVersion))[0]);
            expect(fresh.version).toBe(commit.version);
          });
          expect(silent).toBe(true);
          expect([...(await store.readSilenceStreaks())]).toEqual([["node-004", 1]]);
        },
      );
    });

    describe("bans for what is no single violation", () => {
      test("bind, and are read back with what they rest on", async () => {
        const ban = lowReputation(3);
        expect(await store.recordBan(ban)).toBe(true);
        const { bans, versions, revision } = await store.readBans();
        expect([...bans]).toEqual([[ban.peerId, ban]]);
        expect([...versions]).toEqual([[ban.peerId, revision]]);
        const txId = txIdOf("tx-low");
        const { writes } = decide(
          emptySnapshot(txId),
          { votes: [fixture.vote(3, txId, SEVEN)], nowMs: NOW_MS, deadlinePassed: false },
          contextOf(new Map()),
        );
        const commit = { version: 0n, writes: writes ?? fail() };
        const conflict = conflictOf((await store.commit([commit], epochVersion))[0]);
        expect([...conflict.bans]).toEqual([[ban.peerId, "OPINION"]]);
      });

      test("replace no ban that stands", async () => {
        const proven = forgery(fixture, set);
        await store.recordViolation(proven);
        expect(await isSilent(() => store.recordBan(lowReputation(2)))).toBe(true);
        expect((await store.readBans()).bans.get(proven.ban.peerId)).toEqual(proven.ban);
      });

      test("are replaced by a PROOF, which then stands", async () => {
        const { ban } = forgery(fixture, set);
        await store.recordBan(lowReputation(2));
        expect(await store.recordBan(ban)).toBe(true);
        for (const again of [ban, lowReputation(2)])
          expect(await isSilent(() => store.recordBan(again))).toBe(true);
        expect((await store.readBans()).bans.get(ban.peerId)).toEqual(ban);
      });

      test("of a lost reply, recorded again, are recorded once", async () => {
        const ban = lowReputation(3);
        await world.loseNextReply(store);
        await expect(store.recordBan(ban)).rejects.toMatchObject({ retryable: true });
        const silent = await isSilent(async () => {
          expect(await store.recordBan(ban)).toBe(false);
        });
        expect(silent).toBe(true);
        expect([...(await store.readBans()).bans.values()]).toEqual([ban]);
      });
    });

    describe("ends of bans", () => {
      test("an OPINION ban is ended with its reason, and the silent run with it, in one step", async () => {
        const txId = txIdOf("tx-silent");
        await openTx(txId, 0, 1, 2, 3);
        await store.commit([await judge(txId, new Map())], epochVersion);
        await store.recordBan(lowReputation(4));
        const watched = new Watched(store, await store.revision());
        const lift = liftOf(4, NOW_MS + 5_000);
        expect(await store.liftBan(lift)).toBe("lifted");
        const { bans, versions, revision } = await store.readBans();
        expect([bans.size, versions.size]).toEqual([0, 0]);
        expect((await store.readSilenceStreaks()).get(memberOf(4).nodeId)).toBe(0);
        expect(await store.readLifts()).toEqual([lift]);
        await watched.until(({ sets }) => sets.length > 0, "the end of the ban");
        await watched.stop();
        expect(watched.sets.map((s) => s.revision)).toEqual([revision]);
        expect(watched.changes).toHaveLength(2);
        expect(watched.changes).toEqual(
          expect.arrayContaining([
            { kind: "ban", peerId: lift.peerId, ban: null },
            { kind: "lift", lift },
          ]),
        );
      });

      test("whoever is free again votes again", async () => {
        const txId = txIdOf("tx-free");
        await store.recordBan(lowReputation(4));
        await store.liftBan(liftOf(4, NOW_MS));
        await openTx(txId, 4);
        expect([...(await store.read(txId)).snapshot.votes.keys()]).toEqual(["node-004"]);
      });

      test("a PROOF is permanent, and who is not banned is not freed", async () => {
        const { peerId } = memberOf(2);
        await store.recordViolation(forgery(fixture, set));
        const silent = await isSilent(async () => {
          expect(await store.liftBan(liftOf(2, NOW_MS))).toBe("permanent");
          expect(await store.liftBan(liftOf(3, NOW_MS))).toBe("not-banned");
        });
        expect(silent).toBe(true);
        expect([...(await store.readBans()).bans.keys()]).toEqual([peerId]);
        expect(await store.readLifts()).toEqual([]);
      });

      test("an end whose reply was lost, repeated, ends no later ban", async () => {
        const first = liftOf(4, NOW_MS + 1_000);
        await store.recordBan(lowReputation(4));
        await store.liftBan(first);
        expect(await isSilent(() => store.liftBan(first))).toBe(true);
        const again = lowReputation(4, NOW_MS + 2_000);
        expect(await store.recordBan(again)).toBe(true);
        expect(await store.liftBan(first)).toBe("lifted");
        expect([...(await store.readBans()).bans.values()]).toEqual([again]);
        const second = liftOf(4, NOW_MS + 3_000);
        expect(await store.liftBan(second)).toBe("lifted");
        expect((await store.readBans()).bans.size).toBe(0);
        expect(await store.readLifts()).toEqual([first, second]);
      });

      test("of two operators at once one ends the ban", async () => {
        const other = await world.client();
        await store.recordBan(lowReputation(4));
        const outcomes = await Promise.all([
          store.liftBan(liftOf(4, NOW_MS, "ann")),
          other.liftBan(liftOf(4, NOW_MS + 1, "bob")),
        ]);
        expect([...outcomes].sort()).toEqual(["lifted", "not-banned"]);
        expect(await store.readLifts()).toHaveLength(1);
      });

      test("the record of an end is never overwritten by another of the same time", async () => {
        await store.recordBan(lowReputation(4));
        await store.liftBan(liftOf(4, NOW_MS, "ann"));
        await store.recordBan(lowReputation(4));
        const late = store.liftBan(liftOf(4, NOW_MS, "bob"));
        await expect(late).rejects.toMatchObject({ code: "REFUSED", retryable: false });
        expect(await store.readLifts()).toEqual([liftOf(4, NOW_MS, "ann")]);
        expect((await store.readBans()).bans.size).toBe(1);
      });

      test("ends are listed oldest first, whoever they are of", async () => {
        const lifts = [liftOf(1, NOW_MS + 9), liftOf(4, NOW_MS + 100), liftOf(0, NOW_MS + 1_000)];
        for (const at of [2, 0, 1]) {
          const lift = lifts[at] ?? fail();
          await store.recordBan(lowReputation([1, 4, 0][at] ?? fail()));
          await store.liftBan(lift);
        }
        expect(await store.readLifts()).toEqual(lifts);
      });
    });

    describe("struck bans", () => {
      const strikeOf = (liftedAtMs: number): BanLift => ({
        ...liftOf(2, liftedAtMs, "node-000"),
        kind: "UNPROVEN",
        reason: "its evidence does not verify",
        banReason: "INVALID_SIGNATURE",
      });

      const versionOf = async (index: number): Promise<bigint> =>
        (await store.readBans()).versions.get(memberOf(index).peerId) ?? fail();

      test("even a PROOF ban is removed, as it was judged, and its removal recorded", async () => {
        await store.recordViolation(forgery(fixture, set));
        const watched = new Watched(store, await store.revision());
        const strike = strikeOf(NOW_MS);
        expect(await store.strikeBan(strike, await versionOf(2))).toBe(true);
        expect((await store.readBans()).bans.size).toBe(0);
        expect(await store.readLifts()).toEqual([strike]);
        await watched.until(({ sets }) => sets.length > 0, "the strike");
        await watched.stop();
        expect(watched.sets).toHaveLength(1);
        expect(watched.changes.map(({ kind }) => kind).sort()).toEqual(["ban", "lift"]);
      });

      test("a ban that has changed since it was judged stands", async () => {
        await store.recordBan(lowReputation(2));
        const judged = await versionOf(2);
        // A proof takes the opinion's place.
        await store.recordViolation(forgery(fixture, set));
        const silent = await isSilent(async () => {
          expect(await store.strikeBan(strikeOf(NOW_MS), judged)).toBe(false);
        });
        expect(silent).toBe(true);
        expect((await store.readBans()).bans.get(memberOf(2).peerId)?.grade).toBe("PROOF");
        expect(await store.readLifts()).toEqual([]);
      });

      test("a ban that is gone, or never was, is not struck", async () => {
        await store.recordBan(lowReputation(2));
        const judged = await versionOf(2);
        await store.liftBan(liftOf(2, NOW_MS));
        expect(await store.strikeBan(strikeOf(NOW_MS + 1), judged)).toBe(false);
        expect(await store.strikeBan(strikeOf(NOW_MS + 1), 0n)).toBe(false);
        expect(await store.readLifts()).toEqual([liftOf(2, NOW_MS)]);
      });

      test("of a lost reply, struck again, are struck once", async () => {
        await store.recordBan(lowReputation(2));
        const judged = await versionOf(2);
        await world.loseNextReply(store);
        const lost = store.strikeBan(strikeOf(NOW_MS), judged);
        await expect(lost).rejects.toMatchObject({ retryable: true });
        await store.recordBan(lowReputation(2, NOW_MS + 7));
        const silent = await isSilent(async () => {
          expect(await store.strikeBan(strikeOf(NOW_MS), judged)).toBe(true);
        });
        expect(silent).toBe(true);
        expect([...(await store.readBans()).bans.values()]).toEqual([lowReputation(2, NOW_MS + 7)]);
      });
    });

    describe("receipts", () => {
      test("of all nodes are read newest first, as many as asked for", async () => {
        const at = (second: number): number => NOW_MS + second * 1_000;
        const a = [1, 2, 5].map((s) => fixture.receipt(0, s, at(s)));
        const b = [3, 4].map((s) => fixture.receipt(1, s, at(s)));
        await store.recordReceipts(a);
        await store.recordReceipts(b);
        const seconds = (receipts: readonly Receipt[]): readonly number[] =>
          receipts.map(({ issuedAtMs }) => (issuedAtMs - NOW_MS) / 1_000);
        const all = await store.readReceipts(100);
        expect(seconds(all)).toEqual([5, 4, 3, 2, 1]);
        expect([...all].sort((x, y) => x.issuedAtMs - y.issuedAtMs)).toEqual(
          [...a, ...b].sort((x, y) => x.issuedAtMs - y.issuedAtMs),
        );
        expect(seconds(await store.readReceipts(2))).toEqual([4, 3]);
        expect(await store.readReceipts(1)).toHaveLength(1);
      });

      test("that are recorded twice, also after a lost reply, are there and shown once", async () => {
        const watched = new Watched(store, await store.revision());
        const first = [1, 2].map((s) => fixture.receipt(0, s));
        const second = [3, 4, 5].map((s) => fixture.receipt(0, s));
        await store.recordReceipts(first);
        expect(await isSilent(() => store.recordReceipts(first))).toBe(true);
        await world.loseNextReply(store);
        await expect(store.recordReceipts(second)).rejects.toMatchObject({ retryable: true });
        expect(await isSilent(() => store.recordReceipts(second))).toBe(true);
        await watched.until(({ sets }) => sets.length >= 2, "both writings");
        await watched.stop();
        expect(watched.changes).toEqual([
          { kind: "receipts", receipts: first },
          { kind: "receipts", receipts: second },
        ]);
        expect(await store.readReceipts(100)).toHaveLength(5);
      });

      test("that were added to ones recorded already are not lost", async () => {
        const receipts = [1, 2, 3, 4].map((s) => fixture.receipt(0, s));
        await store.recordReceipts(receipts.slice(0, 2));
        await store.recordReceipts(receipts);
        await store.recordReceipts(receipts);
        const kept = await store.readReceipts(100);
        expect(kept.map(({ sequence }) => sequence)).toEqual([4, 3, 2, 1]);
      });

      test("none, and as many as may be written at once, are written", async () => {
        expect(await isSilent(() => store.recordReceipts([]))).toBe(true);
        const many = Array.from({ length: LIMITS.receiptsPerWriteMax }, (_, s) =>
          fixture.receipt(0, s),
        );
        await store.recordReceipts(many);
        expect(await store.readReceipts(1_000)).toEqual([...many].reverse());
      });

      test("of two runs of a node with the same numbers stay apart", async () => {
        const one = fixture.receipt(0, 1);
        const two = { ...one, runStartedAtMs: one.runStartedAtMs + 1, issuedAtMs: NOW_MS + 1 };
        await store.recordReceipts([one]);
        await store.recordReceipts([two]);
        expect(await store.readReceipts(100)).toEqual([two, one]);
      });

      test("are kept for the time promised", async () => {
        await store.recordReceipts([fixture.receipt(0, 1)]);
        await world.pass(TTL_MS - 1);
        expect(await store.readReceipts(1)).toHaveLength(1);
      });
    });

    describe("violations of all transactions", () => {
      const violationBy = (
        index: number,
        tx: string,
        type: ViolationType = "INVALID_SIGNATURE",
      ): StandaloneViolation => {
        const { violation, ban } = forgery(fixture, set);
        const { nodeId, peerId } = memberOf(index);
        const detectedAtMs = Date.parse(isoTime(NOW_MS));
        return {
          violation: { ...violation, nodeId, peerId, type, txId: txIdOf(tx), detectedAtMs },
          ban: { ...ban, nodeId, peerId },
        };
      };

      test("are listed page by page, each once, in order", async () => {
        const entries = ["tx-c", "tx-a", "tx-b", "tx-a:1", "tx-d"].flatMap((tx) => [
          violationBy(0, tx),
          violationBy(1, tx),
        ]);
        for (const entry of entries) await store.recordViolation(entry);
        const crime = txIdOf("tx-crime");
        const votes = [SEVEN, EIGHT].map((value) => fixture.vote(2, crime, value));
        await castVotes(store, set, epochVersion, { txId: crime, votes });
        const key = (v: StandaloneViolation["violation"]): string =>
          `${v.txId}/${v.peerId}/${v.type}`;
        for (const limit of [1, 3, 10, 11, 500]) {
          const listed: StandaloneViolation["violation"][] = [];
          let pages = 0;
          for (let after: string | null = null; ; ) {
            const page = await store.listViolations({ after, limit });
            expect(page.violations.length).toBeLessThanOrEqual(limit);
            listed.push(...page.violations);
            pages++;
            after = page.next;
            if (after === null) break;
          }
          expect(pages).toBe(Math.ceil(11 / limit));
          expect(listed.map(key)).toEqual(listed.map(key).sort());
          expect(listed.map(key)).toHaveLength(11);
          for (const { violation } of entries) expect(listed).toContainEqual(violation);
          expect(listed.filter(({ type }) => type === "DOUBLE_VOTING")).toHaveLength(1);
        }
      });

      test("none are one empty page", async () => {
        expect(await store.listViolations({ after: null, limit: 10 })).toEqual({
          violations: [],
          next: null,
        });
      });

      test.each(["", "nonsense", "!", Buffer.from("votes/tx-1/node-1").toString("base64url")])(
        "a place that no page gave is refused: %j",
        async (after) => {
          const page = store.listViolations({ after, limit: 10 });
          await expect(page).rejects.toMatchObject({ code: "REFUSED", retryable: false });
        },
      );
    });
  });
}
