import { doubleVotingEvidence, type Evidence, minorityEvidence } from "./evidence.ts";
import type { NodeId, PeerId, TxId, Value } from "./ids.ts";
import { LIMITS } from "./limits.ts";
import type { ProtocolConfig } from "./protocol-config.ts";
import { assert, unwrap } from "./result.ts";
import { isArchived } from "./retention.ts";
import { judgeSilence } from "./silence.ts";
import {
  type AbortReason,
  type Ban,
  countVotes,
  type TxRecord,
  type TxSnapshot,
  type TxWrites,
  type Violation,
} from "./tally.ts";
import type { TrusteeSet } from "./trustee-set.ts";
import { type EvidenceGrade, gradeOf, type ViolationType } from "./violation.ts";
import { type SignedVote, type VerifiedVote, type Verify, verifyVote } from "./vote.ts";
import {
  isSettled,
  stateOf,
  statusOf,
  transition,
  type VoteEvent,
  type VoteState,
} from "./vote-fsm.ts";

export interface DecideInput {
  /** Verified votes for this transaction, in any order, repetitions allowed. */
  readonly votes: readonly VerifiedVote[];
  readonly nowMs: number;
  /** True when the deadline sweep asks for silence to be judged. */
  readonly deadlinePassed: boolean;
  /** The tally could not be written for a part of the transaction's life, as far as the judging node knows. */
  readonly storeTrouble?: boolean;
}

export interface DecideContext {
  /** The trustee set of the transaction's epoch. */
  readonly set: TrusteeSet;
  readonly config: ProtocolConfig;
  readonly bans: ReadonlyMap<PeerId, EvidenceGrade>;
  /** Current lengths of silent runs; absent means 0. */
  readonly silenceStreaks: ReadonlyMap<NodeId, number>;
  /**
   * Checks signatures. What is stored may have been put there by a forger, so a stored vote
   * is verified before anybody is accused by it; otherwise it is not worth the time, for nothing
   * reaches the chain before the submitter has verified it.
   */
  readonly verify: Verify;
  /** Told as each step ends, in this order; it must not throw, and changes nothing. For tracing, which has a clock. */
  readonly onStep?: ((step: DecideStep) => void) | undefined;
}

/** The steps of a decision: votes taken, a value's majority looked for, dissent looked for, the status moved on. */
export type DecideStep = "count" | "threshold" | "byzantine" | "aggregate";

/** What became of each vote that was put in, in order. */
export type VoteOutcome =
  | { readonly kind: "RECORDED" }
  /** The same trustee's same value is recorded already: nothing to do. */
  | { readonly kind: "DUPLICATE" }
  /** Another value of the same trustee is recorded already: both votes are the proof. */
  | { readonly kind: "EQUIVOCATION" }
  | {
      readonly kind: "REFUSED";
      readonly code:
        | "BANNED"
        | "WRONG_EPOCH"
        | "UNKNOWN_TRUSTEE"
        /** The transaction was decided long ago and its votes are archived: nothing about it changes any more. */
        | "ARCHIVED"
        /** In the place of this trustee's vote the tally holds what the trustee did not sign. */
        | "RECORD_FORGED";
    };

export interface Decision {
  readonly outcomes: readonly VoteOutcome[];
  /** The one commit that follows; null when nothing changes. */
  readonly writes: TxWrites | null;
  /** More is to be judged than fits one commit: decide again on what this one leaves. */
  readonly more: boolean;
  /** Silence was judged and held against nobody: too many were absent, or the tally was in trouble. */
  readonly outage: boolean;
}

/** Everything that is being put together for the commit. */
interface Draft {
  readonly txId: TxId;
  readonly votes: Map<NodeId, SignedVote>;
  readonly newVotes: VerifiedVote[];
  readonly violations: Violation[];
  /** Recorded and new, by node. */
  readonly guilty: Map<NodeId, Set<ViolationType>>;
}

