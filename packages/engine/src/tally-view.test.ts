import {
  DEFAULT_PROTOCOL_CONFIG,
  decide,
  decideClaim,
  decideConfirm,
  doubleVotingEvidence,
  type EvidenceGrade,
  isArchived,
  type NodeId,
  type PeerId,
  type TxSnapshot,
  type TxWrites,
} from "@quorate/core";
import type { ChangeSet, CommitOutcome, PurgeLevel, VersionedSnapshot } from "@quorate/ports";
import {
  MemoryTallyStore,
  nodeAt,
  SharedTally,
  SimClock,
  testCluster,
  txIdOf,
  vote,
} from "@quorate/testkit";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { TallyView } from "./tally-view.ts";

const cluster = testCluster({ trustees: 5, threshold: 4 });
const IDS = ["a", "b", "c", "d"] as const;

/** A store whose history is written one decision at a time. */
class Tally {
  readonly shared: SharedTally = new SharedTally({ clock: new SimClock() });
  readonly store: MemoryTallyStore = new MemoryTallyStore(this.shared, { clock: new SimClock() });
  /** Every state there ever was, by transaction and version. */
  readonly states = new Map<string, TxSnapshot>();
  epochVersion = 0n;
  #read = 0n;

  async open(): Promise<this> {
    await this.store.initCluster(cluster.set);
    this.epochVersion = (await this.store.readConfig()).epochVersion;
    return this;
  }

  read(id: string): Promise<VersionedSnapshot> {
    return this.store.read(txIdOf(id));
  }

  async bans(): Promise<ReadonlyMap<PeerId, EvidenceGrade>> {
    const { bans } = await this.store.readBans();
    return new Map([...bans].map(([peer, ban]) => [peer, ban.grade]));
  }

  /** Change sets that were not taken yet. */
  news(): readonly ChangeSet[] {
    const sets: ChangeSet[] = [];
    for (let set = this.shared.changesAfter(this.#read); set !== null; ) {
      sets.push(set);
      this.#read = set.revision;
      set = this.shared.changesAfter(this.#read);
    }
    return sets;
  }

  async commit(version: bigint, writes: TxWrites): Promise<CommitOutcome> {
    const [outcome] = await this.store.commit([{ version, writes }], this.epochVersion);
    if (outcome === undefined) throw new Error("a commit has an outcome");
    const after = await this.store.read(writes.txId);
    this.states.set(`${writes.txId}/${after.version}`, after.snapshot);
    return outcome;
  }

  /** What the rules make of one step on a snapshot; null when nothing. */
  async decide(base: TxSnapshot, step: Decided): Promise<TxWrites | null> {
    if (step.kind === "confirm") return decideConfirm(base, { txHash: "0x11", blockNumber: "5" });
    if (step.kind === "claim") {
      const claim = decideClaim(base, cluster.set, cluster.verify);
      return claim.kind === "claim" ? claim.writes : null;
    }
    const votes = step.kind === "vote" ? [vote(cluster, step.node, base.txId, step.value)] : [];
    return decide(
      base,
      { votes, nowMs: 1, deadlinePassed: step.kind === "deadline" },
      {
        set: cluster.set,
        config: { ...DEFAULT_PROTOCOL_CONFIG, policy: "quarantine-and-continue" },
        bans: await this.bans(),
        silenceStreaks: await this.store.readSilenceStreaks(),
        verify: cluster.verify,
      },
    ).writes;
  }

  async do(step: Step): Promise<void> {
    if (step.kind === "purge") {
      const txId = txIdOf(step.id);
      const throughRevision = this.shared.revision;
      await this.store.purge([{ txId, level: step.level, throughRevision }]);
      const after = await this.store.read(txId);
      this.states.set(`${txId}/${after.version}`, after.snapshot);
      return;
    }
    const base = await this.read(step.id);
    const writes = await this.decide(base.snapshot, step);
    if (writes !== null) await this.commit(base.version, writes);
  }
}

type Decided =
  | { readonly kind: "vote"; readonly id: string; readonly node: number; readonly value: number }
  | { readonly kind: "deadline" | "claim" | "confirm"; readonly id: string };
type Step = Decided | { readonly kind: "purge"; readonly id: string; readonly level: PurgeLevel };

const id = fc.constantFrom(...IDS);
const decided: fc.Arbitrary<Decided> = fc.oneof(
  {
    weight: 10,
    arbitrary: fc.record({
      kind: fc.constant("vote" as const),
      id,
      node: fc.integer({ min: 0, max: 4 }),
      value: fc.constantFrom(7, 7, 7, 8),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("deadline" as const), id }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("claim" as const), id }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("confirm" as const), id }) },
);
const steps: fc.Arbitrary<Step> = fc.oneof(
  { weight: 15, arbitrary: decided },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant("purge" as const),
      id,
      level: fc.constantFrom("votes" as const, "all" as const),
    }),
  },
);

