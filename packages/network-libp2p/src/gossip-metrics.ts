import type { GossipVerdict, MetricsFactory } from "@quorate/ports";

/** What the adapter counts. */
export interface GossipMetrics {
  received(verdict: GossipVerdict): void;
  published(): void;
  duplicate(): void;
}

/** Nothing counted: no factory was given. */
export const NO_GOSSIP_METRICS: GossipMetrics = {
  received: () => {},
  published: () => {},
  duplicate: () => {},
};

/**
 * Makes the adapter's metrics; call once per factory.
 * @see spec §13.1
 */
export function createGossipMetrics(
  factory: MetricsFactory,
  gauges: { readonly connections: () => number; readonly meshPeers: () => number },
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
  return {
    received: (verdict) => messages.inc({ direction: "in", verdict }),
    published: () => messages.inc({ direction: "out", verdict: "ACCEPT" }),
    duplicate: () => duplicates.inc({}),
  };
}
