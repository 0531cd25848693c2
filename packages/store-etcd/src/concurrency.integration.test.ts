import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  DEFAULT_PROTOCOL_CONFIG,
  type DecideContext,
  decide,
  emptySnapshot,
  parseValue,
  type TxId,
  unwrap,
  type VerifiedVote,
} from "@quorate/core";
import { type EtcdCluster, startEtcd } from "@quorate/devkit";
import type { TallyStore, TxCommit, VersionedSnapshot } from "@quorate/ports";
import * as contract from "@quorate/testkit";
import { Etcd3 } from "etcd3";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createEtcdTallyStore, type EtcdTallyStore } from "./etcd-tally-store.ts";
import { keysOf } from "./keys.ts";
import { realClock, recordingLogger } from "./testing/real-parts.ts";

const WRITERS = 5;
const SEVEN = unwrap(parseValue(7n));
const NOW_MS = Date.UTC(2026, 0, 1);

let dataDir: string;
let cluster: EtcdCluster;

beforeAll(async () => {
  dataDir = await mkdtemp(join(tmpdir(), "quorate-race-"));
  cluster = await startEtcd({ dataDir, members: 1 });
});

afterAll(async () => {
  await cluster.stop();
  await rm(dataDir, { recursive: true, force: true });
});

/** A small repeatable random source: a failing run is run again by its seed. */
function randomOf(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

function shuffled<T>(items: readonly T[], random: () => number): T[] {
  const result = [...items];
  for (let i = result.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    const [a, b] = [result[i], result[j]];
    if (a !== undefined && b !== undefined) [result[i], result[j]] = [b, a];
  }
  return result;
}

async function openWriters(clusterName: string): Promise<readonly EtcdTallyStore[]> {
  const stores = Array.from({ length: WRITERS }, () =>
    createEtcdTallyStore(
      {
        hosts: cluster.endpoints,
        clusterId: contract.testClusterId(clusterName),
        requestTimeoutMs: 20_000,
        dialTimeoutMs: 10_000,
      },
      { clock: realClock, logger: recordingLogger() },
    ),
  );
  await Promise.all(stores.map((store) => store.start()));
  return stores;
}

/** Decides and commits a batch of transactions until none of them has anything left to write. */
async function settle(
  store: TallyStore,
  votes: ReadonlyMap<TxId, readonly VerifiedVote[]>,
  context: DecideContext,
  epochVersion: bigint,
): Promise<number> {
  let conflicts = 0;
  let open: readonly VersionedSnapshot[] = [...votes.keys()].map((txId) => ({
    snapshot: emptySnapshot(txId),
    version: 0n,
    revision: 0n,
  }));
  while (open.length > 0) {
    const commits: TxCommit[] = [];
    for (const { snapshot, version } of open) {
      const input = { votes: votes.get(snapshot.txId) ?? [], nowMs: NOW_MS, deadlinePassed: false };
      const { writes } = decide(snapshot, input, context);
      if (writes !== null) commits.push({ version, writes });
    }
    if (commits.length === 0) break;
    const outcomes = await store.commit(commits, epochVersion);
    open = outcomes.flatMap((outcome) => (outcome.kind === "conflict" ? [outcome.fresh] : []));
    conflicts += open.length;
  }
  return conflicts;
}

/** Watches from a revision up to the present one. */
async function watchUpTo(
  store: TallyStore | undefined,
  after: bigint,
): Promise<{ readonly votes: readonly string[]; readonly inOrder: boolean }> {
  if (store === undefined) throw new Error("there is a store");
  const end = await store.revision();
  const votes: string[] = [];
  let last = after;
  let inOrder = true;
  const abort = new AbortController();
  await store.watch(
    after,
    ({ revision, changes }) => {
      inOrder &&= revision > last;
      last = revision;
      for (const change of changes)
        if (change.kind === "vote") votes.push(`${change.txId}/${change.vote.vote.nodeId}`);
      if (revision >= end) abort.abort();
    },
    { signal: AbortSignal.any([abort.signal, AbortSignal.timeout(60_000)]) },
  );
  return { votes, inOrder };
}

test("five writers racing over 10,000 transactions lose no vote, count none twice, and agree on every status", async () => {
  const seed = 20_260_101;
  const random = randomOf(seed);
  const name = "race";
  const clusterId = contract.testClusterId(name);
  const keys = keysOf(clusterId);
  const fixture = new contract.TallyFixture(clusterId, 5);
  const set = fixture.set(4);
  const stores = await openWriters(name);
  await stores[0]?.initCluster(set);
  const epochVersion = (await stores[0]?.readConfig())?.epochVersion ?? 0n;
  const context: DecideContext = {
    set,
    config: DEFAULT_PROTOCOL_CONFIG,
    bans: new Map(),
    silenceStreaks: new Map(),
    verify: fixture.verify,
  };
  const startRevision = (await stores[0]?.revision()) ?? 0n;
  const ids = Array.from({ length: 10_000 }, (_, i) => contract.txIdOf(`tx-${i}`));
  const signed = fixture.votesOn(ids, SEVEN);
  // How many trustees voted on each: three stay below the threshold of four.
  const voters = new Map(ids.map((txId) => [txId, 3 + Math.floor(random() * 3)]));
  let conflicts = 0;
  await Promise.all(
    stores.map(async (store) => {
      // Each writer has its own order, its own batches, and some votes twice.
      const own = shuffled(ids, random);
      for (let at = 0; at < own.length; at += 100) {
        const batch = new Map<TxId, readonly VerifiedVote[]>();
        for (const txId of own.slice(at, at + 100)) {
          const votes = (signed.get(txId) ?? []).slice(0, voters.get(txId));
          const doubled = random() < 0.2 ? [...votes, ...votes.slice(0, 2)] : votes;
          batch.set(txId, shuffled(doubled, random));
        }
        conflicts += await settle(store, batch, context, epochVersion);
      }
    }),
  );
  // The whole history at once, 1,000 revisions a response and in fragments: whole, in order, once.
  const watched = await watchUpTo(stores[0], startRevision);
  const expectedVotes = [...voters.values()].reduce((sum, count) => sum + count, 0);
  expect(watched.inOrder).toBe(true);
  expect(watched.votes).toHaveLength(expectedVotes);
  expect(new Set(watched.votes).size).toBe(expectedVotes);
  await Promise.all(stores.map((store) => store.stop()));
  // Judged from the raw keys, with nothing of the store.
  const raw = new Etcd3({ hosts: [...cluster.endpoints] });
  const [counts, votes, statuses] = await Promise.all([
    raw.getAll().prefix(`${keys.root}vote_counts/`).strings(),
    raw.getAll().prefix(`${keys.root}votes/`).keys(),
    raw.getAll().prefix(`${keys.root}transaction_status/`).strings(),
  ]);
  raw.close();
  const perTx = new Map<string, number>();
  for (const key of votes) {
    const txId = key.slice(keys.root.length).split("/")[1] ?? "";
    perTx.set(txId, (perTx.get(txId) ?? 0) + 1);
  }
  const wrong = ids.filter((txId) => {
    const expected = voters.get(txId) ?? 0;
    const status = expected >= 4 ? "THRESHOLD_REACHED" : "COLLECTING";
    return (
      perTx.get(txId) !== expected ||
      counts[`${keys.root}vote_counts/${txId}/7`] !== String(expected) ||
      statuses[`${keys.root}transaction_status/${txId}`] !== status
    );
  });
  expect(wrong, `seed ${seed}`).toEqual([]);
  expect(Object.keys(counts)).toHaveLength(ids.length);
  // Without contention this would have tested nothing.
  expect(conflicts).toBeGreaterThan(1_000);
  // 40 s on two idle cores; servers of other test files may run beside it.
}, 300_000);

test("one vote delivered to five writers in the same instant counts once, 300 of 300", async () => {
  const name = "same-instant";
  const fixture = new contract.TallyFixture(contract.testClusterId(name), 5);
  const set = fixture.set(4);
  const stores = await openWriters(name);
  await stores[0]?.initCluster(set);
  const epochVersion = (await stores[0]?.readConfig())?.epochVersion ?? 0n;
  const context: DecideContext = {
    set,
    config: DEFAULT_PROTOCOL_CONFIG,
    bans: new Map(),
    silenceStreaks: new Map(),
    verify: fixture.verify,
  };
  const ids = Array.from({ length: 300 }, (_, i) => contract.txIdOf(`tx-${i}`));
  const signed = fixture.votesOn(ids, SEVEN);
  let right = 0;
  for (const txId of ids) {
    const vote = new Map([[txId, (signed.get(txId) ?? []).slice(0, 1)]]);
    await Promise.all(stores.map((store) => settle(store, vote, context, epochVersion)));
    const read = await stores[0]?.read(txId);
    if (read?.snapshot.votes.size === 1 && read.snapshot.status === "COLLECTING") right++;
  }
  const raw = new Etcd3({ hosts: [...cluster.endpoints] });
  const prefix = `${keysOf(contract.testClusterId(name)).root}vote_counts/`;
  const counts = Object.values(await raw.getAll().prefix(prefix).strings());
  raw.close();
  expect(right).toBe(300);
  expect(counts).toEqual(ids.map(() => "1"));
  await Promise.all(stores.map((store) => store.stop()));
});