/** Snapshots in a form that compares by content; verified and decoded votes are the same vote. */
function plain(snapshot: TxSnapshot): object {
  const votes = Object.fromEntries(
    [...snapshot.votes].map(([node, { vote: v, proof }]) => [node, { v, proof }]),
  );
  const violations = Object.fromEntries(
    [...snapshot.violations].map(([node, types]) => [node, [...types].toSorted()]),
  );
  return { ...snapshot, votes, violations };
}

describe("folding", () => {
  test("the fold of the stream is what the store reads, for any history", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(steps, { maxLength: 40 }), async (history) => {
        const tally = await new Tally().open();
        const view = new TallyView();
        for (const step of history) await tally.do(step);
        for (const set of tally.news()) view.apply(set);
        for (const one of IDS) {
          const stored = await tally.read(one);
          const seen = view.snapshot(txIdOf(one));
          expect(seen).not.toBeNull();
          expect(seen?.version).toBe(stored.version);
          // Of what is purged to the last the store keeps violations, which concern no decision any more.
          const violations = isArchived(stored.snapshot) ? new Map() : stored.snapshot.violations;
          const snapshot = seen?.snapshot ?? stored.snapshot;
          if (stored.version > 0n) expect(plain(snapshot)).toEqual(plain(stored.snapshot));
          else expect(plain(snapshot)).toEqual(plain({ ...stored.snapshot, violations }));
        }
        expect(view.bans).toEqual(await tally.bans());
        expect(view.revision).toBe(await tally.store.revision());
      }),
      { numRuns: 100 },
    );
  });

  const actions = fc.oneof(
    { weight: 6, arbitrary: steps.map((step) => ({ kind: "others", step }) as const) },
    { weight: 4, arbitrary: decided.map((step) => ({ kind: "own", step }) as const) },
    { weight: 4, arbitrary: fc.constant({ kind: "stream" } as const) },
    { weight: 2, arbitrary: id.map((one) => ({ kind: "distrust", one }) as const) },
    { weight: 2, arbitrary: id.map((one) => ({ kind: "slow read", one }) as const) },
    { weight: 2, arbitrary: fc.constant({ kind: "read arrives" } as const) },
  );

  test("whatever a view holds was the store's state at the version it names, or nothing is decided on it", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(actions, { maxLength: 60 }),
        fc.constantFrom(2, 100),
        fc.boolean(),
        async (history, entriesMax, joinsLate) => {
          const tally = await new Tally().open();
          const view = new TallyView({ entriesMax });
          if (joinsLate) {
            await tally.do({ kind: "vote", id: "a", node: 0, value: 7 });
            await tally.do({ kind: "vote", id: "b", node: 1, value: 7 });
            tally.news();
            for (const open of await tally.store.listTransactions({ after: null, limit: 10 }))
              view.noteExisting(open.txId, open.status, open.record);
          }
          const stream: ChangeSet[] = [];
          const reads: VersionedSnapshot[] = [];
          for (const action of history) {
            if (action.kind === "others") await tally.do(action.step);
            else if (action.kind === "own") await decideOnView(tally, view, action.step);
            else if (action.kind === "distrust") view.distrust(txIdOf(action.one));
            else if (action.kind === "slow read") reads.push(await tally.read(action.one));
            else if (action.kind === "read arrives") {
              const read = reads.shift();
              if (read !== undefined) view.adopt(read);
            } else {
              const set = stream.shift();
              if (set !== undefined) view.apply(set);
            }
            stream.push(...tally.news());
            expect(view.size).toBeLessThanOrEqual(entriesMax);
            for (const one of IDS) {
              const seen = view.snapshot(txIdOf(one));
              if (seen === null || seen.version === 0n) continue;
              const then = tally.states.get(`${one}/${seen.version}`);
              expect(then).toBeDefined();
              if (then !== undefined) expect(plain(seen.snapshot)).toEqual(plain(then));
            }
          }
          for (const set of stream) view.apply(set);
          for (const one of IDS) {
            const stored = await tally.read(one);
            const seen = view.snapshot(txIdOf(one));
            // With room for all of them, nothing is behind once the stream has been read.
            if (entriesMax === 100 && seen !== null) expect(seen.version).toBe(stored.version);
            if (entriesMax === 100) expect(view.status(txIdOf(one))).toBe(stored.snapshot.status);
          }
        },
      ),
      { numRuns: 300 },
    );
  });
});

