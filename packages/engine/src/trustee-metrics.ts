import { LIMITS, type NodeId, type TrusteeSet, type TxStatus } from "@quorate/core";
import type { ChangeSet, Counter, Gauge, GossipStatus, MetricsFactory } from "@quorate/ports";
import type { TallyView } from "./tally-view.ts";

/** What a node says of itself as fit for work; the names of its readiness checks. */
export const NODE_CHECKS = ["etcd", "peers", "membership", "standing"] as const;

/**
 * What this node sees of each trustee. The label `node` is a trustee's node id: a closed set, at most
 * `LIMITS.trusteesMax` at a time. All nodes see the same votes, so take the maximum over nodes, not the sum.
 */
export interface TrusteeMetrics {
  readonly votes: Counter<"node">;
  readonly lateVotes: Counter<"node">;
  readonly missedVotes: Counter<"node">;
  readonly connected: Gauge<"node">;
  readonly roundTrip: Gauge<"node">;
  readonly clockOffset: Gauge<"node">;
  readonly threshold: Gauge;
  readonly trustees: Gauge;
  readonly reachable: Gauge;
  readonly check: Gauge<"check">;
}

/** @see spec §13.1 */
export function trusteeMetrics(factory: MetricsFactory): TrusteeMetrics {
  const labels = ["node"] as const;
  return {
    votes: factory.counter({
      name: "trustee_votes_total",
      help: "Recorded votes of each trustee, as this node saw them in etcd's change stream.",
      labels,
    }),
    lateVotes: factory.counter({
      name: "trustee_late_votes_total",
      help: "Of those, votes that were recorded after their transaction was claimed or aborted.",
      labels,
    }),
    missedVotes: factory.counter({
      name: "trustee_missed_votes_total",
      help: "Transactions whose deadline passed without a vote of the trustee, where that was held against it.",
      labels,
    }),
    connected: factory.gauge({
      name: "trustee_connected",
      help: "1 while this node has an open connection to the trustee; there is no series for the node itself.",
      labels,
    }),
    roundTrip: factory.gauge({
      name: "trustee_round_trip_seconds",
      help: "Last ping to the trustee and back; absent until one was measured.",
      labels,
    }),
    clockOffset: factory.gauge({
      name: "trustee_clock_offset_seconds",
      help: "This node's clock minus the time in the trustee's last vote, network and batching included: negative when the other clock is ahead.",
      labels,
    }),
    threshold: factory.gauge({
      name: "quorum_threshold",
      help: "Votes that a value needs, of the trustee set in force.",
    }),
    trustees: factory.gauge({
      name: "quorum_trustees",
      help: "Trustees in the set in force.",
    }),
    reachable: factory.gauge({
      name: "quorum_trustees_reachable",
      help: "Trustees that are not banned and present in etcd, this node included.",
    }),
    check: factory.gauge({
      name: "node_check",
      help: "1 while this node passes the check of its readiness, by check.",
      labels: ["check"],
      initial: NODE_CHECKS.map((check) => ({ check })),
    }),
  };
}

const DECIDED: ReadonlySet<TxStatus | null> = new Set([
  "SUBMITTED",
  "CONFIRMED",
  "ABORTED_BYZANTINE",
]);
const MS_PER_SECOND = 1_000;

/** Keeps the metrics of the trustees up to date. Synchronous and without effects of its own. */
export class TrusteeBoard {
  readonly #metrics: TrusteeMetrics;
  readonly #known = new Set<NodeId>();
  readonly #offsetsMs = new Map<NodeId, number>();

  constructor(factory: MetricsFactory) {
    this.#metrics = trusteeMetrics(factory);
  }

  /** Counts what a change set brings. Call it before the view takes the set: lateness goes by what was there. */
  note({ changes }: ChangeSet, view: Pick<TallyView, "status" | "votes">): void {
    for (const change of changes)
      if (change.kind === "vote") {
        const { nodeId } = change.vote.vote;
        // After a reconnection the stream may bring again what is in view.
        if (view.votes(change.txId).has(nodeId) || !this.#isKnown(nodeId)) continue;
        this.#metrics.votes.inc({ node: nodeId });
        if (DECIDED.has(view.status(change.txId))) this.#metrics.lateVotes.inc({ node: nodeId });
      } else if (change.kind === "violation") {
        const { nodeId, type } = change.violation;
        if (type === "SILENT_FAILURE" && nodeId !== null && this.#isKnown(nodeId))
          this.#metrics.missedVotes.inc({ node: nodeId });
      }
  }

  /** A vote came straight from its trustee. Both times in ms since the Unix epoch. */
  heard(nodeId: NodeId, issuedAtMs: number, nowMs: number): void {
    if (!this.#isKnown(nodeId)) return;
    this.#offsetsMs.set(nodeId, nowMs - issuedAtMs);
    this.#metrics.clockOffset.set({ node: nodeId }, (nowMs - issuedAtMs) / MS_PER_SECOND);
  }

  /** This clock minus the time in the trustee's last vote, in ms; null until one was heard. */
  clockOffsetMs(nodeId: NodeId): number | null {
    return this.#offsetsMs.get(nodeId) ?? null;
  }

  /** Who there is and who can be reached at present. */
  refresh(
    set: TrusteeSet,
    view: Pick<TallyView, "bans" | "presence">,
    status: GossipStatus & { readonly self: GossipStatus["mesh"][number] },
    checks: readonly { readonly name: string; readonly ok: boolean }[],
  ): void {
    const metrics = this.#metrics;
    const open = new Map(status.connections.map((c) => [c.peerId, c]));
    let reachable = 0;
    for (const { nodeId, peerId } of set.trustees) {
      this.#welcome(nodeId);
      if (view.presence.has(peerId) && !view.bans.has(peerId)) reachable += 1;
      if (peerId === status.self) continue;
      const connection = open.get(peerId);
      metrics.connected.set({ node: nodeId }, connection === undefined ? 0 : 1);
      const roundTripMs = connection?.roundTripMs ?? null;
      if (roundTripMs !== null)
        metrics.roundTrip.set({ node: nodeId }, roundTripMs / MS_PER_SECOND);
    }
    metrics.threshold.set({}, set.threshold);
    metrics.trustees.set({}, set.trustees.length);
    metrics.reachable.set({}, reachable);
    for (const { name, ok } of checks) metrics.check.set({ check: name }, ok ? 1 : 0);
  }

  #isKnown(nodeId: NodeId): boolean {
    return this.#known.has(nodeId);
  }

  /** From the first moment at 0, so that the first vote is an increase. */
  #welcome(nodeId: NodeId): void {
    // Sets come and go over the years of a process; labels stay.
    if (this.#known.has(nodeId) || this.#known.size >= LIMITS.trusteesMax * 2) return;
    this.#known.add(nodeId);
    const { votes, lateVotes, missedVotes } = this.#metrics;
    for (const counter of [votes, lateVotes, missedVotes]) counter.inc({ node: nodeId }, 0);
  }
}
