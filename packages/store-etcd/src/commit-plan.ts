import { assert, guardedPeers, LIMITS, type NodeId, type PeerId, type TxId } from "@quorate/core";
import type { TxCommit } from "@quorate/ports";
import type { ICompare, ITxnRequest } from "etcd3";
import { banOps } from "./ban-ops.ts";
import type { Keys } from "./keys.ts";
import { absent, inGroups, put, unchanged, unchangedSince } from "./ops.ts";
import { snapshotOpCount, snapshotOps } from "./snapshot.ts";
import { writeBan, writeDecision, writeRecord, writeViolation, writeVote } from "./values.ts";

/** One transaction's commit as a nested Txn, with what splitting needs to know. */
export interface PlannedCommit {
  /** Its place in the caller's list. */
  readonly index: number;
  readonly txId: TxId;
  /** Peers that must not be banned for it to go through. */
  readonly unbanned: readonly PeerId[];
  readonly request: ITxnRequest;
  /** Operations that etcd's limit counts for it. */
  readonly ops: number;
  /** Bytes of its keys and values, near enough. */
  readonly sizeBytes: number;
  /** Lengths of silent runs that it was decided on. */
  readonly streaks: ReadonlyMap<NodeId, number>;
  /** Writes keys that other transactions write too (bans, silence streaks): not beside others in one Txn. */
  readonly alone: boolean;
}

// etcd refuses requests above 1.5 MiB; framing and field tags are not in our count.
const REQUEST_BYTES_MAX = 1024 * 1024;
const ROW_OVERHEAD_BYTES = 16;
// Far above what a set of ten trustees needs, and with room for siblings in the outer Txn.
const UNGROUPED_PUTS_MAX = 64;

interface Put {
  readonly key: string;
  readonly value: string;
}

/** @param index the commit's place in the caller's list. */
export function planCommit(
  keys: Keys,
  { version, writes }: TxCommit,
  index: number,
): PlannedCommit {
  const { txId } = writes;
  const unbanned = guardedPeers(writes);
  const puts = putsOf(keys, writes);
  const failure = snapshotOps(keys, txId, unbanned);
  const compare = guards(keys, { version, writes }, unbanned);
  const success = puts.map(({ key, value }) => put(key, value));
  const streaks = new Map([...writes.silenceStreaks].map(([node, { before }]) => [node, before]));
  const fixed = Math.max(compare.length, snapshotOpCount(unbanned));
  // The outer Txn has one operation for this commit, and the epoch's guard; one guard more over the silent runs.
  const around = streaks.size > 0 ? 2 : 1;
  const grouped = success.length > UNGROUPED_PUTS_MAX;
  const groupSize = Math.min(
    LIMITS.etcdTxnOpsMax - around - fixed,
    Math.ceil(Math.sqrt(success.length)),
  );
  const outer = grouped ? inGroups(success, groupSize) : success;
  const ops = Math.max(fixed, outer.length) + (grouped ? groupSize : 0);
  assert(around + ops <= LIMITS.etcdTxnOpsMax, "a set of at most 100 trustees fits one etcd Txn");
  let sizeBytes = (compare.length + failure.length) * (keys.root.length + 100);
  for (const { key, value } of puts) sizeBytes += key.length + value.length + ROW_OVERHEAD_BYTES;
  const alone = writes.bans.length > 0 || writes.silenceStreaks.size > 0;
  return {
    index,
    txId,
    unbanned,
    request: { compare, success: outer, failure },
    ops,
    sizeBytes,
    streaks,
    alone,
  };
}

/** What must still be true. All are judged against the state before the whole outer Txn. */
function guards(
  keys: Keys,
  { version, writes }: TxCommit,
  unbanned: readonly PeerId[],
): ICompare[] {
  const { txId } = writes;
  const compare = [unchanged(keys.status(txId), version)];
  for (const peer of unbanned) compare.push(banOps(keys, peer).absent);
  // What opens must not have been decided before: of a purged transaction only the decision is left.
  if (writes.decision !== null || version === 0n) compare.push(absent(keys.decision(txId)));
  if (compare.length + writes.newVotes.length < LIMITS.etcdTxnOpsMax / 2) {
    for (const { vote } of writes.newVotes) compare.push(absent(keys.vote(txId, vote.nodeId)));
  } else if (writes.newVotes.length > 0) {
    // Too many for a compare each. That no vote is younger than the status the
    // decision rests on says the same: it has seen every vote there is.
    const votes = keys.votesOf(txId);
    compare.push(unchangedSince(votes, version));
  }
  return compare;
}

function putsOf(keys: Keys, writes: TxCommit["writes"]): readonly Put[] {
  const { txId } = writes;
  const puts: Put[] = [];
  const add = (key: string, value: string): void => void puts.push({ key, value });
  for (const vote of writes.newVotes)
    add(keys.vote(txId, vote.vote.nodeId), writeVote(vote, vote.peerId));
  for (const [value, count] of writes.counts) add(keys.voteCount(txId, value), String(count));
  // Written even when the word stays the same: its revision is what the next commit is guarded by.
  add(keys.status(txId), writes.status);
  if (writes.record !== null) add(keys.record(txId), writeRecord(writes.record));
  if (writes.decision !== null) add(keys.decision(txId), writeDecision(writes.decision));
  for (const v of writes.violations) add(keys.violation(txId, v.peerId, v.type), writeViolation(v));
  for (const ban of writes.bans) add(keys.banned(ban.peerId), writeBan(ban, txId));
  // Never deleted, not even at 0: the guard over them knows a change by its revision.
  for (const [nodeId, { after }] of writes.silenceStreaks) add(keys.silence(nodeId), String(after));
  return puts;
}

/** Outer Txns that each keep within etcd's limits, in the caller's order. */
export function splitCommits(
  planned: readonly PlannedCommit[],
): readonly (readonly PlannedCommit[])[] {
  const batches: PlannedCommit[][] = [];
  let open: PlannedCommit[] = [];
  let deepest = 0;
  let sizeBytes = 0;
  for (const commit of planned) {
    if (commit.alone) {
      batches.push([commit]);
      continue;
    }
    const deeper = Math.max(deepest, commit.ops);
    const larger = sizeBytes + commit.sizeBytes;
    const full =
      open.length > 0 &&
      (open.length + 1 + deeper > LIMITS.etcdTxnOpsMax || larger > REQUEST_BYTES_MAX);
    if (full) {
      open = [];
    }
    if (open.length === 0) batches.push(open);
    deepest = full ? commit.ops : deeper;
    sizeBytes = full ? commit.sizeBytes : larger;
    open.push(commit);
  }
  return batches;
}