/** A node's own step: decided on what the view offers, read from the store when it offers nothing. */
async function decideOnView(tally: Tally, view: TallyView, step: Decided): Promise<void> {
  const seen = view.snapshot(txIdOf(step.id));
  const base = seen ?? (await tally.read(step.id));
  if (seen === null) view.adopt(base);
  const writes = await tally.decide(base.snapshot, step);
  if (writes === null) return;
  const before = await tally.read(step.id);
  const outcome = await tally.commit(base.version, writes);
  if (outcome.kind === "committed") {
    // Only what is decided on the newest state may pass.
    expect(plain(base.snapshot)).toEqual(plain(before.snapshot));
    view.adoptCommit(base, writes, outcome.revision);
  } else view.adopt(outcome.fresh);
}

const NO_WRITES = {
  newVotes: [],
  counts: new Map(),
  record: null,
  violations: [],
  bans: [],
  decision: null,
  silenceStreaks: new Map(),
} as const;

describe("single steps", () => {
  test("an own commit is in view before the stream brings it, and its echo changes nothing", async () => {
    const tally = await new Tally().open();
    const view = new TallyView();
    for (const set of tally.news()) view.apply(set);
    await decideOnView(tally, view, { kind: "vote", id: "a", node: 0, value: 7 });
    const adopted = view.snapshot(txIdOf("a"));
    expect(adopted?.snapshot.votes.size).toBe(1);
    const [echo] = tally.news();
    if (echo === undefined) throw new Error("the commit is in the stream");
    // Those who wait for the change are told all the same.
    expect([...view.apply(echo)]).toEqual([txIdOf("a")]);
    expect(plain(view.snapshot(txIdOf("a"))?.snapshot ?? ({} as TxSnapshot))).toEqual(
      plain((await tally.read("a")).snapshot),
    );
  });

  test("a violation that is recorded by itself is told of its transaction", async () => {
    const tally = await new Tally().open();
    const view = new TallyView();
    await tally.do({ kind: "vote", id: "a", node: 0, value: 7 });
    for (const set of tally.news()) view.apply(set);
    const { nodeId, peerId } = nodeAt(cluster, 4);
    const evidence = doubleVotingEvidence(vote(cluster, 4, "a", 7), vote(cluster, 4, "a", 8));
    const who = { peerId, nodeId, grade: "PROOF", evidence } as const;
    await tally.store.recordViolation({
      violation: { ...who, txId: txIdOf("a"), type: "DOUBLE_VOTING", detectedAtMs: 0 },
      ban: { ...who, reason: "DOUBLE_VOTING", bannedAtMs: 0 },
    });
    const [set] = tally.news();
    expect(set && [...view.apply(set)]).toEqual([txIdOf("a")]);
    expect(view.violations(txIdOf("a")).get(nodeId)).toEqual(new Set(["DOUBLE_VOTING"]));
  });

  test("a violation that was recorded by itself is not hidden by what was read or decided before it", async () => {
    const tally = await new Tally().open();
    const view = new TallyView();
    await tally.do({ kind: "vote", id: "a", node: 0, value: 7 });
    for (const set of tally.news()) view.apply(set);
    const before = await tally.store.read(txIdOf("a"));
    const { nodeId, peerId } = nodeAt(cluster, 4);
    const evidence = doubleVotingEvidence(vote(cluster, 4, "a", 7), vote(cluster, 4, "a", 8));
    const who = { peerId, nodeId, grade: "PROOF", evidence } as const;
    await tally.store.recordViolation({
      violation: { ...who, txId: txIdOf("a"), type: "DOUBLE_VOTING", detectedAtMs: 0 },
      ban: { ...who, reason: "DOUBLE_VOTING", bannedAtMs: 0 },
    });
    for (const set of tally.news()) view.apply(set);
    view.adopt(before);
    expect(view.violations(txIdOf("a")).get(nodeId)).toEqual(new Set(["DOUBLE_VOTING"]));
    const writes = {
      ...NO_WRITES,
      txId: txIdOf("a"),
      status: "COLLECTING",
    } as const;
    view.adoptCommit(before, writes, view.revision + 1n);
    expect(view.violations(txIdOf("a")).get(nodeId)).toEqual(new Set(["DOUBLE_VOTING"]));
  });

  test("a transaction that was there before the view began is not decided upon unread", async () => {
    const tally = await new Tally().open();
    await tally.do({ kind: "vote", id: "a", node: 0, value: 7 });
    tally.news();
    const view = new TallyView();
    const [open] = await tally.store.listTransactions({ after: null, limit: 10 });
    if (open === undefined) throw new Error("one transaction is open");
    view.noteExisting(open.txId, open.status, open.record);
    expect(view.status(open.txId)).toBe("COLLECTING");
    expect(view.snapshot(open.txId)).toBeNull();
    // Changes that come meanwhile do not make it whole.
    await tally.do({ kind: "vote", id: "a", node: 1, value: 7 });
    for (const set of tally.news()) view.apply(set);
    expect(view.snapshot(open.txId)).toBeNull();
    view.adopt(await tally.read("a"));
    expect(view.snapshot(open.txId)?.snapshot.votes.size).toBe(2);
  });

  test("a read that the stream has overtaken does not hide what came since", async () => {
    const tally = await new Tally().open();
    await tally.do({ kind: "vote", id: "a", node: 0, value: 7 });
    const slow = await tally.read("a");
    const view = new TallyView();
    view.noteExisting(txIdOf("a"), "COLLECTING", null as never);
    for (let node = 1; node < 4; node++) await tally.do({ kind: "vote", id: "a", node, value: 7 });
    for (const set of tally.news().slice(2)) view.apply(set);
    expect(view.status(txIdOf("a"))).toBe("THRESHOLD_REACHED");
    view.adopt(slow);
    expect(view.status(txIdOf("a"))).toBe("THRESHOLD_REACHED");
  });

  test("a read from before a purge does not bring back what was purged", async () => {
    const tally = await new Tally().open();
    const view = new TallyView();
    await tally.do({ kind: "vote", id: "a", node: 0, value: 7 });
    await tally.do({ kind: "deadline", id: "a" });
    const slow = await tally.read("a");
    await tally.do({ kind: "purge", id: "a", level: "all" });
    for (const set of tally.news()) view.apply(set);
    view.adopt(slow);
    expect(view.isArchived(txIdOf("a"))).toBe(true);
    expect(view.status(txIdOf("a"))).toBeNull();
  });

  test("settled transactions are dropped before open ones", async () => {
    const tally = await new Tally().open();
    const view = new TallyView({ entriesMax: 2 });
    await tally.do({ kind: "vote", id: "a", node: 0, value: 7 });
    for (let node = 0; node < 4; node++) await tally.do({ kind: "vote", id: "b", node, value: 7 });
    await tally.do({ kind: "claim", id: "b" });
    await tally.do({ kind: "vote", id: "c", node: 0, value: 7 });
    for (const set of tally.news()) view.apply(set);
    expect(view.recent(10)).toEqual([txIdOf("c"), txIdOf("a")]);
    expect(view.withStatus("COLLECTING")).toEqual([txIdOf("a"), txIdOf("c")]);
  });

  test("a lifted ban is lifted in view", async () => {
    const view = new TallyView();
    const { peerId, nodeId } = nodeAt(cluster, 0);
    const ban = {
      peerId,
      nodeId: nodeId as NodeId | null,
      reason: "SILENT_FAILURE",
      grade: "OPINION",
      bannedAtMs: 1,
      evidence: { type: "SILENT_FAILURE", nodeId, openedAtMs: 0, deadlineAtMs: 1, voted: [] },
    } as const;
    view.apply({ revision: 1n, changes: [{ kind: "ban", peerId, ban }] });
    expect(view.bans.get(peerId)).toBe("OPINION");
    view.apply({ revision: 2n, changes: [{ kind: "ban", peerId, ban: null }] });
    expect(view.bans.has(peerId)).toBe(false);
    expect(view.banRecords.has(peerId)).toBe(false);
  });

  test("a change stream that goes backwards is a broken invariant", () => {
    const view = new TallyView();
    view.apply({ revision: 2n, changes: [] });
    expect(() => view.apply({ revision: 2n, changes: [] })).toThrow("revisions come in order");
  });
});
