import { createPrivateKey, createPublicKey, sign, verify } from "node:crypto";
import {
  type ClusterId,
  DEFAULT_PROTOCOL_CONFIG,
  type DecideContext,
  decide,
  emptySnapshot,
  hash,
  makeTrusteeSet,
  parseClusterId,
  parseEpoch,
  parseEvmAddress,
  parseNodeId,
  parseTxId,
  parseValue,
  peerIdOf,
  signFrame,
  type TrusteeSet,
  type TxId,
  unwrap,
  utf8,
  type VerifiedVote,
  verifyFrame,
  voteToJson,
} from "@quorate/core";
import type { Clock, Logger, TallyStore, TxCommit, VersionedSnapshot } from "@quorate/ports";
import { createEtcdTallyStore } from "@quorate/store-etcd";
import { Etcd3 } from "etcd3";

const SEVEN = unwrap(parseValue(7n));
const EPOCH = unwrap(parseEpoch(1));
// PKCS#8 of an Ed25519 seed, up to the seed itself (RFC 8410).
const PKCS8_PREFIX = Buffer.from("302e020100300506032b657004220420", "hex");
const VOTES_PER_FRAME = 64;
const NOW_MS = Date.UTC(2026, 0, 1);

export interface BenchTarget {
  /** Client URLs of the etcd members. */
  readonly hosts: readonly string[];
  readonly transactions: number;
  readonly votesPerTx: number;
}

export interface AlgorithmOneResult {
  readonly uniqueVotesPerSecond: number;
  /** Transactions whose counter is not the number of distinct votes. */
  readonly wrongTallies: number;
  readonly transactions: number;
}

export interface CommitPathResult {
  readonly votesPerSecond: number;
  readonly decidedPerSecond: number;
  /** Of one commit call, which carries a whole batch. */
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly wrongTallies: number;
}

