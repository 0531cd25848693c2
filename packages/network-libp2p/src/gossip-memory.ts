import type { BoundedDatastore } from "./bounded-datastore.ts";
import type { Conduct } from "./conduct.ts";
import type { ConnectionShares } from "./connection-shares.ts";
import type { ForwarderLimits } from "./forwarder-limits.ts";
import type { FrontDoor } from "./front-door.ts";
import type { Node } from "./libp2p-node.ts";

/** Entries in everything that grows with the peers met. */
export interface GossipMemory {
  /** Peers whose addresses are remembered: `peersRememberedMax`, and the known ones. */
  readonly peerStore: number;
  /** Peers in the DHT's table: 64 buckets of 20. */
  readonly routingTable: number;
  /** Peers with a score: those connected, and `peersRememberedMax`. */
  readonly scores: number;
  /** Peers not to be grafted for a while: the same. */
  readonly pruned: number;
  /** Topics that others subscribe to: one. */
  readonly topics: number;
  /** Open streams: 128 inbound for a connection. */
  readonly streams: number;
  /** Allowances by forwarder and author: 20,000. */
  readonly buckets: number;
  /** Peers of whom any offence is remembered: `peersRememberedMax`. */
  readonly conduct: number;
  /** Inbound connections in handshake. */
  readonly handshakes: number;
  /** Connections with strangers: `strangersMax`. */
  readonly strangers: number;
}

/** @see GossipMemory */
export function measureMemory(of: {
  readonly node: Node | null;
  readonly peerData: BoundedDatastore;
  readonly forwarders: ForwarderLimits;
  readonly conduct: Conduct;
  readonly door: FrontDoor;
  readonly shares: ConnectionShares;
}): GossipMemory {
  const router = of.node?.services.router;
  const pruned = [...(router?.backoff.values() ?? [])];
  return {
    peerStore: of.peerData.size,
    routingTable: of.node?.services.dht.routingTable.size ?? 0,
    scores: router?.score.peerStats.size ?? 0,
    pruned: pruned.reduce((sum, { size }) => sum + size, 0),
    topics: router?.topics.size ?? 0,
    streams: (of.node?.getConnections() ?? []).flatMap(({ streams }) => streams).length,
    buckets: of.forwarders.size,
    conduct: of.conduct.size,
    handshakes: of.door.pendingCount,
    strangers: of.shares.strangers,
  };
}