/**
 * The rules. Judges the whole set of votes that is recorded or put in, so that the
 * order of arrival does not matter, and says what ONE commit has to write.
 * Pure and total: the same input gives the same decision on every node.
 *
 * Idempotent: votes that are recorded already change nothing.
 * @see spec §3.1, §3.2, §3.4 and §6
 */
export function decide(snapshot: TxSnapshot, input: DecideInput, context: DecideContext): Decision {
  const { set, onStep } = context;
  assert(
    snapshot.record === null || snapshot.record.epoch === set.epoch,
    "the set is the transaction's",
  );
  if (isArchived(snapshot)) {
    // Without its votes nothing can be judged: a late vote would look like the first, and all others silent.
    const outcomes = input.votes.map(() => ({ kind: "REFUSED", code: "ARCHIVED" }) as const);
    return { outcomes, writes: null, outage: false, more: false };
  }
  const draft: Draft = {
    txId: snapshot.txId,
    // Only a forger can have put a vote under another name into the store; it counts for nothing.
    votes: new Map([...snapshot.votes].filter(([nodeId]) => set.byNodeId.has(nodeId))),
    newVotes: [],
    violations: [],
    guilty: new Map([...snapshot.violations].map(([node, types]) => [node, new Set(types)])),
  };
  const outcomes = input.votes.map((vote) => takeVote(vote, snapshot, draft, input, context));
  onStep?.("count");
  const opened = snapshot.record ?? openRecord(input, context);
  const effective = effectiveVotes(draft);
  const winner = winningValue(snapshot, effective, set.threshold);
  onStep?.("threshold");
  const more = judgeMinority(winner, effective, draft, input, context);
  onStep?.("byzantine");

  const verdict = nextState(snapshot, opened, draft, effective, winner, input, context);
  onStep?.("aggregate");
  const silence = judgeSilence(
    {
      snapshot,
      record: opened,
      state: verdict.state,
      votes: draft.votes,
      nowMs: input.nowMs,
      storeTrouble: input.storeTrouble === true,
    },
    input.deadlinePassed,
    context,
  );
  draft.violations.push(...silence.violations);

  const status = statusOf(verdict.state);
  const { outage } = silence;
  if (status === null) return { outcomes, writes: null, outage, more: false };
  const record = nextRecord(opened, verdict, draft, effective, silence.absent, input, context);
  const recordChanged = snapshot.record === null || !sameRecord(record, snapshot.record);
  const changed =
    draft.newVotes.length > 0 ||
    draft.violations.length > 0 ||
    status !== snapshot.status ||
    recordChanged;
  if (!changed) return { outcomes, writes: null, outage, more: false };
  const abortedNow = verdict.state === "Aborted" && snapshot.status !== "ABORTED_BYZANTINE";
  const writes: TxWrites = {
    txId: snapshot.txId,
    newVotes: draft.newVotes,
    counts: changedCounts(draft),
    status,
    record: recordChanged ? record : null,
    decision:
      abortedNow && record.reason !== null ? { kind: "ABORT", reason: record.reason } : null,
    violations: draft.violations,
    bans: bansFor(draft.violations, silence.banned, context),
    silenceStreaks: silence.streaks,
  };
  checkWrites(snapshot, writes, draft);
  return { outcomes, writes, outage, more };
}