export interface RawPutsResult {
  readonly votesPerSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

let clusters = 0;
function newClusterId(): ClusterId {
  return unwrap(parseClusterId(`bench-${process.pid}-${clusters++}`));
}

interface Voters {
  readonly set: TrusteeSet;
  /** Votes of every trustee for each transaction, signed in frames as trustees under load sign them. */
  votesOn(txIds: readonly TxId[]): ReadonlyMap<TxId, readonly VerifiedVote[]>;
}

function makeVoters(clusterId: ClusterId, size: number): Voters {
  const members = Array.from({ length: size }, (_, index) => {
    const der = Buffer.concat([PKCS8_PREFIX, hash(utf8(`bench trustee ${index}`))]);
    const key = createPrivateKey({ key: der, format: "der", type: "pkcs8" });
    const publicKey = createPublicKey(key);
    const bytes = Uint8Array.from(publicKey.export({ format: "der", type: "spki" }).subarray(-32));
    return {
      key,
      publicKey,
      trustee: {
        nodeId: unwrap(parseNodeId(`node-${index}`)),
        peerId: peerIdOf(bytes),
        publicKey: bytes,
        evmAddress: unwrap(parseEvmAddress(`0x${String(index).padStart(40, "0")}`)),
      },
    };
  });
  const set = unwrap(
    makeTrusteeSet({
      clusterId,
      epoch: EPOCH,
      threshold: Math.floor(size / 2) + 1,
      trustees: members.map(({ trustee }) => trustee),
    }),
  );
  const votesOn = (txIds: readonly TxId[]): ReadonlyMap<TxId, readonly VerifiedVote[]> => {
    const byTx = new Map<TxId, VerifiedVote[]>(txIds.map((txId) => [txId, []]));
    for (const { key, publicKey, trustee } of members) {
      const { nodeId } = trustee;
      for (let at = 0; at < txIds.length; at += VOTES_PER_FRAME) {
        const votes = txIds.slice(at, at + VOTES_PER_FRAME).map((txId) => ({
          clusterId,
          epoch: EPOCH,
          txId,
          value: SEVEN,
          nodeId,
          issuedAtMs: NOW_MS,
        }));
        const frame = signFrame(votes, (message) => Uint8Array.from(sign(null, message, key)));
        const votesOfFrame = verifyFrame(frame, set, (_, message, signature) =>
          verify(null, message, publicKey, signature),
        );
        for (const vote of unwrap(votesOfFrame)) byTx.get(vote.vote.txId)?.push(vote);
      }
    }
    return byTx;
  };
  return { set, votesOn };
}

function txIds(count: number): readonly TxId[] {
  return Array.from({ length: count }, (_, i) => unwrap(parseTxId(`transfer-${i}`)));
}

/**
 * The specification's Algorithms 1 and 3 as printed: read the vote, read the counter,
 * write the counter, write the vote, read the counters; each a call of its own, for etcd
 * has no increment. Every writer gets every vote, as every node of a gossip cluster does.
 * @see spec §3.2, §7.2
 */
export async function benchAlgorithmOne({
  hosts,
  transactions,
  votesPerTx,
  writers,
}: BenchTarget & { readonly writers: number }): Promise<AlgorithmOneResult> {
  const clusterId = newClusterId();
  const root = `/quorate/${clusterId}`;
  const ids = txIds(transactions);
  const votes = makeVoters(clusterId, votesPerTx).votesOn(ids);
  const threshold = Math.floor(votesPerTx / 2) + 1;
  const clients = Array.from({ length: writers }, () => new Etcd3({ hosts: [...hosts] }));
  const receive = async (client: Etcd3, { vote, ...rest }: VerifiedVote): Promise<void> => {
    const { txId, nodeId, value } = vote;
    const voteKey = `${root}/votes/${txId}/${nodeId}`;
    const existing = await client.get(voteKey).string();
    if (existing !== null) return;
    const counterKey = `${root}/vote_counts/${txId}/${value}`;
    const count = Number((await client.get(counterKey).string()) ?? "0") + 1;
    await client.put(counterKey).value(String(count));
    await client
      .put(voteKey)
      .value(JSON.stringify(voteToJson({ vote, proof: rest.proof }, rest.peerId)));
    const counts = await client.getAll().prefix(`${root}/vote_counts/${txId}/`).strings();
    const most = Math.max(...Object.values(counts).map(Number));
    if (most >= threshold)
      await client.put(`${root}/transaction_status/${txId}`).value("THRESHOLD_REACHED");
  };
  const startedMs = performance.now();
  for (const txId of ids) {
    await Promise.all(
      clients.flatMap((client) => (votes.get(txId) ?? []).map((vote) => receive(client, vote))),
    );
  }
  const seconds = (performance.now() - startedMs) / 1_000;
  const wrongTallies = await countWrongTallies(hosts, root, ids, votesPerTx, null);
  for (const client of clients) client.close();
  return {
    uniqueVotesPerSecond: (transactions * votesPerTx) / seconds,
    wrongTallies,
    transactions,
  };
}

/** Judges from the raw keys, with nothing of the store under test. @param status what every one must be; null when not asked */
async function countWrongTallies(
  hosts: readonly string[],
  root: string,
  ids: readonly TxId[],
  votesPerTx: number,
  status: string | null,
): Promise<number> {
  const client = new Etcd3({ hosts: [...hosts] });
  const counts = await readAll(client, `${root}/vote_counts/`);
  const votes = await readAll(client, `${root}/votes/`, { keysOnly: true });
  const statuses = await readAll(client, `${root}/transaction_status/`);
  client.close();
  const distinct = new Map<string, number>();
  for (const key of votes.keys()) {
    const txId = key.slice(root.length).split("/")[2] ?? "";
    distinct.set(txId, (distinct.get(txId) ?? 0) + 1);
  }
  return ids.filter(
    (txId) =>
      distinct.get(txId) !== votesPerTx ||
      counts.get(`${root}/vote_counts/${txId}/${SEVEN}`) !== String(votesPerTx) ||
      (status !== null && statuses.get(`${root}/transaction_status/${txId}`) !== status),
  ).length;
}

/** All keys under a prefix, in pages: gRPC refuses answers above 4 MiB. */
async function readAll(
  client: Etcd3,
  prefix: string,
  { keysOnly = false }: { readonly keysOnly?: boolean } = {},
): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  // "0" is the character after "/", so this is the end of everything under the prefix.
  const end = Buffer.from(`${prefix.slice(0, -1)}0`);
  let from = Buffer.from(prefix);
  for (;;) {
    const page = await client.kv.range({
      key: from,
      range_end: end,
      limit: 5_000,
      keys_only: keysOnly,
    });
    for (const { key, value } of page.kvs) found.set(key.toString(), value.toString());
    const last = page.kvs.at(-1);
    if (last === undefined || !page.more) return found;
    from = Buffer.concat([last.key, Buffer.of(0)]);
  }
}

/**
 * Our way: every writer holds all votes and commits those of the transactions it owns,
 * through `decide` and the store with all guards; then each checks that none is missing.
 * @param batch transactions a commit call
 * @param concurrency commit calls in flight over all writers
 */
