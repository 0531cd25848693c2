import { multiaddr } from "@multiformats/multiaddr";
import { type ClusterId, LIMITS, type PeerId, parsePeerId } from "@quorate/core";
import { GossipError } from "./errors.ts";
import type { RateLimit } from "./token-buckets.ts";

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
  /** Inbound connections in handshake at once from hosts where no known peer ever was; one host has half. */
  readonly inboundPendingMax: number;
  /** New inbound connections per second from all such hosts together, with twice as many at once. */
  readonly inboundStrangersPerSecondMax: number;
  /** Connections with strangers (peers that are neither authors nor named by the operator) at once. */
  readonly strangersMax: number;
  /** Connections with one peer at once. */
  readonly connectionsPerPeerMax: number;
  /** Messages that one peer may deliver of one author. */
  readonly perAuthor: RateLimit;
  /** Messages that a known peer may deliver in all. A copy of one already seen counts a quarter. */
  readonly perPeer: RateLimit;
  /** Messages that a stranger may deliver in all. */
  readonly perStranger: RateLimit;
  /** Accepted messages of one author that are forwarded. Must be well below `perAuthor`. */
  readonly forwarded: RateLimit;
  /** RPCs of one peer, messages or none in them, and their bytes. */
  readonly rpcs: RateLimit;
  /** Offences per second, and at once, that are borne of a peer. @see Conduct */
  readonly blamePerSecond: number;
  readonly blameBurst: number;
  /** The same for what an honest peer can be led to do. */
  readonly excusePerSecond: number;
  readonly excuseBurst: number;
  /** How long a flooding peer is kept out, in ms; doubles each time up to `muteMaxMs`. */
  readonly muteMs: number;
  readonly muteMaxMs: number;
  /** Quiet time after which a mute is forgotten, in ms. */
  readonly muteForgivenMs: number;
  /** Peers that are not known of which anything is remembered: addresses, scores, mutes, buckets. */
  readonly peersRememberedMax: number;
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

const MIB = 1_024 * 1_024;

export const GOSSIP_LIMITS: GossipLimits = {
  // One for each of 100 trustees, as many again for observers and double connections.
  connectionsMax: 2 * LIMITS.trusteesMax,
  discoveredPeersMax: LIMITS.trusteesMax,
  // libp2p's default of 5 refuses most of ten nodes that start together on one machine.
  inboundPerSecondMax: 100,
  inboundPendingMax: 100,
  // About 3 ms of CPU each: a third of a core at worst.
  inboundStrangersPerSecondMax: 100,
  // Newcomers and observers; with 100 trustees, twice connected some of them, room is left.
  strangersMax: 32,
  // Both ends dial at once, and one more by a relay. With 100 trustees, 33 of whom take
  // all they can, and all strangers there are 198 connections.
  connectionsPerPeerMax: 3,
  // An honest author publishes at most a frame every 30 ms; without signature batching one a
  // vote. With their signatures and forwarding 100 cost a twentieth of a core. The burst is
  // what an honest author's connection that stalled for 20 s delivers at once. Bytes: 33
  // frames of the largest size are 2 MiB.
  perAuthor: {
    messagesPerSecond: 100,
    messagesBurst: 800,
    bytesPerSecond: 4 * MIB,
    bytesBurst: 8 * MIB,
  },
  // More than 30 trustees at their utmost, all through one peer; a quarter of a core.
  perPeer: {
    messagesPerSecond: 1_000,
    messagesBurst: 4_000,
    bytesPerSecond: 16 * MIB,
    bytesBurst: 32 * MIB,
  },
  // Nobody depends on a stranger's deliveries, and there may be 32 of them.
  perStranger: {
    messagesPerSecond: 50,
    messagesBurst: 100,
    bytesPerSecond: MIB,
    bytesBurst: 2 * MIB,
  },
  // An author reaches everybody itself (flood publish); what exceeds this still does.
  forwarded: {
    messagesPerSecond: 50,
    messagesBurst: 150,
    bytesPerSecond: 2 * MIB,
    bytesBurst: 4 * MIB,
  },
  // One for each message and one IDONTWANT for it, at the most messages that a core can
  // handle (2,500 a second). Bytes: 1 Gbit/s would be 119.
  rpcs: {
    messagesPerSecond: 5_000,
    messagesBurst: 20_000,
    bytesPerSecond: 32 * MIB,
    bytesBurst: 64 * MIB,
  },
  // An honest peer commits none; a flood of 3,300 a second is over within 0.2 s.
  blamePerSecond: 50,
  blameBurst: 400,
  // What five misbehaving authors can make an honest peer forward, which is none of it
  // refused as long as all agree who they are. A minute of one author's at once.
  excusePerSecond: 1_000,
  excuseBurst: 12_000,
  muteMs: 10_000,
  muteMaxMs: 600_000,
  muteForgivenMs: 1_800_000,
  // Ten times the trustees. Up to 8 KiB of addresses each: 8 MiB.
  peersRememberedMax: 10 * LIMITS.trusteesMax,
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