function takeVote(
  vote: VerifiedVote,
  snapshot: TxSnapshot,
  draft: Draft,
  input: DecideInput,
  context: DecideContext,
): VoteOutcome {
  const { set, bans } = context;
  const { nodeId, value } = vote.vote;
  assert(vote.vote.txId === snapshot.txId, "a vote is judged in its own transaction");
  const member = set.byNodeId.get(nodeId);
  const recorded = draft.votes.get(nodeId);
  // A name may have got another key with another epoch: then these are two signers.
  if (recorded !== undefined && member?.peerId === vote.peerId && recorded.vote.value !== value) {
    // What a forger has put into the store accuses nobody.
    if (!isGenuine(recorded, draft, context)) return { kind: "REFUSED", code: "RECORD_FORGED" };
    // [spec §3.1 Type 1] Whatever the epochs, for an honest node signs one value a transaction; and also
    // against a trustee that is banned already: an OPINION ban becomes a PROOF.
    accuse(draft, vote, "DOUBLE_VOTING", doubleVotingEvidence(recorded, vote), input.nowMs);
    return { kind: "EQUIVOCATION" };
  }
  if (vote.vote.epoch !== set.epoch) return { kind: "REFUSED", code: "WRONG_EPOCH" };
  if (member === undefined) return { kind: "REFUSED", code: "UNKNOWN_TRUSTEE" };
  if (recorded !== undefined) return { kind: "DUPLICATE" };
  if (bans.has(vote.peerId)) return { kind: "REFUSED", code: "BANNED" };
  draft.votes.set(nodeId, vote);
  draft.newVotes.push(vote);
  return { kind: "RECORDED" };
}

/** Whether the trustee whose vote this is in the tally signed it, for this transaction. */
function isGenuine(
  stored: SignedVote,
  draft: Draft,
  { set, verify }: DecideContext,
): stored is VerifiedVote {
  const { txId, nodeId, value } = stored.vote;
  if (draft.votes.get(nodeId) !== stored) return false;
  if (draft.newVotes.some((v) => v === stored)) return true;
  const read = verifyVote(stored, set, verify);
  if (!read.ok) return false;
  const { vote } = read.value;
  return (
    vote.txId === draft.txId && vote.txId === txId && vote.nodeId === nodeId && vote.value === value
  );
}

function accuse(
  draft: Draft,
  offender: { readonly vote: SignedVote["vote"]; readonly peerId: PeerId },
  type: ViolationType,
  evidence: Evidence,
  detectedAtMs: number,
): void {
  const { nodeId, txId } = offender.vote;
  const types = draft.guilty.get(nodeId) ?? new Set();
  if (types.has(type)) return;
  types.add(type);
  draft.guilty.set(nodeId, types);
  draft.violations.push({
    txId,
    peerId: offender.peerId,
    nodeId,
    type,
    grade: gradeOf(type),
    evidence,
    detectedAtMs,
  });
}

function openRecord(input: DecideInput, context: DecideContext): TxRecord {
  const { config, set, bans } = context;
  return {
    epoch: set.epoch,
    policy: config.policy,
    profile: config.profile,
    excluded: set.trustees.filter((t) => bans.has(t.peerId)).map((t) => t.nodeId),
    openedAtMs: input.nowMs,
    deadlineAtMs: input.nowMs + config.deadlineMs,
    value: null,
    unanimous: false,
    thresholdAtMs: null,
    reason: null,
    offenders: [],
    absent: null,
    chain: null,
  };
}

/** The votes that can elect a value: an equivocator's word counts for nothing, whichever came first. */
function effectiveVotes(draft: Draft): readonly SignedVote[] {
  return [...draft.votes.values()].filter(
    (v) => draft.guilty.get(v.vote.nodeId)?.has("DOUBLE_VOTING") !== true,
  );
}

type Winner =
  | { readonly kind: "none" }
  | { readonly kind: "one"; readonly value: Value }
  /** Possible only when t is at most half of N. */
  | { readonly kind: "several" };

function winningValue(
  snapshot: TxSnapshot,
  effective: readonly SignedVote[],
  threshold: number,
): Winner {
  // What has been submitted is the majority, whatever is found out about its voters later.
  const submitted = snapshot.status === "SUBMITTED" || snapshot.status === "CONFIRMED";
  const value = snapshot.record?.value ?? null;
  if (submitted && value !== null) return { kind: "one", value };
  const winners = [...countVotes(effective)].filter(([, count]) => count >= threshold);
  const first = winners[0];
  if (first === undefined) return { kind: "none" };
  return winners.length === 1 ? { kind: "one", value: first[0] } : { kind: "several" };
}

