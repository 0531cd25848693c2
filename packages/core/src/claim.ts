import type { Value } from "./ids.ts";
import { unwrap } from "./result.ts";
import { countVotes, type TxSnapshot, type TxWrites } from "./tally.ts";
import type { TrusteeSet } from "./trustee-set.ts";
import { type Verify, verifyVote } from "./vote.ts";
import { stateOf, statusOf, transition } from "./vote-fsm.ts";

/** What the stored votes themselves say, whatever the status key claims. */
export type Backing =
  | { readonly kind: "backed"; readonly value: Value }
  /** The status says so but the votes do not: somebody forged it. Never submitted. */
  | { readonly kind: "unbacked"; readonly validVotes: number; readonly needed: number }
  | { readonly kind: "dissent" };

/**
 * Counts the votes whose signatures verify. A value that is to reach the chain must
 * have t of them for the recorded value, and under strict-abort nobody against it.
 */
export function backing(snapshot: TxSnapshot, set: TrusteeSet, verify: Verify): Backing {
  const { record } = snapshot;
  const equivocators = new Set(
    [...snapshot.violations].filter(([, types]) => types.has("DOUBLE_VOTING")).map(([n]) => n),
  );
  const valid = [...snapshot.votes].flatMap(([nodeId, stored]) => {
    if (equivocators.has(nodeId)) return [];
    const good = verifyVote(stored, set, verify);
    // From here on only what was read from the signed bytes: the stored reading of them proves nothing.
    const own =
      good.ok && good.value.vote.txId === snapshot.txId && good.value.vote.nodeId === nodeId;
    return own ? [good.value] : [];
  });
  const counts = [...countVotes(valid)];
  const reached = counts.filter(([, count]) => count >= set.threshold);
  const winner = reached.length === 1 ? reached[0] : undefined;
  if (record === null || winner === undefined || record.value !== winner[0]) {
    const validVotes = Math.max(0, ...counts.map(([, count]) => count));
    return { kind: "unbacked", validVotes, needed: set.threshold };
  }
  if (record.policy === "strict-abort" && (counts.length > 1 || equivocators.size > 0))
    return { kind: "dissent" };
  return { kind: "backed", value: winner[0] };
}

export type ClaimDecision =
  | { readonly kind: "claim"; readonly value: Value; readonly writes: TxWrites }
  /** Not THRESHOLD_REACHED, or no longer: nothing to do. */
  | { readonly kind: "not-ready" }
  | Exclude<Backing, { readonly kind: "backed" }>;

/**
 * Whether the submitter may take this transaction, from the stored votes alone:
 * it verifies every signature itself, so that a forged status or counter reaches nothing.
 * The writes are the claim: the status SUBMITTED and the write-once decision SUBMIT.
 * @param snapshot read after the settle window, at one revision
 */
export function decideClaim(snapshot: TxSnapshot, set: TrusteeSet, verify: Verify): ClaimDecision {
  if (snapshot.status !== "THRESHOLD_REACHED") return { kind: "not-ready" };
  const backed = backing(snapshot, set, verify);
  if (backed.kind !== "backed") return backed;
  const state = unwrap(transition(stateOf(snapshot.status), "SubmitSuccess"));
  const writes: TxWrites = {
    txId: snapshot.txId,
    newVotes: [],
    counts: new Map(),
    status: statusOf(state) ?? "SUBMITTED",
    // Written again though it stays the same: history learns of a status by its record.
    record: snapshot.record,
    decision: { kind: "SUBMIT", value: backed.value },
    violations: [],
    bans: [],
    silenceStreaks: new Map(),
  };
  return { kind: "claim", value: backed.value, writes };
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