export async function benchCommitPath({
  hosts,
  transactions,
  votesPerTx,
  writers,
  batch,
  concurrency,
}: BenchTarget & {
  readonly writers: number;
  readonly batch: number;
  readonly concurrency: number;
}): Promise<CommitPathResult> {
  const clusterId = newClusterId();
  const voters = makeVoters(clusterId, votesPerTx);
  const ids = txIds(transactions);
  const votes = voters.votesOn(ids);
  const stores = Array.from({ length: writers }, () =>
    createEtcdTallyStore(
      { hosts, clusterId, requestTimeoutMs: 10_000, dialTimeoutMs: 10_000 },
      { clock: benchClock, logger: silentLogger },
    ),
  );
  await Promise.all(stores.map((store) => store.start()));
  await stores[0]?.initCluster(voters.set);
  const context: DecideContext = {
    set: voters.set,
    config: DEFAULT_PROTOCOL_CONFIG,
    bans: new Map(),
    silenceStreaks: new Map(),
    verify: () => {
      throw new Error("all trustees agree here, so nobody is accused");
    },
  };
  const work = stores.flatMap((store, writer) => {
    const owned = ids.filter((_, i) => i % writers === writer);
    const batches: { store: TallyStore; ids: readonly TxId[] }[] = [];
    for (let at = 0; at < owned.length; at += batch)
      batches.push({ store, ids: owned.slice(at, at + batch) });
    return batches;
  });
  // So that all writers are at work at the same time.
  work.sort((a, b) => (a.ids[0] ?? "").localeCompare(b.ids[0] ?? ""));
  const epochVersion = (await stores[0]?.readConfig())?.epochVersion ?? 0n;
  const latenciesMs: number[] = [];
  const startedMs = performance.now();
  await inParallel(work, concurrency, async ({ store, ids: own }) => {
    const sentMs = performance.now();
    await commitVotes(store, own, votes, context, epochVersion);
    latenciesMs.push(performance.now() - sentMs);
  });
  const seconds = (performance.now() - startedMs) / 1_000;
  await Promise.all(stores.map((store) => store.stop()));
  const root = `/quorate/${clusterId}`;
  return {
    votesPerSecond: (transactions * votesPerTx) / seconds,
    decidedPerSecond: transactions / seconds,
    p50Ms: quantile(latenciesMs, 0.5),
    p99Ms: quantile(latenciesMs, 0.99),
    wrongTallies: await countWrongTallies(hosts, root, ids, votesPerTx, "THRESHOLD_REACHED"),
  };
}

/** A new transaction needs no read first: its empty snapshot is right, or the guard says otherwise. */
async function commitVotes(
  store: TallyStore,
  ids: readonly TxId[],
  votes: ReadonlyMap<TxId, readonly VerifiedVote[]>,
  context: DecideContext,
  epochVersion: bigint,
): Promise<void> {
  let open: readonly VersionedSnapshot[] = ids.map((txId) => ({
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
    if (commits.length === 0) return;
    const outcomes = await store.commit(commits, epochVersion);
    open = outcomes.flatMap((outcome) => (outcome.kind === "conflict" ? [outcome.fresh] : []));
  }
}

/**
 * The raw limit: the same vote documents in bare create-if-absent puts, `batch` a Txn
 * (etcd allows 126 here), with no counter, status, ban or epoch.
 */
export async function benchRawPuts({
  hosts,
  transactions,
  votesPerTx,
  batch,
  concurrency,
}: BenchTarget & { readonly batch: number; readonly concurrency: number }): Promise<RawPutsResult> {
  const clusterId = newClusterId();
  const root = `/quorate/${clusterId}`;
  const ids = txIds(transactions);
  const votes = makeVoters(clusterId, votesPerTx).votesOn(ids);
  // Made beforehand: the raw limit is etcd's and the client library's, not that of writing JSON.
  const all = ids.flatMap((txId) =>
    (votes.get(txId) ?? []).map(({ vote, proof, peerId }) => ({
      key: Buffer.from(`${root}/votes/${txId}/${vote.nodeId}`),
      value: Buffer.from(JSON.stringify(voteToJson({ vote, proof }, peerId))),
    })),
  );
  const batches: (typeof all)[] = [];
  for (let at = 0; at < all.length; at += batch) batches.push(all.slice(at, at + batch));
  const client = new Etcd3({ hosts: [...hosts] });
  await client.get(root);
  const latenciesMs: number[] = [];
  const startedMs = performance.now();
  await inParallel(batches, concurrency, async (puts) => {
    const sentMs = performance.now();
    const success = puts.map((put) => {
      const { key } = put;
      const compare = [{ key, target: "Create", result: "Equal", create_revision: 0 } as const];
      return { request_txn: { compare, success: [{ request_put: put }] } };
    });
    await client.kv.txn({ success });
    latenciesMs.push(performance.now() - sentMs);
  });
  const seconds = (performance.now() - startedMs) / 1_000;
  client.close();
  return {
    votesPerSecond: all.length / seconds,
    p50Ms: quantile(latenciesMs, 0.5),
    p99Ms: quantile(latenciesMs, 0.99),
  };
}

async function inParallel<T>(
  items: readonly T[],
  limit: number,
  run: (item: T) => Promise<void>,
): Promise<void> {
  const waiting = items.values();
  const worker = async (): Promise<void> => {
    for (const item of waiting) await run(item);
  };
  await Promise.all(Array.from({ length: limit }, worker));
}

function quantile(values: readonly number[], q: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? Number.NaN;
}

const benchClock: Clock = {
  nowMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  sleep: (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
  schedule: (ms, callback) => {
    const timer = setTimeout(callback, ms);
    return () => clearTimeout(timer);
  },
};

const silentLogger: Logger = {
  error: () => {},
  warn: () => {},
  info: () => {},
  debug: () => {},
  child: () => silentLogger,
};