/**
 * [spec §3.1 Type 2] Whoever voted against a value that has t votes, no matter who was first.
 * @returns whether dissenters are left for the next commit
 */
function judgeMinority(
  winner: Winner,
  effective: readonly SignedVote[],
  draft: Draft,
  input: DecideInput,
  context: DecideContext,
): boolean {
  const { set } = context;
  if (winner.kind !== "one") return false;
  const dissenters = effective.filter((v) => v.vote.value !== winner.value);
  const unjudged = dissenters.filter(
    (v) => draft.guilty.get(v.vote.nodeId)?.has("MINORITY_VOTE") !== true,
  );
  if (unjudged.length === 0) return false;
  // Signatures are checked only now that somebody is to be accused by them.
  const majority = effective.filter(
    (v) => v.vote.value === winner.value && isGenuine(v, draft, context),
  );
  // After the submission an equivocation may have taken a vote out of the majority: then there is no proof of it any more.
  if (majority.length < set.threshold) return false;
  const room = Math.max(1, Math.floor(LIMITS.evidenceVotesPerCommitMax / (2 * set.threshold)));
  let accused = 0;
  for (const dissent of unjudged) {
    const trustee = set.byNodeId.get(dissent.vote.nodeId);
    assert(trustee !== undefined, "recorded votes are by trustees");
    if (!isGenuine(dissent, draft, context)) continue;
    if (accused === room) return true;
    accused++;
    const evidence = minorityEvidence(dissent, majority, set);
    accuse(
      draft,
      { vote: dissent.vote, peerId: trustee.peerId },
      "MINORITY_VOTE",
      evidence,
      input.nowMs,
    );
  }
  return false;
}

interface Verdict {
  readonly state: VoteState;
  readonly value: Value | null;
  readonly abort: AbortReason | null;
}

function nextState(
  snapshot: TxSnapshot,
  record: TxRecord,
  draft: Draft,
  effective: readonly SignedVote[],
  winner: Winner,
  input: DecideInput,
  context: DecideContext,
): Verdict {
  let state = stateOf(snapshot.status);
  const step = (event: VoteEvent): void => {
    state = unwrap(transition(state, event));
  };
  if (draft.newVotes.length > 0) step("VoteReceived");
  if (state === "Idle") return { state, value: null, abort: null };
  const abort = (reason: AbortReason, event: VoteEvent): Verdict => {
    step(event);
    return { state, value: null, abort: reason };
  };
  if (isSettled(snapshot.status)) {
    if (draft.violations.length > 0) step("ByzantineDetected");
    return { state, value: record.value, abort: record.reason };
  }
  if (record.policy === "strict-abort") {
    const crimes = new Set([...draft.guilty.values()].flatMap((types) => [...types]));
    if (crimes.has("DOUBLE_VOTING")) return abort("DOUBLE_VOTING", "ByzantineDetected");
    if (crimes.has("MINORITY_VOTE")) return abort("MINORITY_VOTE", "ByzantineDetected");
  }
  if (winner.kind === "several") return abort("SPLIT_VOTE", "QuorumImpossible");
  if (winner.kind === "one") {
    if (state === "Collecting") step("ThresholdReached");
    return { state, value: winner.value, abort: null };
  }
  const hopeless = unreachable(record, draft, effective, context);
  if (hopeless !== null) return abort(hopeless, "QuorumImpossible");
  // A threshold without t votes behind it: an equivocator's was taken out, or the status was forged.
  if (state === "Threshold") step("ThresholdLost");
  if (input.deadlinePassed) return abort("SILENT_FAILURE", "DeadlinePassed");
  return { state, value: null, abort: null };
}

