import type { Value } from "./ids.ts";
import { unwrap } from "./result.ts";
import { countVotes, type TxSnapshot, type TxWrites } from "./tally.ts";
import type { TrusteeSet } from "./trustee-set.ts";
import { type Verify, verifyVote } from "./vote.ts";
import { stateOf, statusOf, transition } from "./vote-fsm.ts";

export type ClaimDecision =
  | { readonly kind: "claim"; readonly value: Value; readonly writes: TxWrites }
  /** Not THRESHOLD_REACHED, or no longer: nothing to do. */
  | { readonly kind: "not-ready" }
  /** The status says so but the votes do not: somebody forged it. Never submitted. */
  | { readonly kind: "unbacked"; readonly validVotes: number; readonly needed: number }
  | { readonly kind: "dissent" };

/**
 * Whether the submitter may take this transaction, from the stored votes alone:
 * it verifies every signature itself, so that a forged status or counter reaches nothing.
 * The writes are the claim: the status SUBMITTED and the write-once decision SUBMIT.
 * @param snapshot read after the settle window, at one revision
 */
export function decideClaim(snapshot: TxSnapshot, set: TrusteeSet, verify: Verify): ClaimDecision {
  const { record } = snapshot;
  if (snapshot.status !== "THRESHOLD_REACHED") return { kind: "not-ready" };
  const equivocators = new Set(
    [...snapshot.violations].filter(([, types]) => types.has("DOUBLE_VOTING")).map(([n]) => n),
  );
  const valid = [...snapshot.votes.values()].filter(
    (v) =>
      v.vote.txId === snapshot.txId &&
      !equivocators.has(v.vote.nodeId) &&
      snapshot.votes.get(v.vote.nodeId) === v &&
      verifyVote(v, set, verify).ok,
  );
  const counts = [...countVotes(valid)];
  const winner = counts.find(([, count]) => count >= set.threshold);
  const best = Math.max(0, ...counts.map(([, count]) => count));
  if (record === null || winner === undefined || record.value !== winner[0])
    return { kind: "unbacked", validVotes: best, needed: set.threshold };
  if (record.policy === "strict-abort" && (counts.length > 1 || equivocators.size > 0))
    return { kind: "dissent" };
  const state = unwrap(transition(stateOf(snapshot.status), "SubmitSuccess"));
  const status = statusOf(state) ?? "SUBMITTED";
  const writes: TxWrites = {
    txId: snapshot.txId,
    newVotes: [],
    counts: new Map(),
    status,
    record: null,
    decision: { kind: "SUBMIT", value: winner[0] },
    violations: [],
    bans: [],
    silenceStreaks: new Map(),
  };
  return { kind: "claim", value: winner[0], writes };
}

/** The commit that follows the chain's finality. Null when the status is not SUBMITTED (confirmed already, or foreign). */
export function decideConfirm(
  snapshot: TxSnapshot,
  chain: { readonly txHash: string; readonly blockNumber: string },
): TxWrites | null {
  if (snapshot.status !== "SUBMITTED" || snapshot.record === null) return null;
  const state = unwrap(transition(stateOf(snapshot.status), "ConfirmationReceived"));
  return {
    txId: snapshot.txId,
    newVotes: [],
    counts: new Map(),
    status: statusOf(state) ?? "CONFIRMED",
    record: { ...snapshot.record, chain },
    decision: null,
    violations: [],
    bans: [],
    silenceStreaks: new Map(),
  };
}
