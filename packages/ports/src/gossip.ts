import type { PeerId } from "@quorate/core";
import type { AbortOptions, Lifecycle } from "./lifecycle.ts";

/**
 * ACCEPT: valid, forward it. IGNORE: neither forwarded nor held against anyone
 * (duplicate, stale, unknown author). REJECT: invalid beyond doubt; not forwarded,
 * and the peer that delivered it loses standing in the mesh.
 */
export type GossipVerdict = "ACCEPT" | "IGNORE" | "REJECT";

/**
 * The outer signature of a gossip message, exactly as it was verified. With an
 * invalid inner vote it is the proof of who published it (R2).
 */
export interface GossipEnvelope {
  /** The author's peer id, as multihash bytes. */
  readonly from: Uint8Array;
  readonly data: Uint8Array;
  /** 8 bytes, big-endian. */
  readonly sequenceNumber: Uint8Array;
  readonly topic: string;
  /** Over "libp2p-pubsub:" and the protobuf of the four fields above. */
  readonly signature: Uint8Array;
}

export interface GossipMessage {
  readonly topic: string;
  readonly data: Uint8Array;
  /** Who published it, authenticated by the outer signature. */
  readonly author: PeerId;
  /** Who delivered it; not to blame for its content. */
  readonly forwarder: PeerId;
  readonly envelope: GossipEnvelope;
}

/** Judges a message before it is forwarded. Must be bounded in time; a throw counts as IGNORE and is logged. */
export type GossipValidator = (message: GossipMessage) => GossipVerdict | Promise<GossipVerdict>;

/** Why a message was dropped before the validator saw it; closed, for it is a metric label. */
export type GossipRefusalReason =
  /** Its author is none of the known ones. */
  | "unknown_author"
  | "author_banned"
  /** No envelope that a member of this network can have made: wrong topic, sizes, author's form. */
  | "malformed_envelope"
  | "oversized"
  /** More than this forwarder may pass on of this author, or at all. */
  | "rate_limited"
  /** The validator has all it can hold. */
  | "no_room";

export interface GossipRefusal {
  readonly reason: GossipRefusalReason;
  /** Whom the message names; nothing about it has been verified. Null when unreadable. */
  readonly claimedAuthor: PeerId | null;
  readonly forwarder: PeerId;
  readonly data: Uint8Array;
}

/** Called for each refused message, in the hot path: it must return at once and never throw. */
export type GossipRefusalListener = (refusal: GossipRefusal) => void;

export interface PeerConnection {
  readonly peerId: PeerId;
  readonly address: string;
  readonly direction: "inbound" | "outbound";
  readonly openedAtMs: number;
  /** The last ping and its answer, in ms; null or absent until one was measured. */
  readonly roundTripMs?: number | null;
}

export interface GossipStatus {
  readonly listening: readonly string[];
  readonly connections: readonly PeerConnection[];
  /** Peers in the mesh of the vote topic. */
  readonly mesh: readonly PeerId[];
  /** Peers known to subscribe to the vote topic. */
  readonly subscribers: readonly PeerId[];
}

/** The cluster's gossip network. Validation happens before forwarding. */
export interface Gossip extends Lifecycle {
  readonly localPeerId: PeerId;
  /** Replaces the validator. Until one is set every message is ignored. */
  setValidator(validator: GossipValidator): void;
  /**
   * Names everybody whose messages matter (trustees); replaces the ones named before.
   * Messages by others are dropped before their signature is checked, and a copy under
   * another name never shadows the original. Until it is called every author is known.
   * Peers that are not among them may listen and forward, within a share of the connections.
   */
  setAuthors(authors: readonly PeerId[]): void;
  /** Replaces the listener for what is dropped before the validator. */
  onRefused(listener: GossipRefusalListener): void;
  /**
   * Publishes to the vote topic. Own messages are not delivered back to the validator.
   * @returns to how many peers it was sent; 0 is not an error (nobody is connected yet).
   */
  publish(data: Uint8Array, options?: AbortOptions): Promise<{ readonly recipients: number }>;
  /**
   * Shuts a peer out: connections closed, later ones refused by the gater, gossip
   * blacklist, out of the DHT. In force when the call returns, closing goes on behind it. Idempotent.
   */
  ban(peer: PeerId): void;
  /** Lets a peer in again. Idempotent. */
  unban(peer: PeerId): void;
  status(): GossipStatus;
  /** Waits until at least `count` peers subscribe to the vote topic; rejects when aborted. */
  waitForPeers(count: number, options?: AbortOptions): Promise<void>;
}