/** Rule 4: whether no value can reach t any more, even if all who may still vote agreed. */
function unreachable(
  record: TxRecord,
  draft: Draft,
  effective: readonly SignedVote[],
  { set, bans }: DecideContext,
): AbortReason | null {
  const pending = set.trustees.filter(
    (t) => !draft.votes.has(t.nodeId) && !bans.has(t.peerId) && !record.excluded.includes(t.nodeId),
  ).length;
  const counts = countVotes(effective);
  const best = Math.max(0, ...counts.values());
  if (best + pending >= set.threshold) return null;
  return counts.size > 1 ? "SPLIT_VOTE" : "QUORUM_UNREACHABLE";
}

function nextRecord(
  before: TxRecord,
  verdict: Verdict,
  draft: Draft,
  effective: readonly SignedVote[],
  absent: readonly NodeId[] | null,
  input: DecideInput,
  { set }: DecideContext,
): TxRecord {
  const offenders = [...draft.guilty]
    .filter(([, types]) => types.has("DOUBLE_VOTING") || types.has("MINORITY_VOTE"))
    .map(([node]) => node)
    .sort();
  const reached = verdict.value !== null;
  const expected = set.trustees.filter((t) => !before.excluded.includes(t.nodeId));
  const unanimous =
    reached &&
    offenders.length === 0 &&
    expected.every((t) => draft.votes.get(t.nodeId)?.vote.value === verdict.value) &&
    effective.length >= expected.length;
  return {
    ...before,
    value: verdict.value,
    unanimous,
    thresholdAtMs: reached ? (before.thresholdAtMs ?? input.nowMs) : null,
    reason: verdict.abort,
    offenders,
    absent,
  };
}

function sameRecord(a: TxRecord, b: TxRecord): boolean {
  const list = (x: readonly NodeId[] | null): string => (x === null ? "-" : x.join(","));
  return (
    a.value === b.value &&
    a.unanimous === b.unanimous &&
    a.thresholdAtMs === b.thresholdAtMs &&
    a.reason === b.reason &&
    list(a.offenders) === list(b.offenders) &&
    list(a.absent) === list(b.absent)
  );
}

function changedCounts(draft: Draft): ReadonlyMap<Value, number> {
  const all = countVotes(draft.votes.values());
  const touched = new Set(draft.newVotes.map((v) => v.vote.value));
  return new Map([...all].filter(([value]) => touched.has(value)));
}

/** Who is out after this commit, one ban a peer, the strongest reason first. */
function bansFor(
  violations: readonly Violation[],
  bannedForSilence: ReadonlySet<NodeId>,
  { bans }: DecideContext,
): readonly Ban[] {
  const result = new Map<PeerId, Ban>();
  const punished = violations
    .filter((v) => v.type !== "SILENT_FAILURE" || bannedForSilence.has(v.nodeId))
    .sort((a, b) => rank(b.grade) - rank(a.grade));
  for (const v of punished) {
    const before = result.get(v.peerId)?.grade ?? bans.get(v.peerId);
    if (before !== undefined && rank(before) >= rank(v.grade)) continue;
    result.set(v.peerId, {
      peerId: v.peerId,
      nodeId: v.nodeId,
      reason: v.type,
      grade: v.grade,
      bannedAtMs: v.detectedAtMs,
      evidence: v.evidence,
    });
  }
  return [...result.values()];
}

const rank = (grade: EvidenceGrade): number => (grade === "PROOF" ? 2 : 1);

/** What a commit must never break, whatever the rules above say. */
function checkWrites(snapshot: TxSnapshot, writes: TxWrites, draft: Draft): void {
  for (const vote of writes.newVotes)
    assert(!snapshot.votes.has(vote.vote.nodeId), "a recorded vote is never overwritten");
  for (const [value, count] of writes.counts) {
    const votes = [...draft.votes.values()].filter((v) => v.vote.value === value).length;
    assert(count === votes, "a counter is the number of distinct votes");
  }
  for (const ban of writes.bans)
    assert(
      writes.violations.some((v) => v.peerId === ban.peerId && v.type === ban.reason),
      "no ban without its violation in the same commit",
    );
  if (isSettled(snapshot.status))
    assert(writes.status === snapshot.status, "a settled outcome never changes");
}
