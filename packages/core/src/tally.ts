import type { Evidence } from "./evidence.ts";
import type { Epoch, NodeId, PeerId, TxId, Value } from "./ids.ts";
import type { DissentPolicy, PunishmentProfile } from "./protocol-config.ts";
import type { TraceContext } from "./trace-context.ts";
import type { BanReason, EvidenceGrade, ViolationType } from "./violation.ts";
import type { SignedVote, VerifiedVote } from "./vote.ts";
import type { TxStatus } from "./vote-fsm.ts";

/** Why a transaction ended without a submission. */
export type AbortReason =
  | "DOUBLE_VOTING"
  | "MINORITY_VOTE"
  | "SPLIT_VOTE"
  | "QUORUM_UNREACHABLE"
  | "SILENT_FAILURE";

/** The decision record under `/transactions/{tx}`: all that the plain status word can't say. */
export interface TxRecord {
  readonly epoch: Epoch;
  readonly policy: DissentPolicy;
  readonly profile: PunishmentProfile;
  /** Trustees of the epoch that were banned when it opened, and so are not waited for. Fixed for its life. */
  readonly excluded: readonly NodeId[];
  readonly openedAtMs: number;
  readonly deadlineAtMs: number;
  /** The value that reached t; null while none has, and after an abort. */
  readonly value: Value | null;
  /** All expected trustees voted it: submittable without settling. */
  readonly unanimous: boolean;
  readonly thresholdAtMs: number | null;
  readonly reason: AbortReason | null;
  readonly offenders: readonly NodeId[];
  /** Who had not voted when the deadline was judged; null before. */
  readonly absent: readonly NodeId[] | null;
  readonly chain: { readonly txHash: string; readonly blockNumber: string } | null;
  /** Where the trace of the vote that completed the threshold goes on; absent when it is not traced. No rule looks at it. */
  readonly traceContext?: TraceContext;
}

/** Everything recorded about one transaction at one revision. */
export interface TxSnapshot {
  readonly txId: TxId;
  readonly status: TxStatus | null;
  readonly record: TxRecord | null;
  /** At most one vote a trustee, for ever: vote keys are written once. */
  readonly votes: ReadonlyMap<NodeId, SignedVote>;
  /** Violations recorded in this transaction. */
  readonly violations: ReadonlyMap<NodeId, ReadonlySet<ViolationType>>;
  /** The write-once decision; it stays when all else is purged, so that the id is never open again. */
  readonly decision: FinalDecision | null;
}

export function emptySnapshot(txId: TxId): TxSnapshot {
  return {
    txId,
    status: null,
    record: null,
    votes: new Map(),
    violations: new Map(),
    decision: null,
  };
}

export interface Violation {
  readonly txId: TxId;
  readonly peerId: PeerId;
  readonly nodeId: NodeId;
  readonly type: ViolationType;
  readonly grade: EvidenceGrade;
  readonly evidence: Evidence;
  readonly detectedAtMs: number;
}

export interface Ban {
  readonly peerId: PeerId;
  readonly nodeId: NodeId;
  readonly reason: BanReason;
  readonly grade: EvidenceGrade;
  readonly bannedAtMs: number;
  readonly evidence: Evidence;
}

/** The end of a ban, kept for ever: who ended it, and why. */
export interface BanLift {
  readonly peerId: PeerId;
  readonly nodeId: NodeId | null;
  /** OPERATOR: a person ended an OPINION ban. UNPROVEN: a node struck a ban that its own evidence does not bear out. */
  readonly kind: "OPERATOR" | "UNPROVEN";
  /** The person's name as they gave it, or the node's. */
  readonly by: string;
  readonly reason: string;
  readonly liftedAtMs: number;
  /** What the ban had been for; null when it was not readable. */
  readonly banReason: BanReason | null;
}

/** A silent run's length as it was judged on and as it becomes: the first guards the second. */
export interface StreakChange {
  readonly before: number;
  readonly after: number;
}

/** The write-once word on a transaction: whichever of the two is first stands for ever. */
export type FinalDecision =
  | { readonly kind: "SUBMIT"; readonly value: Value }
  | { readonly kind: "ABORT"; readonly reason: AbortReason };

/** One commit: all of it or nothing, against the snapshot it was decided on. */
export interface TxWrites {
  readonly txId: TxId;
  readonly newVotes: readonly VerifiedVote[];
  /** New totals of the values that `newVotes` touch. */
  readonly counts: ReadonlyMap<Value, number>;
  readonly status: TxStatus;
  /** Null when the stored record stays as it is. */
  readonly record: TxRecord | null;
  readonly decision: FinalDecision | null;
  readonly violations: readonly Violation[];
  readonly bans: readonly Ban[];
  /** Lengths of silent runs; absent nodes grow, present ones fall to 0. The commit is void when `before` is not what is stored. */
  readonly silenceStreaks: ReadonlyMap<NodeId, StreakChange>;
}

/**
 * Whose ban keys a commit is guarded by: it is void when one of them is banned. The voters that it records (bans are
 * linearizable), and those it bans for an OPINION: written over a PROOF that its writer has not heard of, the ban could be lifted.
 */
export function guardedPeers(writes: Pick<TxWrites, "newVotes" | "bans">): readonly PeerId[] {
  const opinions = writes.bans.filter((ban) => ban.grade === "OPINION");
  return [...new Set([...writes.newVotes, ...opinions].map(({ peerId }) => peerId))];
}

/** Number of distinct recorded votes per value (I7). */
export function countVotes(votes: Iterable<SignedVote>): Map<Value, number> {
  const counts = new Map<Value, number>();
  for (const { vote } of votes) counts.set(vote.value, (counts.get(vote.value) ?? 0) + 1);
  return counts;
}
