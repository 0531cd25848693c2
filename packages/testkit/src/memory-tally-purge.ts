import { decisionOf } from "@quorate/core";
import type { Change, PurgeOutcome, PurgeRequest } from "@quorate/ports";
import type { SharedTally } from "./memory-tally-shared.ts";

/** One mutation for all of them, as in etcd. */
export function purgeAll(
  shared: SharedTally,
  requests: readonly PurgeRequest[],
): readonly PurgeOutcome[] {
  const changes: Change[] = [];
  const outcomes = requests.map((request) => purgeOne(shared, request, changes));
  if (outcomes.includes("purged")) shared.publish(changes);
  return outcomes;
}

function purgeOne(
  shared: SharedTally,
  { txId, level, throughRevision }: PurgeRequest,
  changes: Change[],
): PurgeOutcome {
  const tx = shared.transactions.get(txId);
  if (tx === undefined) return "gone";
  const decision = decisionOf(tx);
  if (decision === null) return "kept";
  if (level === "votes" && tx.votes.size === 0 && tx.decision !== null) return "gone";
  // Its version is also the revision of its last change: every commit rewrites the status.
  if (tx.version > throughRevision && tx.votes.size > 0) return "kept";
  // Watchers see what etcd's keys tell: a decision that had to be written, and votes that went.
  if (tx.decision === null) changes.push({ kind: "decision", txId, decision });
  if (tx.votes.size > 0) changes.push({ kind: "archived", txId });
  tx.decision ??= decision;
  tx.votes.clear();
  if (level === "votes") {
    // Moved on, so that what was decided on the votes finds its guard void.
    tx.version = shared.nextRevision;
    changes.push({ kind: "status", txId, status: tx.status, created: false });
  } else {
    shared.transactions.delete(txId);
    shared.tombstones.set(txId, tx.decision);
    for (const [key, violation] of tx.violations) shared.strayViolations.set(key, violation);
    changes.push({ kind: "status", txId, status: null, created: false });
  }
  return "purged";
}
