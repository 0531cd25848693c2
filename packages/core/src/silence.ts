import type { NodeId } from "./ids.ts";
import type { ProtocolConfig } from "./protocol-config.ts";
import type { StreakChange, TxRecord, TxSnapshot, Violation } from "./tally.ts";
import type { TrusteeSet } from "./trustee-set.ts";
import type { SignedVote } from "./vote.ts";
import type { VoteState } from "./vote-fsm.ts";

export interface SilenceJudgement {
  /** Who had not voted at the deadline; null while it has not been judged. */
  readonly absent: readonly NodeId[] | null;
  readonly violations: readonly Violation[];
  readonly streaks: ReadonlyMap<NodeId, StreakChange>;
  /** So many were absent, or the tally was in trouble so long, that it says nothing about any one of them. */
  readonly outage: boolean;
  readonly banned: ReadonlySet<NodeId>;
}

/**
 * Judges omission at the deadline, once per transaction [spec §3.1 Type 4].
 * More absentees at once than N−t, or a tally that could not be written meanwhile, is an outage of
 * the network or of the cluster's own servers, and is held against nobody. A transaction that was
 * aborted before its deadline is not judged: there was nothing left to vote on.
 */
export function judgeSilence(
  tx: {
    readonly snapshot: TxSnapshot;
    readonly record: TxRecord;
    readonly state: VoteState;
    readonly votes: ReadonlyMap<NodeId, SignedVote>;
    readonly nowMs: number;
    /** The tally could not be written for a part of the transaction's life: its votes may be late through no fault of theirs. */
    readonly storeTrouble: boolean;
  },
  deadlinePassed: boolean,
  context: {
    readonly set: TrusteeSet;
    readonly config: ProtocolConfig;
    readonly bans: ReadonlyMap<string, unknown>;
    readonly silenceStreaks: ReadonlyMap<NodeId, number>;
  },
): SilenceJudgement {
  const none = { violations: [], streaks: new Map(), banned: new Set<NodeId>(), outage: false };
  const { record, snapshot } = tx;
  const judgedBefore = record.absent !== null;
  const abortedBefore = snapshot.status === "ABORTED_BYZANTINE";
  if (!deadlinePassed || judgedBefore || abortedBefore || tx.state === "Idle")
    return { absent: record.absent, ...none };

  const expected = context.set.trustees.filter(
    (t) => !record.excluded.includes(t.nodeId) && !context.bans.has(t.peerId),
  );
  const missing = expected.filter((t) => !tx.votes.has(t.nodeId));
  const absent = missing.map((t) => t.nodeId);
  const outage = missing.length > context.set.trustees.length - context.set.threshold;
  if (outage || (tx.storeTrouble && missing.length > 0)) return { absent, ...none, outage: true };

  const streaks = new Map<NodeId, StreakChange>();
  const banned = new Set<NodeId>();
  for (const t of expected) {
    const before = context.silenceStreaks.get(t.nodeId) ?? 0;
    if (tx.votes.has(t.nodeId)) {
      if (before > 0) streaks.set(t.nodeId, { before, after: 0 });
      continue;
    }
    streaks.set(t.nodeId, { before, after: before + 1 });
    if (record.profile === "strict" || before + 1 >= context.config.silenceStreakMax)
      banned.add(t.nodeId);
  }
  const voted = [...tx.votes.keys()].sort();
  const violations = missing.map(
    (t): Violation => ({
      txId: snapshot.txId,
      peerId: t.peerId,
      nodeId: t.nodeId,
      type: "SILENT_FAILURE",
      grade: "OPINION",
      detectedAtMs: tx.nowMs,
      evidence: {
        type: "SILENT_FAILURE",
        nodeId: t.nodeId,
        openedAtMs: record.openedAtMs,
        deadlineAtMs: record.deadlineAtMs,
        voted,
      },
    }),
  );
  return { absent, violations, streaks, banned, outage: false };
}
