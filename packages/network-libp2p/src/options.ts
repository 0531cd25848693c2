import { multiaddr } from "@multiformats/multiaddr";
import { type ClusterId, LIMITS, type PeerId, parsePeerId } from "@quorate/core";
import { GossipError } from "./errors.ts";

/** What an operator may set; everything else is fixed with its reason where it is used. */
export interface GossipOptions {
  readonly clusterId: ClusterId;
  /** 32 bytes: the Ed25519 seed of this node's network identity. */
  readonly privateKeySeed: Uint8Array;
  /** Multiaddrs to listen on, such as `/ip4/0.0.0.0/tcp/4001`. */
  readonly listen: readonly string[];
  /** Multiaddrs told to others instead of the ones listened on (behind NAT or a container port). */
  readonly announce?: readonly string[];
  /** Multiaddrs of peers to join by, each ending in `/p2p/<peer id>`. This node's own is skipped. */
  readonly bootstrap: readonly string[];
  /** Bans in force before the port opens. */
  readonly initialBans?: readonly PeerId[];
  readonly limits?: Partial<GossipLimits>;
}

export interface GossipLimits {
  /** Connections held at once. Beyond it those of the least value are closed. */
  readonly connectionsMax: number;
  /** Peers up to which discovered peers are dialled. Below `connectionsMax`, to leave room for inbound. */
  readonly discoveredPeersMax: number;
  /** New inbound connections per second from one IP address: many nodes may share a host or a NAT. */
  readonly inboundPerSecondMax: number;
  /** Inbound connections in handshake at once. */
  readonly inboundPendingMax: number;
  /** Messages in the validator at once; a forwarder may hold a quarter of them. */
  readonly validatingMax: number;
  /** A validator's time, in ms. Must stay below the 5 s that GossipSub keeps an unjudged message. */
  readonly validationTimeoutMs: number;
  /** First pause before a lost persistent or bootstrap peer is dialled again, in ms; doubles each time. */
  readonly redialFirstMs: number;
  /** Longest such pause, in ms. */
  readonly redialMaxMs: number;
  /** Pause between DHT walks while peers are still being found, in ms; doubles up to `walkMaxMs`. */
  readonly walkFirstMs: number;
  /** Pause between DHT walks in a settled network, in ms. */
  readonly walkMaxMs: number;
  /** How long `stop` waits for an orderly close, in ms. Callers are promised 5 s. */
  readonly stopTimeoutMs: number;
}

export const GOSSIP_LIMITS: GossipLimits = {
  // One for each of 100 trustees, as many again for observers and double connections.
  connectionsMax: 2 * LIMITS.trusteesMax,
  discoveredPeersMax: LIMITS.trusteesMax,
  // libp2p's default of 5 refuses most of ten nodes that start together on one machine.
  inboundPerSecondMax: 100,
  inboundPendingMax: 100,
  validatingMax: 4_096,
  validationTimeoutMs: 4_000,
  redialFirstMs: 250,
  redialMaxMs: 10_000,
  walkFirstMs: 250,
  walkMaxMs: 30_000,
  stopTimeoutMs: 4_000,
};

/** A peer to join by. */
export interface BootstrapPeer {
  readonly peerId: PeerId;
  readonly address: string;
}

/** The topic of a cluster's votes; the only one any node speaks of. */
export function voteTopic(clusterId: ClusterId): string {
  return `quorate/${clusterId}/votes/1`;
}

/** The cluster's own DHT protocol, so that it never joins another cluster's DHT or the public one. */
export function dhtProtocol(clusterId: ClusterId): string {
  return `/quorate/${clusterId}/kad/1.0.0`;
}

/** @throws GossipError CONFIG_INVALID for an address that is not a multiaddr. */
export function checkAddresses(what: string, addresses: readonly string[]): void {
  for (const address of addresses) {
    try {
      multiaddr(address);
    } catch (cause) {
      const message = `${what} address ${JSON.stringify(address)} is not a multiaddr`;
      throw new GossipError("CONFIG_INVALID", message, { cause });
    }
  }
}

/**
 * Reads the bootstrap list. An address without a peer id is refused: whoever answers
 * there could cut the node off from the rest of the cluster.
 * @throws GossipError CONFIG_INVALID
 * @see spec §15.1 Eclipse Attack
 */
export function parseBootstrap(addresses: readonly string[], self: PeerId): BootstrapPeer[] {
  checkAddresses("bootstrap", addresses);
  const peers = addresses.map((address) => {
    const last = multiaddr(address).getComponents().at(-1);
    const peerId = parsePeerId(last?.name === "p2p" ? last.value : null);
    if (peerId.ok) return { peerId: peerId.value, address };
    const message = `bootstrap address ${JSON.stringify(address)} must end in /p2p/<peer id>`;
    throw new GossipError("CONFIG_INVALID", message);
  });
  return peers.filter((peer) => peer.peerId !== self);
}
