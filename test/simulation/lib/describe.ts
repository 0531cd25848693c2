import type { Change, ChangeSet } from "@quorate/ports";

/** A revision in one line. */
export function describeChanges({ changes }: ChangeSet, nameOf: (peer: string) => string): string {
  return changes.map((change) => describe(change, nameOf)).join("; ");
}

function describe(change: Change, nameOf: (peer: string) => string): string {
  switch (change.kind) {
    case "vote":
      return `vote ${change.txId}/${change.vote.vote.nodeId}=${change.vote.vote.value}`;
    case "count":
      return `count ${change.txId}/${change.value}=${change.count}`;
    case "status":
      return `status ${change.txId}=${change.status ?? "gone"}`;
    case "record":
      return `record ${change.txId} absent ${change.record.absent?.join() ?? "unjudged"}`;
    case "decision":
      return `decision ${change.txId}=${change.decision.kind}`;
    case "violation":
      return `violation ${change.violation.txId}/${nameOf(change.violation.peerId)}=${change.violation.type}`;
    case "ban":
      return `ban ${nameOf(change.peerId)}=${change.ban === null ? "ended" : change.ban.reason}`;
    case "lift":
      return `lift ${nameOf(change.lift.peerId)} ${change.lift.kind}`;
    case "receipts":
      return `receipts ${change.receipts.map((r) => `${r.nodeId}#${r.sequence} ${r.reason}x${r.count}`).join(", ")}`;
    case "presence":
      return `presence ${nameOf(change.peerId)} ${change.presence === null ? "ended" : "begins"}`;
    case "archived":
      return `archived ${change.txId}`;
    case "unreadable":
      return `unreadable ${change.key}`;
    case "config":
      return "config";
  }
}
