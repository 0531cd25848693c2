import {
  DEFAULT_PROTOCOL_CONFIG,
  decide,
  emptySnapshot,
  LIMITS,
  parseValue,
  type TxWrites,
  unwrap,
  voteToJson,
} from "@quorate/core";
import { TallyFixture, testClusterId, txIdOf } from "@quorate/testkit";
import type { ITxnRequest } from "etcd3";
import { expect, test } from "vitest";
import { planCommit, splitCommits } from "./commit-plan.ts";
import { keysOf } from "./keys.ts";
import { writeVote } from "./values.ts";

const CLUSTER = testClusterId("plan");
const KEYS = keysOf(CLUSTER);
const NOW_MS = Date.UTC(2026, 0, 1);

/** Writes as decided on a new transaction with this many votes, on one value or each on its own. */
function writesOf(name: string, size: number, distinct: boolean): TxWrites {
  const fixture = new TallyFixture(CLUSTER, size);
  const txId = txIdOf(name);
  const votes = fixture.members.map((_, i) =>
    fixture.vote(i, txId, unwrap(parseValue(distinct ? BigInt(i) : 7n))),
  );
  const { writes } = decide(
    emptySnapshot(txId),
    { votes, nowMs: NOW_MS, deadlinePassed: false },
    {
      set: fixture.set(Math.floor(size / 2) + 1),
      config: DEFAULT_PROTOCOL_CONFIG,
      bans: new Map(),
      silenceStreaks: new Map(),
      verify: fixture.verify,
    },
  );
  if (writes === null) throw new Error("votes on a new transaction change it");
  return writes;
}

/** etcd's own rule: a Txn's longest list and that of its longest path of children (checkTxnRequest). */
function etcdOps(request: ITxnRequest): number {
  const { compare = [], success = [], failure = [] } = request;
  const own = Math.max(compare.length, success.length, failure.length);
  const children = [...success, ...failure].flatMap(({ request_txn }) =>
    request_txn === undefined ? [] : [etcdOps(request_txn)],
  );
  return own + Math.max(0, ...children);
}

test.each([
  [1, false],
  [5, false],
  [30, false],
  [60, true],
  [100, false],
  [100, true],
])(
  "a commit of %i votes (distinct values: %s) counts what etcd counts, and fits",
  (size, distinct) => {
    const commit = planCommit(KEYS, { version: 0n, writes: writesOf("tx", size, distinct) }, 0);
    expect(commit.ops).toBe(etcdOps(commit.request));
    expect(1 + commit.ops).toBeLessThanOrEqual(LIMITS.etcdTxnOpsMax);
  },
);

test("batches fill etcd's limit and never pass it, whatever the mix of sizes", () => {
  const writes = [1, 5, 30, 100, 2, 3].map((size) => writesOf("tx", size, false));
  const planned = Array.from({ length: 400 }, (_, index) => {
    const one = writes[index % 7 === 0 ? index % writes.length : 1];
    if (one === undefined) throw new Error("the index is of the list");
    return planCommit(
      KEYS,
      { version: 0n, writes: { ...one, txId: txIdOf(`tx-${index}`) } },
      index,
    );
  });
  const batches = splitCommits(planned);
  expect(batches.flat().map(({ index }) => index)).toEqual(planned.map(({ index }) => index));
  for (const batch of batches) {
    const success = batch.map(({ request }) => ({ request_txn: request }));
    expect(etcdOps({ compare: [{}], success })).toBeLessThanOrEqual(LIMITS.etcdTxnOpsMax);
  }
  const small = planned.filter(({ ops }) => ops < 20);
  expect(splitCommits(small)[0]?.length).toBeGreaterThan(100);
});

test("a commit that bans goes alone", () => {
  const crime: TxWrites = writesOf("tx", 5, false);
  const ban = {
    peerId: crime.newVotes[0]?.peerId ?? expect.fail("there are votes"),
    nodeId: crime.newVotes[0]?.vote.nodeId ?? expect.fail("there are votes"),
    reason: "SILENT_FAILURE",
    grade: "OPINION",
    bannedAtMs: NOW_MS,
    evidence: { type: "SILENT_FAILURE", nodeId: "n", openedAtMs: 0, deadlineAtMs: 0, voted: [] },
  } as const;
  const planned = [crime, { ...crime, bans: [ban] }, crime].map((writes, index) =>
    planCommit(KEYS, { version: 0n, writes }, index),
  );
  const batches = splitCommits(planned).map((batch) => batch.map(({ index }) => index));
  expect(batches).toEqual([[0, 2], [1]]);
});

test.each([1, 60, 100])(
  "a commit of %i votes that changes as many silent runs fits, with the guard over them",
  (size) => {
    const writes = writesOf("tx", size, true);
    const silenceStreaks = new Map(
      writes.newVotes.map(({ vote }) => [vote.nodeId, { before: 1, after: 0 }]),
    );
    const commit = planCommit(KEYS, { version: 0n, writes: { ...writes, silenceStreaks } }, 0);
    expect([...commit.streaks.values()]).toEqual(writes.newVotes.map(() => 1));
    expect(commit.ops).toBe(etcdOps(commit.request));
    const outer = { compare: [{}, {}], success: [{ request_txn: commit.request }] };
    expect(etcdOps(outer)).toBeLessThanOrEqual(LIMITS.etcdTxnOpsMax);
  },
);

test("a stored vote is the text of core's format", () => {
  for (const vote of writesOf("tx", 5, true).newVotes)
    expect(writeVote(vote, vote.peerId)).toBe(JSON.stringify(voteToJson(vote, vote.peerId)));
});

test("a commit that convicts dissenters of a hundred trustees fits a request, with all their evidence", () => {
  const fixture = new TallyFixture(CLUSTER, 100);
  // The longest id there is, and each vote with a place in the largest frame.
  const txId = txIdOf("t".repeat(LIMITS.txIdCharsMax));
  const path = Array.from({ length: 8 }, () => new Uint8Array(32));
  const votes = fixture.members.map((_, i) => {
    const vote = fixture.vote(i, txId, unwrap(parseValue(i < 33 ? 8n : 2n ** 64n - 1n)));
    return { ...vote, proof: { ...vote.proof, path } };
  });
  const { writes, more } = decide(
    emptySnapshot(txId),
    { votes, nowMs: NOW_MS, deadlinePassed: false },
    {
      set: fixture.set(67),
      config: DEFAULT_PROTOCOL_CONFIG,
      bans: new Map(),
      silenceStreaks: new Map(),
      verify: fixture.verify,
    },
  );
  if (writes === null) throw new Error("votes on a new transaction change it");
  expect(more).toBe(true);
  expect(writes.bans.length).toBeGreaterThan(0);
  const { sizeBytes } = planCommit(KEYS, { version: 0n, writes }, 0);
  expect(sizeBytes).toBeLessThan(1.5 * 1024 * 1024);
});
