import { err, ok, type Result } from "./result.ts";
import type { FinalDecision, TxSnapshot } from "./tally.ts";

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

/** How long what is kept, and how full etcd may become. Violations, bans, decisions and receipts in history stay for ever. */
export interface RetentionOptions {
  /** Between two runs of the collector, in ms. */
  readonly intervalMs: number;
  /** Votes and counters in the tally, in ms after the transaction was confirmed or aborted. */
  readonly votesMs: number;
  /** Status and record in the tally, in ms after the same. */
  readonly recordsMs: number;
  /** Submissions among the active ones, in ms after confirmation. */
  readonly submissionsMs: number;
  /** Votes in history, in ms after they were recorded there. */
  readonly voteHistoryMs: number;
  /** What becomes of older votes: gone, or moved into a table of their own that is the operator's to empty. */
  readonly voteHistory: "delete" | "archive";
  /** Least age of what is purged early because the tally is full, in ms after it was confirmed or aborted. */
  readonly earlyAfterMs: number;
  /** Shares of the tally's quota in use: above the high one purging is early, until below the low one. */
  readonly highMark: number;
  readonly lowMark: number;
  /** Newest revisions that a compaction leaves, for watchers that are a little behind. */
  readonly compactionMarginRevisions: number;
}

/** The specification's periods. @see spec §9.1 */
export const DEFAULT_RETENTION: RetentionOptions = {
  intervalMs: HOUR_MS,
  votesMs: DAY_MS,
  recordsMs: 7 * DAY_MS,
  submissionsMs: 30 * DAY_MS,
  voteHistoryMs: 90 * DAY_MS,
  voteHistory: "delete",
  // Ten times the default deadline: late votes have come and silence has been judged.
  earlyAfterMs: 300_000,
  highMark: 0.7,
  lowMark: 0.55,
  // Some seconds of a busy cluster: a node that is further behind has lost its place in the stream anyway when it restarts.
  compactionMarginRevisions: 10_000,
};

export interface RetentionProblem {
  readonly code: "RETENTION_INVALID";
  readonly option: keyof RetentionOptions;
  readonly message: string;
}

/** Options that contradict each other, or would purge what may still change. @param deadlineMs how long a transaction stays open at most */
export function checkRetention(
  options: RetentionOptions,
  deadlineMs: number,
): Result<RetentionOptions, RetentionProblem> {
  const problem = (
    option: keyof RetentionOptions,
    message: string,
  ): Result<never, RetentionProblem> =>
    err({ code: "RETENTION_INVALID", option, message: `retention.${option} ${message}` });
  const { votesMs, recordsMs, earlyAfterMs, highMark, lowMark } = options;
  const whole = [
    "intervalMs",
    "votesMs",
    "recordsMs",
    "submissionsMs",
    "voteHistoryMs",
    "earlyAfterMs",
  ] as const;
  for (const option of whole)
    if (!Number.isSafeInteger(options[option]) || options[option] < 1)
      return problem(option, "must be a whole number of ms above 0");
  // Silence is judged at the deadline, from the votes that are there.
  if (earlyAfterMs < deadlineMs)
    return problem("earlyAfterMs", `must be at least deadlineMs (${deadlineMs})`);
  if (votesMs < earlyAfterMs)
    return problem("votesMs", `must be at least earlyAfterMs (${earlyAfterMs})`);
  if (recordsMs < votesMs) return problem("recordsMs", `must be at least votesMs (${votesMs})`);
  if (!(highMark > 0 && highMark < 1)) return problem("highMark", "must lie between 0 and 1");
  if (!(lowMark > 0 && lowMark < highMark))
    return problem("lowMark", "must lie between 0 and highMark");
  if (
    !Number.isSafeInteger(options.compactionMarginRevisions) ||
    options.compactionMarginRevisions < 0
  )
    return problem("compactionMarginRevisions", "must be a whole number, 0 or more");
  return ok(options);
}

/**
 * Whether all that is left of a transaction is how it was decided: its votes are purged, and later its status too.
 * A decision without a single vote says so, for none is ever taken on a transaction that nobody voted on.
 * The decision stays for ever, so an id that was used is never open again.
 */
export function isArchived(snapshot: Pick<TxSnapshot, "decision" | "votes">): boolean {
  return snapshot.decision !== null && snapshot.votes.size === 0;
}

/** The write-once word that a settled transaction has, or must have before anything of it goes; null when it is not settled, or its record does not say. */
export function decisionOf({
  status,
  record,
}: Pick<TxSnapshot, "status" | "record">): FinalDecision | null {
  if (record === null) return null;
  if (status === "CONFIRMED" && record.value !== null)
    return { kind: "SUBMIT", value: record.value };
  if (status === "ABORTED_BYZANTINE" && record.reason !== null)
    return { kind: "ABORT", reason: record.reason };
  return null;
}

/**
 * Up to where the tally's own history may be forgotten: never beyond what is projected, and not the newest revisions.
 * @returns null when there is nothing to forget
 */
export function compactionTarget(
  at: { readonly revision: bigint; readonly position: bigint | null },
  marginRevisions: number,
): bigint | null {
  if (at.position === null) return null;
  const newest = at.revision - BigInt(marginRevisions);
  const target = newest < at.position ? newest : at.position;
  return target > 1n ? target : null;
}
