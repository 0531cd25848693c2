import {
  DEFAULT_PROTOCOL_CONFIG,
  decide,
  decideClaim,
  LIMITS,
  parseValue,
  type TrusteeSet,
  type TxId,
  type TxWrites,
  unwrap,
  type VerifiedVote,
} from "@quorate/core";
import type { Election, Presence, TallyMaintenance, TallyStore, TxCommit } from "@quorate/ports";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { txIdOf } from "../builders.ts";
import {
  castVotes,
  conflictOf,
  countdown,
  EIGHT,
  fail,
  forgery,
  NOW_MS,
  SEVEN,
  sortedRevisions,
  TallyFixture,
  type TallyWorld,
  Watched,
} from "./tally-fixture.ts";
import { tallyPurgeContract } from "./tally-purge.contract.ts";
import { tallyRecordsContract } from "./tally-records.contract.ts";

const VALUE_MAX = unwrap(parseValue(LIMITS.valueMax));

/** The laws of `TallyStore` and `Election`, for every implementation. */
export function tallyStoreContract(name: string, makeWorld: () => Promise<TallyWorld>): void {
  tallyRecordsContract(name, makeWorld);
  tallyPurgeContract(name, makeWorld);
  describe(`tally store: ${name}`, () => {
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

    /** The commit of these votes as decided on what is stored now. */
    const prepare = async (txId: TxId, ...votes: readonly VerifiedVote[]): Promise<TxCommit> => {
      const { snapshot, version } = await store.read(txId);
      const context = {
        set,
        config: DEFAULT_PROTOCOL_CONFIG,
        bans: new Map(),
        silenceStreaks: new Map(),
        verify: fixture.verify,
      };
      const input = { votes, nowMs: NOW_MS, deadlinePassed: false };
      const { writes } = decide(snapshot, input, context);
      if (writes === null) throw new Error("these votes change something");
      return { version, writes };
    };

    describe("configuration", () => {
      test("a cluster is initialised once, and the first set stands", async () => {
        expect(await store.initCluster(fixture.set(5))).toBe("exists");
        const config = await store.readConfig();
        expect(config.set).toEqual(set);
        expect(config.epochVersion).toBeGreaterThan(0n);
      });

      test("the revision grows with every write", async () => {
        const before = await store.revision();
        await cast(txIdOf("tx-rev"), fixture.vote(0, txIdOf("tx-rev"), SEVEN));
        expect(await store.revision()).toBeGreaterThan(before);
      });
    });

    describe("guards", () => {
      test("what is committed is what is read back, values up to 2^64-1 included", async () => {
        const txId = txIdOf("tx:big_1.0");
        const votes = [0, 1, 2].map((i) => fixture.vote(i, txId, VALUE_MAX));
        const writes = await cast(txId, ...votes);
        const { snapshot, version, revision } = await store.read(txId);
        expect(snapshot.status).toBe("THRESHOLD_REACHED");
        expect(snapshot.record).toEqual(writes?.record);
        expect(snapshot.record?.value).toBe(LIMITS.valueMax);
        expect([...snapshot.votes.keys()].sort()).toEqual(["node-000", "node-001", "node-002"]);
        for (const vote of votes) {
          const stored = snapshot.votes.get(vote.vote.nodeId);
          expect(stored?.vote).toEqual(vote.vote);
          expect(stored?.proof).toEqual(vote.proof);
        }
        expect(version).toBeGreaterThan(0n);
        expect(revision).toBeGreaterThanOrEqual(version);
      });

      test("a transaction that nobody voted on is empty and has version 0", async () => {
        const { snapshot, version } = await store.read(txIdOf("tx-none"));
        expect(version).toBe(0n);
        expect(snapshot.status).toBeNull();
        expect(snapshot.votes.size).toBe(0);
      });

      test("of two commits on one version the second is a conflict that shows the first", async () => {
        const txId = txIdOf("tx-race");
        const first = await prepare(txId, fixture.vote(0, txId, SEVEN));
        const second = await prepare(txId, fixture.vote(1, txId, SEVEN));
        expect((await store.commit([first], epochVersion))[0]?.kind).toBe("committed");
        const { fresh } = conflictOf((await store.commit([second], epochVersion))[0]);
        expect([...fresh.snapshot.votes.keys()]).toEqual(["node-000"]);
        expect(fresh).toEqual(await store.read(txId));
      });

      test("every commit moves the version, even when the status word stays", async () => {
        const txId = txIdOf("tx-move");
        await cast(txId, fixture.vote(0, txId, SEVEN));
        const before = await store.read(txId);
        await cast(txId, fixture.vote(1, txId, SEVEN));
        const after = await store.read(txId);
        expect(after.snapshot.status).toBe(before.snapshot.status);
        expect(after.version).toBeGreaterThan(before.version);
      });

      test("one vote delivered to five writers at once counts once", async () => {
        const writers = await Promise.all([0, 1, 2, 3].map(() => world.client()));
        for (let round = 0; round < 20; round++) {
          const txId = txIdOf(`tx-once-${round}`);
          const votes = [fixture.vote(0, txId, SEVEN)];
          await Promise.all(
            [store, ...writers].map((writer) =>
              castVotes(writer, set, epochVersion, { txId, votes }),
            ),
          );
          const { snapshot } = await store.read(txId);
          expect(snapshot.votes.size).toBe(1);
          expect(snapshot.status).toBe("COLLECTING");
        }
      });

      test("a commit of a lost reply, repeated, changes nothing", async () => {
        const txId = txIdOf("tx-lost");
        const commit = await prepare(txId, fixture.vote(0, txId, SEVEN));
        await world.loseNextReply(store);
        await expect(store.commit([commit], epochVersion)).rejects.toMatchObject({
          name: "StoreError",
          retryable: true,
        });
        const { fresh } = conflictOf((await store.commit([commit], epochVersion))[0]);
        expect(fresh.snapshot.votes.size).toBe(1);
        const again = conflictOf((await store.commit([commit], epochVersion))[0]);
        expect(again.fresh.version).toBe(fresh.version);
      });

      test("when the epoch has moved on every commit is a conflict and nothing is written", async () => {
        const [a, b] = [txIdOf("tx-epoch-a"), txIdOf("tx-epoch-b")];
        const commits = [
          await prepare(a, fixture.vote(0, a, SEVEN)),
          await prepare(b, fixture.vote(0, b, SEVEN)),
        ];
        await world.moveEpoch(fixture.set(4, 2));
        const outcomes = await store.commit(commits, epochVersion);
        expect(outcomes.map(({ kind }) => kind)).toEqual(["conflict", "conflict"]);
        expect((await store.read(a)).version).toBe(0n);
        const config = await store.readConfig();
        expect(config.set.epoch).toBe(2);
        expect(config.epochVersion).not.toBe(epochVersion);
      });
    });

    describe("violations and bans", () => {
      test("of two differing votes of one trustee the second brings proof, ban and abort in one commit", async () => {
        const txId = txIdOf("tx-double");
        await cast(txId, fixture.vote(0, txId, SEVEN));
        await cast(txId, fixture.vote(0, txId, EIGHT));
        const { snapshot } = await store.read(txId);
        expect(snapshot.status).toBe("ABORTED_BYZANTINE");
        expect(snapshot.votes.get(set.trustees[0]?.nodeId ?? fail())?.vote.value).toBe(7n);
        expect([...(snapshot.violations.get(set.trustees[0]?.nodeId ?? fail()) ?? [])]).toEqual([
          "DOUBLE_VOTING",
        ]);
        const { bans } = await store.readBans();
        const ban = bans.get(set.trustees[0]?.peerId ?? fail());
        expect(ban).toMatchObject({ reason: "DOUBLE_VOTING", grade: "PROOF", bannedAtMs: NOW_MS });
        const [violation] = await store.readViolations(txId);
        expect(violation).toMatchObject({ type: "DOUBLE_VOTING", nodeId: "node-000", txId });
        expect(violation?.evidence).toEqual(ban?.evidence);
      });

      test("a vote of a peer that was banned meanwhile is a conflict that names the ban", async () => {
        const [crime, race] = [txIdOf("tx-crime"), txIdOf("tx-ban-race")];
        const vote = fixture.vote(0, race, SEVEN);
        const commit = await prepare(race, vote, fixture.vote(1, race, SEVEN));
        await cast(crime, fixture.vote(0, crime, SEVEN));
        await cast(crime, fixture.vote(0, crime, EIGHT));
        const { fresh, bans } = conflictOf((await store.commit([commit], epochVersion))[0]);
        expect(fresh.version).toBe(0n);
        expect([...bans]).toEqual([[vote.peerId, "PROOF"]]);
        await cast(race, vote, fixture.vote(1, race, SEVEN));
        expect([...(await store.read(race)).snapshot.votes.keys()]).toEqual(["node-001"]);
      });

      test("an OPINION is not written over a PROOF that its writer has not heard of", async () => {
        const [crime, other] = [txIdOf("tx-crime"), txIdOf("tx-other")];
        const dissent = fixture.vote(0, other, EIGHT);
        await cast(other, dissent, fixture.vote(1, other, SEVEN), fixture.vote(2, other, SEVEN));
        const commit = await prepare(other, fixture.vote(3, other, SEVEN));
        expect(commit.writes.bans).toMatchObject([{ peerId: dissent.peerId, grade: "OPINION" }]);
        await cast(crime, fixture.vote(0, crime, SEVEN));
        await cast(crime, fixture.vote(0, crime, EIGHT));
        const { bans } = conflictOf((await store.commit([commit], epochVersion))[0]);
        expect([...bans]).toEqual([[dissent.peerId, "PROOF"]]);
        expect((await store.readBans()).bans.get(dissent.peerId)?.grade).toBe("PROOF");
      });

      test("a standalone violation is recorded and bans once", async () => {
        const entry = forgery(fixture, set);
        expect(await store.recordViolation(entry)).toBe(true);
        const before = await store.revision();
        expect(await store.recordViolation(entry)).toBe(false);
        expect(await store.revision()).toBe(before);
        expect((await store.readBans()).bans.get(entry.ban.peerId)).toEqual(entry.ban);
        expect(await store.readViolations(entry.violation.txId)).toEqual([entry.violation]);
      });

      test("five clients that record the same violation at once record it once", async () => {
        const clients = await Promise.all([0, 1, 2, 3].map(() => world.client()));
        const entry = forgery(fixture, set);
        const recorded = await Promise.all(
          [store, ...clients].map((c) => c.recordViolation(entry)),
        );
        expect(recorded.filter(Boolean)).toHaveLength(1);
      });

      test("silent runs are kept", async () => {
        const txId = txIdOf("tx-silent");
        const votes = [0, 1, 2, 3].map((i) => fixture.vote(i, txId, SEVEN));
        await cast(txId, ...votes);
        const nowMs = NOW_MS + DEFAULT_PROTOCOL_CONFIG.deadlineMs;
        await castVotes(store, set, epochVersion, { txId, votes: [], nowMs, deadlinePassed: true });
        expect([...(await store.readSilenceStreaks())]).toEqual([["node-004", 1]]);
        expect((await store.read(txId)).snapshot.record?.absent).toEqual(["node-004"]);
      });
    });

    describe("batches", () => {
      test("each commit of a batch has its own outcome, in order", async () => {
        const ids = Array.from({ length: 10 }, (_, i) => txIdOf(`tx-batch-${i}`));
        const commits = await Promise.all(
          ids.map((txId) => prepare(txId, fixture.vote(0, txId, SEVEN))),
        );
        const taken = ids.filter((_, i) => i % 3 === 0);
        for (const txId of taken) await cast(txId, fixture.vote(1, txId, SEVEN));
        const outcomes = await store.commit(commits, epochVersion);
        expect(outcomes.map(({ kind }) => kind)).toEqual(
          ids.map((_, i) => (i % 3 === 0 ? "conflict" : "committed")),
        );
        for (const [i, txId] of ids.entries()) {
          const { snapshot } = await store.read(txId);
          expect([...snapshot.votes.keys()]).toEqual([i % 3 === 0 ? "node-001" : "node-000"]);
        }
      });

      test("more commits than one Txn holds all go in, with bans among them", async () => {
        const ids = Array.from({ length: 300 }, (_, i) => txIdOf(`tx-many-${i}`));
        const commits: TxCommit[] = [];
        for (const [i, txId] of ids.entries()) {
          // Every fiftieth is a double vote by another trustee: bans and an abort.
          const offender = i / 50;
          const votes = [0, 1, 2, 3, 4].map((n) => fixture.vote(n, txId, SEVEN));
          const crime = Number.isInteger(offender) && offender < 5;
          const extra = crime ? [fixture.vote(offender, txId, EIGHT)] : [];
          commits.push(
            await prepare(
              txId,
              ...(crime ? [] : votes),
              ...(crime ? [votes[offender] ?? fail(), ...extra] : []),
            ),
          );
        }
        const plain = commits.filter(({ writes }) => writes.bans.length === 0);
        const outcomes = await store.commit(plain, epochVersion);
        expect(outcomes.every(({ kind }) => kind === "committed")).toBe(true);
        const crimes = commits.filter(({ writes }) => writes.bans.length > 0);
        expect(crimes).toHaveLength(5);
        const others = await store.commit(crimes, epochVersion);
        expect(others.every(({ kind }) => kind === "committed")).toBe(true);
        expect((await store.readBans()).bans.size).toBe(5);
        for (const { writes } of commits) {
          const { snapshot } = await store.read(writes.txId);
          expect(snapshot.votes.size).toBe(writes.newVotes.length);
          expect(snapshot.status).toBe(writes.status);
        }
      });

      test("a hundred votes on a hundred values fit one commit", async () => {
        const large = new TallyFixture(world.clusterId, LIMITS.trusteesMax);
        await world.moveEpoch(large.set(100, 2));
        const config = await store.readConfig();
        const epoch = config.set.epoch;
        const txId = txIdOf("tx-hundred");
        const votes = large.members.map((_, i) =>
          large.vote(i, txId, unwrap(parseValue(BigInt(i))), epoch),
        );
        await castVotes(store, config.set, config.epochVersion, { txId, votes });
        const { snapshot } = await store.read(txId);
        expect(snapshot.votes.size).toBe(100);
        expect(snapshot.record?.reason).toBe("SPLIT_VOTE");
      });
    });

    describe("decisions", () => {
      test("a final decision is written once, though its status guard holds", async () => {
        const txId = txIdOf("tx-claim");
        await cast(txId, ...[0, 1, 2].map((i) => fixture.vote(i, txId, SEVEN)));
        const { snapshot, version } = await store.read(txId);
        const claim = decideClaim(snapshot, set, fixture.verify);
        if (claim.kind !== "claim") throw new Error(`expected a claim, got ${claim.kind}`);
        const [outcome] = await store.commit([{ version, writes: claim.writes }], epochVersion);
        expect(outcome?.kind).toBe("committed");
        const now = (await store.read(txId)).version;
        const abort: TxWrites = {
          ...claim.writes,
          status: "ABORTED_BYZANTINE",
          decision: { kind: "ABORT", reason: "SPLIT_VOTE" },
        };
        const refused = await store.commit([{ version: now, writes: abort }], epochVersion);
        expect(conflictOf(refused[0]).fresh.snapshot.status).toBe("SUBMITTED");
      });
    });

    describe("listing", () => {
      test("transactions are listed oldest first, page by page, each once", async () => {
        const ids = Array.from({ length: 25 }, (_, i) => txIdOf(`tx-list-${(i * 7) % 25}`));
        for (const txId of ids.slice(0, 5)) await cast(txId, fixture.vote(0, txId, SEVEN));
        const rest = await Promise.all(
          ids.slice(5).map((txId) => prepare(txId, fixture.vote(0, txId, SEVEN))),
        );
        await store.commit(rest, epochVersion);
        const listed: TxId[] = [];
        for (let after: TxId | null = null; ; ) {
          const page = await store.listTransactions({ after, limit: 4 });
          expect(page.length).toBeLessThanOrEqual(4);
          listed.push(...page.map(({ txId }) => txId));
          expect(
            page.every(({ status, record }) => status === "COLLECTING" && record.epoch === 1),
          ).toBe(true);
          after = page.at(-1)?.txId ?? null;
          if (after === null) break;
        }
        expect(listed.slice(0, 5)).toEqual(ids.slice(0, 5));
        expect([...listed].sort()).toEqual([...ids].sort());
      });
    });

    watchLaws();
    leaseLaws();

    function watchLaws(): void {
      describe("watch", () => {
        test("every revision comes once, in order, and whole", async () => {
          const watched = new Watched(store, await store.revision());
          const ids = Array.from({ length: 30 }, (_, i) => txIdOf(`tx-watch-${i}`));
          const commits = await Promise.all(
            ids.map((txId) =>
              prepare(txId, fixture.vote(0, txId, SEVEN), fixture.vote(1, txId, SEVEN)),
            ),
          );
          const outcomes = await store.commit(commits, epochVersion);
          const last = await cast(txIdOf("tx-end"), fixture.vote(0, txIdOf("tx-end"), SEVEN));
          expect(last).not.toBeNull();
          await watched.until(
            ({ changes }) => changes.some((c) => c.kind === "status" && c.txId === "tx-end"),
            "the last commit",
          );
          await watched.stop();
          expect(sortedRevisions(watched.sets)).toBe(true);
          for (const [i, txId] of ids.entries()) {
            const outcome = outcomes[i];
            const of = watched.sets.filter((s) =>
              s.changes.some((c) => "txId" in c && c.txId === txId),
            );
            expect(of.map(({ revision }) => revision)).toEqual([
              outcome?.kind === "committed" ? outcome.revision : null,
            ]);
            const kinds = of[0]?.changes.filter((c) => "txId" in c && c.txId === txId);
            expect(kinds?.map(({ kind }) => kind).sort()).toEqual([
              "count",
              "record",
              "status",
              "vote",
              "vote",
            ]);
            expect(kinds?.find(({ kind }) => kind === "status")).toEqual({
              kind: "status",
              txId,
              status: "COLLECTING",
              created: true,
            });
          }
        });

        test("a later status of a transaction is not its opening", async () => {
          const after = await store.revision();
          const txId = txIdOf("tx-reopen");
          await cast(txId, fixture.vote(0, txId, SEVEN));
          await cast(txId, ...[1, 2].map((i) => fixture.vote(i, txId, SEVEN)));
          const watched = new Watched(store, after);
          const statuses = (w: Watched): readonly unknown[] =>
            w.changes.filter(({ kind }) => kind === "status");
          await watched.until((w) => statuses(w).length === 2, "both statuses");
          await watched.stop();
          expect(statuses(watched)).toEqual([
            { kind: "status", txId, status: "COLLECTING", created: true },
            { kind: "status", txId, status: "THRESHOLD_REACHED", created: false },
          ]);
        });

        test("the past is delivered from any revision on", async () => {
          const after = await store.revision();
          for (const i of [0, 1, 2]) {
            const txId = txIdOf(`tx-past-${i}`);
            await cast(txId, fixture.vote(0, txId, SEVEN));
          }
          const all = new Watched(store, after);
          await all.until(({ sets }) => sets.length === 3, "three revisions");
          await all.stop();
          const rest = new Watched(store, all.sets[0]?.revision ?? fail());
          await rest.until(({ sets }) => sets.length === 2, "two revisions");
          await rest.stop();
          expect(rest.sets).toEqual(all.sets.slice(1));
        });

        test("the next change set waits for the callback", async () => {
          const after = await store.revision();
          for (const i of [0, 1, 2]) {
            const txId = txIdOf(`tx-seq-${i}`);
            await cast(txId, fixture.vote(0, txId, SEVEN));
          }
          const abort = new AbortController();
          let inside = 0;
          let calls = 0;
          const end = store.watch(
            after,
            async () => {
              inside++;
              expect(inside).toBe(1);
              await new Promise((resolve) => setImmediate(resolve));
              inside--;
              if (++calls === 3) abort.abort();
            },
            { signal: abort.signal },
          );
          await end;
          expect(calls).toBe(3);
        });

        test("what the callback throws ends the watch", async () => {
          const after = await store.revision();
          const txId = txIdOf("tx-throw");
          await cast(txId, fixture.vote(0, txId, SEVEN));
          const boom = new Error("callback failed");
          const end = store.watch(
            after,
            () => {
              throw boom;
            },
            { signal: new AbortController().signal },
          );
          await expect(end).rejects.toBe(boom);
        });

        test("an abort ends it though nothing happens", async () => {
          const watched = new Watched(store, await store.revision());
          await watched.stop();
          expect(watched.sets).toEqual([]);
        });

        test("a compacted past is CORRUPT", async () => {
          const after = await store.revision();
          for (const i of [0, 1, 2]) {
            const txId = txIdOf(`tx-compact-${i}`);
            await cast(txId, fixture.vote(0, txId, SEVEN));
          }
          await world.compact(await store.revision());
          const end = store.watch(after, () => {}, { signal: new AbortController().signal });
          await expect(end).rejects.toMatchObject({ code: "CORRUPT", retryable: false });
        });

        test("over a restart of the servers nothing is missed and nothing comes twice", async () => {
          const watched = new Watched(store, await store.revision());
          const ids = Array.from({ length: 6 }, (_, i) => txIdOf(`tx-restart-${i}`));
          for (const txId of ids.slice(0, 3)) await cast(txId, fixture.vote(0, txId, SEVEN));
          await watched.until(({ sets }) => sets.length === 3, "what came before the restart");
          await world.restart();
          for (const txId of ids.slice(3)) {
            // The client may find its connection broken once.
            await cast(txId, fixture.vote(0, txId, SEVEN)).catch(() =>
              cast(txId, fixture.vote(0, txId, SEVEN)),
            );
          }
          await watched.until(({ sets }) => sets.length >= 6, "what came after the restart");
          await watched.stop();
          expect(sortedRevisions(watched.sets)).toBe(true);
          const opened = watched.changes.flatMap((c) => (c.kind === "vote" ? [c.txId] : []));
          expect(opened).toEqual(ids);
        });

        test("a key that nobody can read is named, and the watch goes on", async () => {
          const watched = new Watched(store, await store.revision());
          await world.writeUnreadable();
          const txId = txIdOf("tx-after");
          await cast(txId, fixture.vote(0, txId, SEVEN));
          await watched.until(({ sets }) => sets.length === 2, "two revisions");
          await watched.stop();
          expect(watched.sets[0]?.changes).toMatchObject([{ kind: "unreadable" }]);
        });

        test("bans, violations and decisions are shown with their commit", async () => {
          const watched = new Watched(store, await store.revision());
          const txId = txIdOf("tx-shown");
          await cast(txId, fixture.vote(0, txId, SEVEN), fixture.vote(0, txId, EIGHT));
          await watched.until(({ sets }) => sets.length === 1, "the commit");
          await watched.stop();
          const kinds = watched.changes.map(({ kind }) => kind).sort();
          expect(kinds).toEqual([
            "ban",
            "count",
            "decision",
            "record",
            "status",
            "violation",
            "vote",
          ]);
        });
      });
    }

    function leaseLaws(): void {
      const presenceOf = (index: number): Presence => {
        const trustee = set.trustees[index] ?? fail();
        return {
          peerId: trustee.peerId,
          nodeId: trustee.nodeId,
          addresses: [`/ip4/127.0.0.1/tcp/${4_000 + index}`],
          apiUrl: null,
          version: "0.1.0",
          startedAtMs: NOW_MS,
        };
      };
      const gone = ({ changes }: Watched): boolean =>
        changes.some((c) => c.kind === "presence" && c.presence === null);
      const there = ({ changes }: Watched): boolean =>
        changes.some((c) => c.kind === "presence" && c.presence !== null);

      describe("presence", () => {
        test("an announced node is seen, and gone at once when it ends in good order", async () => {
          const watched = new Watched(store, await store.revision());
          const abort = new AbortController();
          const announced = store.announce(presenceOf(0), 60, { signal: abort.signal });
          await watched.until(there, "the presence");
          expect(await store.readPresence()).toEqual([presenceOf(0)]);
          abort.abort();
          await announced;
          await watched.until(gone, "its end");
          await watched.stop();
          expect(await store.readPresence()).toEqual([]);
        });

        test("a crashed node is gone when its lease has run out, a live one stays", async () => {
          const crashing = await world.client();
          const watched = new Watched(store, await store.revision());
          const abort = new AbortController();
          const live = store.announce(presenceOf(0), 2, { signal: abort.signal });
          const dead = crashing.announce(presenceOf(1), 2, { signal: abort.signal });
          await watched.until(({ sets }) => sets.length >= 2, "both presences");
          await world.crash(crashing);
          for (let i = 0; i < 12; i++) await world.pass(500);
          await watched.until(gone, "the crashed node's end");
          expect(await store.readPresence()).toEqual([presenceOf(0)]);
          abort.abort();
          await Promise.allSettled([live, dead]);
          await watched.stop();
        });
      });

      describe("election", () => {
        test("candidates lead one after another, in the order of their coming", async () => {
          const second = await world.client();
          const order: string[] = [];
          const leading = countdown();
          const release = countdown();
          const a = store.campaign("submitter", "a", 60, async () => {
            order.push("a");
            leading.reached();
            await release.done;
            order.push("a ends");
            return 1;
          });
          await leading.done;
          expect(await second.leader("submitter")).toBe("a");
          const b = second.campaign("submitter", "b", 60, async () => {
            order.push("b");
            return 2;
          });
          release.reached();
          expect(await Promise.all([a, b])).toEqual([1, 2]);
          expect(order).toEqual(["a", "a ends", "b"]);
          expect(await store.leader("submitter")).toBeNull();
        });

        test("a candidate that gives up waiting leaves the queue", async () => {
          const second = await world.client();
          const leading = countdown();
          const release = countdown();
          const a = store.campaign("projector", "a", 60, async () => {
            leading.reached();
            await release.done;
          });
          await leading.done;
          const abort = new AbortController();
          const b = second.campaign("projector", "b", 60, async () => {}, { signal: abort.signal });
          const reason = new Error("no patience");
          abort.abort(reason);
          await expect(b).rejects.toBe(reason);
          release.reached();
          await a;
          expect(await store.leader("projector")).toBeNull();
        });

        test("names do not meet, even when one begins like another", async () => {
          await store.campaign("a", "x", 60, async () => {
            expect(await store.leader("a/b")).toBeNull();
            await store.campaign("a/b", "y", 60, async () => {
              expect(await store.leader("a")).toBe("x");
              expect(await store.leader("a/b")).toBe("y");
            });
          });
        });

        test("what the leader throws is thrown, and the leadership is free", async () => {
          const boom = new Error("leader failed");
          const campaign = store.campaign("n", "a", 60, async () => {
            throw boom;
          });
          await expect(campaign).rejects.toBe(boom);
          expect(await store.leader("n")).toBeNull();
        });

        test("a crashed leader learns that it has lost, and the next one takes over", async () => {
          const crashing = await world.client();
          const leading = countdown();
          const lost = countdown();
          const a = crashing.campaign("s", "a", 2, async (signal) => {
            leading.reached();
            signal.addEventListener("abort", () => lost.reached());
            await lost.done;
          });
          await leading.done;
          const b = store.campaign("s", "b", 2, async () => store.leader("s"));
          await world.crash(crashing);
          for (let i = 0; i < 12; i++) await world.pass(500);
          expect(await b).toBe("b");
          await lost.done;
          await Promise.allSettled([a]);
        });
      });
    }
  });
}
