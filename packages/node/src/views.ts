import {
  type Epoch,
  faultBounds,
  isArchived,
  isoTime,
  isSettled,
  type NodeId,
  type PeerId,
  type TxId,
  type TxSnapshot,
} from "@quorate/core";
import type { TallyView, TrusteeNode } from "@quorate/engine";

/** Transactions that participation is told of: the newest in view that are decided. */
export const PARTICIPATION_WINDOW = 100;

/** What of a node a status page needs. */
export interface StatusContext {
  readonly node: Pick<
    TrusteeNode,
    "checks" | "set" | "view" | "observers" | "openTransactions" | "pendingVotes" | "clockOffsetMs"
  >;
  readonly clusterId: string;
  readonly nodeId: NodeId;
  readonly peerId: PeerId;
  readonly version: string;
}

export function transactionJson(snapshot: TxSnapshot): object {
  const { txId, status, record, votes, violations } = snapshot;
  const byNode = [...votes.values()].sort((a, b) => (a.vote.nodeId < b.vote.nodeId ? -1 : 1));
  return {
    txId,
    status,
    settled: isSettled(status),
    // Then its votes are in history only.
    archived: isArchived(snapshot),
    value: record?.value?.toString() ?? null,
    reason: record?.reason ?? null,
    policy: record?.policy ?? null,
    profile: record?.profile ?? null,
    epoch: record?.epoch ?? (null as Epoch | null),
    openedAt: record === null ? null : isoTime(record.openedAtMs),
    deadlineAt: record === null ? null : isoTime(record.deadlineAtMs),
    unanimous: record?.unanimous ?? false,
    offenders: record?.offenders ?? [],
    absent: record?.absent ?? null,
    votes: byNode.map(({ vote }) => ({
      nodeId: vote.nodeId,
      value: vote.value.toString(),
      issuedAt: isoTime(vote.issuedAtMs),
    })),
    violations: [...violations].flatMap(([nodeId, types]) =>
      [...types].map((type) => ({
        nodeId,
        type,
        grade: type === "DOUBLE_VOTING" || type === "INVALID_SIGNATURE" ? "PROOF" : "OPINION",
      })),
    ),
    chain: record?.chain ?? null,
  };
}

/** The newest transactions in view, newest first; those that are known in part only are left out. */
export function recentTransactions(view: TallyView, limit: number): readonly TxSnapshot[] {
  const found: TxSnapshot[] = [];
  for (const txId of view.recent(limit)) {
    const known = knownIn(view, txId);
    if (known !== null) found.push(known);
  }
  return found;
}

/** Null for one that was purged or that the view has joined in the middle. */
export function knownIn(view: TallyView, txId: TxId): TxSnapshot | null {
  const snapshot = view.snapshot(txId)?.snapshot;
  return snapshot === undefined || snapshot.status === null ? null : snapshot;
}

/** On how many of the newest decided transactions each trustee voted, and when it last did. */
function participationOf(view: TallyView) {
  const voted = new Map<NodeId, { votes: number; lastVoteMs: number }>();
  const decided = recentTransactions(view, 2 * PARTICIPATION_WINDOW)
    .filter(({ status }) => status !== "COLLECTING")
    .slice(0, PARTICIPATION_WINDOW);
  for (const { votes } of decided)
    for (const [nodeId, { vote }] of votes) {
      const before = voted.get(nodeId) ?? { votes: 0, lastVoteMs: 0 };
      const lastVoteMs = Math.max(before.lastVoteMs, vote.issuedAtMs);
      voted.set(nodeId, { votes: before.votes + 1, lastVoteMs });
    }
  return { voted, transactions: decided.length };
}

export function statusJson({ node, clusterId, nodeId, peerId, version }: StatusContext): object {
  const checks = node.checks();
  const { set } = node;
  const { voted, transactions } = participationOf(node.view);
  return {
    clusterId,
    nodeId,
    peerId,
    version,
    epoch: set.epoch,
    threshold: set.threshold,
    totalNodes: set.trustees.length,
    faultBounds: faultBounds(set.trustees.length, set.threshold),
    ready: checks.every((c) => c.ok),
    checks,
    trustees: set.trustees.map((t) => {
      const presence = node.view.presence.get(t.peerId);
      const ban = node.view.banRecords.get(t.peerId);
      const own = voted.get(t.nodeId);
      return {
        nodeId: t.nodeId,
        peerId: t.peerId,
        online: presence !== undefined,
        banned: node.view.bans.has(t.peerId),
        banReason: ban?.reason ?? null,
        version: presence?.version ?? null,
        apiUrl: presence?.apiUrl ?? null,
        upSince: presence === undefined ? null : isoTime(presence.startedAtMs),
        participation: { votes: own?.votes ?? 0, transactions },
        clockOffsetMs: node.clockOffsetMs(t.nodeId),
        lastVoteAt: own === undefined ? null : isoTime(own.lastVoteMs),
      };
    }),
    observers: node.observers.map(({ startedAtMs, ...observer }) => ({
      ...observer,
      since: isoTime(startedAtMs),
    })),
    openTransactions: node.openTransactions,
    pendingVotes: node.pendingVotes,
  };
}
