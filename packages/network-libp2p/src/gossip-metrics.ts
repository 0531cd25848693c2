import type { GossipRefusalReason, GossipVerdict, MetricsFactory } from "@quorate/ports";

/** What the adapter counts. */
export interface GossipMetrics {
  received(verdict: GossipVerdict): void;
  /** A message was dropped before the validator. */
  refused(reason: GossipRefusalReason): void;
  published(): void;
  duplicate(): void;
}

const REFUSAL_REASONS: readonly GossipRefusalReason[] = [
  "unknown_author",
  "author_banned",
  "malformed_envelope",
  "oversized",
  "rate_limited",
  "no_room",
];

/** Nothing counted: no factory was given. */
export const NO_GOSSIP_METRICS: GossipMetrics = {
  received: () => {},
  refused: () => {},
  published: () => {},
  duplicate: () => {},
};

/**
 * Makes the adapter's metrics; call once per factory.
 * @see spec §13.1
 */
export function createGossipMetrics(
  factory: MetricsFactory,
  gauges: {
    readonly connections: () => number;
    readonly meshPeers: () => number;
    readonly strangers: () => number;
    readonly muted: () => number;
  },
): GossipMetrics {
  const messages = factory.counter({
    name: "gossipsub_messages_total",
    help: "Gossip messages: received ones by verdict (also those refused before the validator), published ones as ACCEPT.",
    labels: ["direction", "verdict"],
    initial: [
      { direction: "in", verdict: "ACCEPT" },
      { direction: "in", verdict: "IGNORE" },
      { direction: "in", verdict: "REJECT" },
      { direction: "out", verdict: "ACCEPT" },
    ],
  });
  const refused = factory.counter({
    name: "gossip_refused_total",
    help: "Gossip messages dropped before their signature was checked, by reason.",
    labels: ["reason"],
    initial: REFUSAL_REASONS.map((reason) => ({ reason })),
  });
  const duplicates = factory.counter({
    name: "gossipsub_duplicates_dropped_total",
    help: "Copies of gossip messages that had already arrived by another way.",
    initial: [{}],
  });
  factory.gauge({
    name: "gossip_connections",
    help: "Open libp2p connections.",
    collect: gauges.connections,
  });
  factory.gauge({
    name: "gossip_mesh_peers",
    help: "Peers in the mesh of the vote topic.",
    collect: gauges.meshPeers,
  });
  factory.gauge({
    name: "gossip_stranger_connections",
    help: "Open connections with peers that are neither trustees nor named by the operator.",
    collect: gauges.strangers,
  });
  factory.gauge({
    name: "gossip_muted_peers",
    help: "Peers that flooded this node and are kept out of it for a while.",
    collect: gauges.muted,
  });
  return {
    received: (verdict) => messages.inc({ direction: "in", verdict }),
    refused: (reason) => refused.inc({ reason }),
    published: () => messages.inc({ direction: "out", verdict: "ACCEPT" }),
    duplicate: () => duplicates.inc({}),
  };
}
