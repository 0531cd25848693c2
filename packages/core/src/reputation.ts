import { assert, assertNever } from "./result.ts";
import type { BanLift } from "./tally.ts";
import { gradeOf, type ViolationType } from "./violation.ts";

const DAY_MS = 86_400_000;

/** The figures of the formula, each with its reason. A worked example is in docs/REPUTATION.md. */
export const REPUTATION = {
  /** A penalty is halved in this time, in ms: a bad day is forgotten in some weeks, a bad week is not. */
  halfLifeMs: 7 * DAY_MS,
  /** What one silence costs: eight in a quick row fall below the bound. */
  silencePenalty: 0.1,
  /**
   * What is left of a penalty after a decided transaction in which the trustee voted the decided value. Silence and good
   * conduct are both counted by transactions, so that it is the share of silences that tells, at any rate of transactions.
   */
  goodConductFactor: 0.99,
  /** A penalty that good conduct has brought below this is gone: nobody sees it, and it need not be carried on for ever. */
  forgottenBelow: 1e-6,
  /** The score right after an operator's lift: above the bound, so that the next small thing does not ban again at once, and far from spotless. */
  liftedScore: 0.5,
  /** Below it a trustee is banned for LOW_REPUTATION. */
  banBelow: 0.3,
} as const;

/** What is known of one peer's conduct: all that its score needs. */
export interface ReputationState {
  /** P, from 0 to 1, as it was at `penaltyAtMs`. The score is 1 − P, later with what is left of P. */
  readonly penalty: number;
  /** In ms since the Unix epoch; 0 while there has been no penalty. */
  readonly penaltyAtMs: number;
  /** A PROOF violation: the score is 0 for ever. */
  readonly proven: boolean;
  /** The score is 0 while a ban lasts. */
  readonly banned: boolean;
}

/** A peer of whom nothing is known. */
export const SPOTLESS: ReputationState = {
  penalty: 0,
  penaltyAtMs: 0,
  proven: false,
  banned: false,
};

/** What moves a score. Times are those of the records, in ms since the Unix epoch. */
export type ReputationEvent =
  | { readonly kind: "violation"; readonly type: ViolationType; readonly atMs: number }
  /** A transaction was decided, and the trustee had voted the decided value. Needs no time: it scales P, as time does. */
  | { readonly kind: "good-conduct" }
  | { readonly kind: "ban" }
  | { readonly kind: "lift"; readonly liftKind: BanLift["kind"]; readonly atMs: number };

/**
 * Folds one event into a peer's state: the same events in the same order always give the same state, however they
 * are cut into batches. @see spec §7.3
 *
 * P never exceeds 1. Without that bound a long outage would pile up a debt that takes months to decay, and halving the
 * score (P := (1 + P) / 2) would *lower* a penalty above 1. An event that is dated before the last one counts as at the last one.
 */
export function reputationAfter(state: ReputationState, event: ReputationEvent): ReputationState {
  const next = fold(state, event);
  assert(next.penalty >= 0 && next.penalty <= 1, "a penalty is from 0 to 1");
  assert(next.proven || !state.proven, "a proof is never forgotten");
  return next;
}

function fold(state: ReputationState, event: ReputationEvent): ReputationState {
  switch (event.kind) {
    case "violation":
      return afterViolation(state, event.type, event.atMs);
    case "good-conduct": {
      const penalty = state.penalty * REPUTATION.goodConductFactor;
      return { ...state, penalty: penalty < REPUTATION.forgottenBelow ? 0 : penalty };
    }
    case "ban":
      return { ...state, banned: true };
    case "lift":
      // A struck ban was forged: what the peer had earned by itself stands as it was.
      if (event.liftKind === "UNPROVEN") return { ...state, banned: false };
      return {
        ...state,
        banned: false,
        penalty: 1 - REPUTATION.liftedScore,
        penaltyAtMs: event.atMs,
      };
    default:
      return assertNever(event);
  }
}

function afterViolation(
  state: ReputationState,
  type: ViolationType,
  atMs: number,
): ReputationState {
  if (gradeOf(type) === "PROOF") return { ...state, proven: true };
  const before = penaltyAt(state, atMs);
  const added =
    // [spec §7.3] A minority vote halves the score, whatever it was.
    type === "MINORITY_VOTE" ? (1 - before) / 2 : REPUTATION.silencePenalty;
  return {
    ...state,
    penalty: Math.min(1, before + added),
    penaltyAtMs: state.penalty === 0 ? atMs : Math.max(state.penaltyAtMs, atMs),
  };
}

/** What is left of the penalty. Before `penaltyAtMs` nothing of it has decayed. */
function penaltyAt({ penalty, penaltyAtMs }: ReputationState, nowMs: number): number {
  const sinceMs = Math.max(0, nowMs - penaltyAtMs);
  return penalty * 2 ** (-sinceMs / REPUTATION.halfLifeMs);
}

/** The score at a time, from 1.0 (spotless) to 0.0. @param nowMs in ms since the Unix epoch. @see spec §7.3 */
export function scoreAt(state: ReputationState, nowMs: number): number {
  if (state.proven || state.banned) return 0;
  return Math.min(1, Math.max(0, 1 - penaltyAt(state, nowMs)));
}

/** Whether a peer is to be banned for its score. One that is banned already is not. */
export function isBelowBound(state: ReputationState, nowMs: number): boolean {
  return !state.banned && scoreAt(state, nowMs) < REPUTATION.banBelow;
}
