import { assert, type NodeId, type PeerId, type TxId } from "@quorate/core";
import type { CommitOutcome, TxCommit, VersionedSnapshot } from "@quorate/ports";
import type { ICompare, IResponseOp, ITxnResponse } from "etcd3";
import { type PlannedCommit, planCommit, splitCommits } from "./commit-plan.ts";
import type { CallOptions, EtcdHosts } from "./etcd-hosts.ts";
import { readStreaksAt } from "./listing.ts";
import { nested, put, txnOf, unchanged, unchangedSince } from "./ops.ts";
import {
  parseBans,
  parseSnapshot,
  type Reading,
  snapshotOpCount,
  snapshotOps,
} from "./snapshot.ts";

// Enough to keep a leader's disk busy while replies are on their way; more only queues inside etcd.
const TXNS_IN_FLIGHT_MAX = 4;

/** Reads one transaction at one revision, and which of `peers` are banned at it. */
export async function readTransaction(
  hosts: EtcdHosts,
  reading: Reading,
  txId: TxId,
  peers: readonly PeerId[],
  options: CallOptions,
): Promise<Extract<CommitOutcome, { readonly kind: "conflict" }>> {
  const response = await hosts.idempotent(
    "read",
    (client, call) => client.kv.txn({ success: snapshotOps(reading.keys, txId, peers) }, call),
    options,
  );
  const revision = BigInt(response.header.revision);
  return conflict(reading, txId, peers, response.responses, revision);
}

function conflict(
  reading: Reading,
  txId: TxId,
  peers: readonly PeerId[],
  responses: readonly IResponseOp[],
  revision: bigint,
): {
  readonly kind: "conflict";
  readonly fresh: VersionedSnapshot;
  readonly bans: ReturnType<typeof parseBans>;
} {
  assert(responses.length === snapshotOpCount(peers), "etcd answers every get of a snapshot");
  const fresh = parseSnapshot(reading, txId, responses, revision);
  return { kind: "conflict", fresh, bans: parseBans(peers, responses) };
}

/**
 * Commits as few outer Txns as the limits allow, some at a time. When one of them
 * fails the whole call does, once the others have ended; what they wrote stands,
 * and a repetition finds it.
 */
export async function commitAll(
  hosts: EtcdHosts,
  reading: Reading,
  commits: readonly TxCommit[],
  epochVersion: bigint,
  options: CallOptions,
): Promise<readonly CommitOutcome[]> {
  const distinct = new Set(commits.map(({ writes }) => writes.txId));
  assert(distinct.size === commits.length, "the transactions of one call differ");
  const planned = commits.map((commit, index) => planCommit(reading.keys, commit, index));
  const batches = splitCommits(planned);
  const outcomes = new Map<number, CommitOutcome>();
  const waiting = (function* () {
    yield* batches;
  })();
  const worker = async (): Promise<void> => {
    // Shared by the workers: an error leaves the loop, which ends the iterator for the others too.
    for (const batch of waiting)
      await commitBatch(hosts, reading, batch, epochVersion, outcomes, options);
  };
  const workers = Math.min(TXNS_IN_FLIGHT_MAX, batches.length);
  const ends = await Promise.allSettled(Array.from({ length: workers }, worker));
  const failure = ends.find((end) => end.status === "rejected");
  if (failure !== undefined) throw failure.reason;
  return commits.map((_, index) => {
    const outcome = outcomes.get(index);
    assert(outcome !== undefined, "every commit has its outcome");
    return outcome;
  });
}

async function commitBatch(
  hosts: EtcdHosts,
  reading: Reading,
  batch: readonly PlannedCommit[],
  epochVersion: bigint,
  outcomes: Map<number, CommitOutcome>,
  options: CallOptions,
): Promise<void> {
  const streaks = new Map(batch.flatMap((commit) => [...commit.streaks]));
  const compare = [unchanged(reading.keys.epoch, epochVersion)];
  if (streaks.size > 0) {
    assert(batch.length === 1, "a commit that writes silent runs goes alone");
    const guard = await streakGuard(hosts, reading, streaks, options);
    if (guard === null) return await allConflict(hosts, reading, batch, outcomes, options);
    compare.push(guard);
  }
  const request = {
    compare,
    success: batch.map((commit) => nested(commit.request)),
    // etcd holds against its quota only what an outer Txn puts itself, in either branch: one of nested Txns alone is
    // let in however full it is, until the disk is. The put is carried out only when the epoch has moved.
    failure: [put(reading.keys.counted, "")],
  };
  const response = await hosts.once(
    "commit",
    (client, call) => client.kv.txn(request, call),
    options,
  );
  if (!response.succeeded) {
    // The epoch or a silent run moved on: rare, so this alone costs reads of their own.
    return await allConflict(hosts, reading, batch, outcomes, options);
  }
  assert(response.responses.length === batch.length, "etcd answers every nested Txn");
  const revision = BigInt(response.header.revision);
  for (const [at, commit] of batch.entries())
    outcomes.set(commit.index, outcomeOf(reading, commit, txnOf(response.responses[at]), revision));
}

/**
 * What holds as long as the silent runs are as the commit takes them to be; null when they are not.
 * One guard over all of them, for a compare each would not fit one Txn, and none can say
 * "absent or 0". Unreadable ones count as 0, as they do when they are read.
 */
async function streakGuard(
  hosts: EtcdHosts,
  reading: Reading,
  expected: ReadonlyMap<NodeId, number>,
  options: CallOptions,
): Promise<ICompare | null> {
  const { streaks, revision } = await readStreaksAt(hosts, reading, options);
  for (const [nodeId, before] of expected) if ((streaks.get(nodeId) ?? 0) !== before) return null;
  return unchangedSince(reading.keys.silences, revision);
}

async function allConflict(
  hosts: EtcdHosts,
  reading: Reading,
  batch: readonly PlannedCommit[],
  outcomes: Map<number, CommitOutcome>,
  options: CallOptions,
): Promise<void> {
  await Promise.all(
    batch.map(async ({ index, txId, unbanned }) => {
      outcomes.set(index, await readTransaction(hosts, reading, txId, unbanned, options));
    }),
  );
}

function outcomeOf(
  reading: Reading,
  { txId, unbanned, request }: PlannedCommit,
  response: ITxnResponse,
  revision: bigint,
): CommitOutcome {
  if (!response.succeeded) return conflict(reading, txId, unbanned, response.responses, revision);
  assert(response.responses.length === request.success?.length, "etcd answers every put");
  return { kind: "committed", revision };
}
