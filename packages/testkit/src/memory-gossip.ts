import { assert, envelopeSigningBytes, type PeerId, peerIdBytesOf } from "@quorate/core";
import type {
  AbortOptions,
  Clock,
  Gossip,
  GossipEnvelope,
  GossipMessage,
  GossipStatus,
  GossipValidator,
  GossipVerdict,
} from "@quorate/ports";
import type { TestNode } from "./builders.ts";

/** What happens to one message on one link. */
export interface GossipFault {
  /** It never arrives. */
  readonly drop?: boolean;
  /** Latency of the link, in ms; differing ones reorder. */
  readonly delayMs?: number;
  /** Delivered so many more times. The real network's duplicate cache would hold most of these back. */
  readonly repeat?: number;
}

export interface MemoryNetworkOptions {
  /** Asked for each message and link; null for no fault. */
  readonly fault?: (link: {
    readonly author: PeerId;
    readonly from: PeerId;
    readonly to: PeerId;
  }) => GossipFault | null;
  readonly topic?: string;
}

/** One verdict that a validator gave, in the order in which they were given. */
export interface GossipDelivery {
  readonly author: PeerId;
  readonly from: PeerId;
  readonly to: PeerId;
  readonly verdict: GossipVerdict;
}

/**
 * A gossip network in memory: every started peer is linked with every other, and
 * messages go straight from author to receivers. What a mesh does beyond that,
 * forwarding, is left out, unless a test lets a peer `forward`. Deterministic under
 * a simulated clock.
 */
export class MemoryNetwork {
  readonly #clock: Clock;
  readonly #options: MemoryNetworkOptions;
  readonly #peers = new Map<PeerId, MemoryGossip>();
  readonly #changed = new Set<() => void>();
  readonly deliveries: GossipDelivery[] = [];
  #sequence = 0n;

  constructor(dependencies: { readonly clock: Clock }, options: MemoryNetworkOptions = {}) {
    this.#clock = dependencies.clock;
    this.#options = options;
  }

  get topic(): string {
    return this.#options.topic ?? "quorate/test/votes";
  }

  join(peer: MemoryGossip): void {
    this.#peers.set(peer.localPeerId, peer);
    this.noteChange();
  }

  leave(peer: MemoryGossip): void {
    if (this.#peers.get(peer.localPeerId) === peer) this.#peers.delete(peer.localPeerId);
    this.noteChange();
  }

  /** Peers with which this one has a connection: both are up, and neither has banned the other. */
  neighbours(of: MemoryGossip): readonly MemoryGossip[] {
    return [...this.#peers.values()].filter(
      (p) => p !== of && !p.banned.has(of.localPeerId) && !of.banned.has(p.localPeerId),
    );
  }

  onChange(callback: () => void): () => void {
    this.#changed.add(callback);
    return () => void this.#changed.delete(callback);
  }

  noteChange(): void {
    for (const callback of this.#changed) callback();
  }

  /** A message in an author's name, with a sequence number of its own and a signature that verifies. */
  seal(author: TestNode, data: Uint8Array): GossipEnvelope {
    const sequenceNumber = new Uint8Array(8);
    new DataView(sequenceNumber.buffer).setBigUint64(0, ++this.#sequence);
    const unsigned = {
      from: peerIdBytesOf(author.signer.publicKey),
      data,
      sequenceNumber,
      topic: this.topic,
    };
    return { ...unsigned, signature: author.signer.sign(envelopeSigningBytes(unsigned)) };
  }

  /** Delivers over one link, as its fault says. */
  carry(message: GossipMessage, to: MemoryGossip): void {
    const link = { author: message.author, from: message.forwarder, to: to.localPeerId };
    const { drop = false, delayMs = 0, repeat = 0 } = this.#options.fault?.(link) ?? {};
    if (drop) return;
    for (let i = 0; i <= repeat; i++)
      this.#clock.schedule(delayMs, () => {
        // The connection may have gone while the message was on its way.
        const sender = this.#peers.get(message.forwarder);
        if (sender === undefined || !this.neighbours(sender).includes(to)) return;
        void to.receive(message).then((verdict) => this.deliveries.push({ ...link, verdict }));
      });
  }
}

/** One peer's gossip over a `MemoryNetwork`. */
export class MemoryGossip implements Gossip {
  readonly localPeerId: PeerId;
  readonly banned: Set<PeerId> = new Set();
  readonly #node: TestNode;
  readonly #network: MemoryNetwork;
  #validator: GossipValidator = () => "IGNORE";
  #state: "new" | "started" | "stopped" = "new";

  constructor(node: TestNode, network: MemoryNetwork) {
    this.localPeerId = node.peerId;
    this.#node = node;
    this.#network = network;
  }

  async start({ signal }: AbortOptions = {}): Promise<void> {
    signal?.throwIfAborted();
    assert(this.#state !== "stopped", "a stopped gossip is not started again");
    if (this.#state === "started") return;
    this.#state = "started";
    this.#network.join(this);
  }

  async stop(): Promise<void> {
    this.#state = "stopped";
    this.#network.leave(this);
  }

  setValidator(validator: GossipValidator): void {
    this.#validator = validator;
  }

  async publish(
    data: Uint8Array,
    { signal }: AbortOptions = {},
  ): Promise<{ readonly recipients: number }> {
    signal?.throwIfAborted();
    assert(this.#state === "started", "gossip must be started to publish");
    const envelope = this.#network.seal(this.#node, data);
    return this.forward({ author: this.localPeerId, envelope });
  }

  /** Passes somebody's message on unchanged, as a mesh does. */
  forward({ author, envelope }: { readonly author: PeerId; readonly envelope: GossipEnvelope }): {
    readonly recipients: number;
  } {
    const { topic, data } = envelope;
    const message = { topic, data, author, forwarder: this.localPeerId, envelope };
    const to = this.#network.neighbours(this).filter((peer) => peer.localPeerId !== author);
    for (const peer of to) this.#network.carry(message, peer);
    return { recipients: to.length };
  }

  /** What the network does at a delivery; a validator that throws ignores the message. */
  async receive(message: GossipMessage): Promise<GossipVerdict> {
    try {
      return await this.#validator(message);
    } catch {
      return "IGNORE";
    }
  }

  ban(peer: PeerId): void {
    this.banned.add(peer);
    this.#network.noteChange();
  }

  unban(peer: PeerId): void {
    this.banned.delete(peer);
    this.#network.noteChange();
  }

  status(): GossipStatus {
    const peers = this.#peers();
    return {
      listening: this.#state === "started" ? [`/memory/${this.localPeerId}`] : [],
      connections: peers.map((peerId) => ({
        peerId,
        address: `/memory/${peerId}`,
        direction: peerId < this.localPeerId ? "inbound" : "outbound",
        openedAtMs: 0,
      })),
      mesh: peers,
      subscribers: peers,
    };
  }

  async waitForPeers(count: number, { signal }: AbortOptions = {}): Promise<void> {
    signal?.throwIfAborted();
    if (this.#peers().length >= count) return;
    await new Promise<void>((resolve, reject) => {
      const end = (settle: () => void): void => {
        forget();
        signal?.removeEventListener("abort", onAbort);
        settle();
      };
      const forget = this.#network.onChange(() => {
        if (this.#peers().length >= count) end(resolve);
      });
      const onAbort = (): void => end(() => reject(signal?.reason));
      signal?.addEventListener("abort", onAbort);
    });
  }

  #peers(): readonly PeerId[] {
    if (this.#state !== "started") return [];
    return this.#network.neighbours(this).map((peer) => peer.localPeerId);
  }
}
