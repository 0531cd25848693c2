import {
  assert,
  bytesToHex,
  envelopeSigningBytes,
  hash,
  LIMITS,
  type PeerId,
  peerIdBytesOf,
} from "@quorate/core";
import type {
  AbortOptions,
  Clock,
  Gossip,
  GossipEnvelope,
  GossipMessage,
  GossipRefusalListener,
  GossipRefusalReason,
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
  /** Whether two peers have a link at all; each pair does when absent. Must be symmetric. */
  readonly linked?: (one: PeerId, other: PeerId) => boolean;
  /**
   * Whether peers pass on what their validator accepts, each message once, and hold back
   * what comes again, as a mesh does. When false, messages go only straight to the
   * author's own neighbours.
   */
  readonly forwards?: boolean;
  /** Called with each verdict, before the message is passed on. */
  readonly onVerdict?: (delivery: GossipDelivery, message: GossipMessage) => void;
}

export interface MemoryGossipOptions {
  /** Runs what comes in from the network inside the peer's process: now, later, or never. */
  readonly enter?: (work: () => void) => void;
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
 * messages go straight from author to receivers, unless the options say otherwise or
 * a test lets a peer `forward`. Deterministic under a simulated clock.
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

  get forwards(): boolean {
    return this.#options.forwards ?? false;
  }

  nowMs(): number {
    return this.#clock.nowMs();
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
    const linked = this.#options.linked ?? ((): boolean => true);
    if (this.#peers.get(of.localPeerId) !== of) return [];
    return [...this.#peers.values()].filter(
      (p) =>
        p !== of &&
        linked(of.localPeerId, p.localPeerId) &&
        !p.banned.has(of.localPeerId) &&
        !of.banned.has(p.localPeerId),
    );
  }

  onChange(callback: () => void): () => void {
    this.#changed.add(callback);
    return () => void this.#changed.delete(callback);
  }

  noteChange(): void {
    for (const callback of this.#changed) callback();
  }

  /**
   * A message in an author's name, with a signature that verifies.
   * @param sequenceNumber a new one of its own when absent.
   */
  seal(
    author: TestNode,
    data: Uint8Array,
    sequenceNumber: Uint8Array = this.#nextSequenceNumber(),
  ): GossipEnvelope {
    const unsigned = {
      from: peerIdBytesOf(author.signer.publicKey),
      // A copy, because the publisher may use its bytes for something else at once.
      data: Uint8Array.from(data),
      sequenceNumber,
      topic: this.topic,
    };
    return { ...unsigned, signature: author.signer.sign(envelopeSigningBytes(unsigned)) };
  }

  #nextSequenceNumber(): Uint8Array {
    const bytes = new Uint8Array(8);
    new DataView(bytes.buffer).setBigUint64(0, ++this.#sequence);
    return bytes;
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
        to.enter(() => this.#deliver(message, to, link));
      });
  }

  #deliver(message: GossipMessage, to: MemoryGossip, link: Omit<GossipDelivery, "verdict">): void {
    if (!to.takes(message) || !to.isNew(message)) return;
    void to.receive(message).then((verdict) => {
      const delivery = { ...link, verdict };
      this.deliveries.push(delivery);
      this.#options.onVerdict?.(delivery, message);
      if (this.forwards && verdict === "ACCEPT" && to.isRunning) to.forward(message);
    });
  }
}

/** One peer's gossip over a `MemoryNetwork`. */
export class MemoryGossip implements Gossip {
  readonly localPeerId: PeerId;
  readonly banned: Set<PeerId> = new Set();
  readonly #node: TestNode;
  readonly #network: MemoryNetwork;
  readonly #seen = new Set<string>();
  readonly enter: (work: () => void) => void;
  #startedAtMs = 0;
  #validator: GossipValidator = () => "IGNORE";
  #authors: ReadonlySet<PeerId> | null = null;
  #refusedListener: GossipRefusalListener = () => {};
  #state: "new" | "started" | "stopped" = "new";

  constructor(node: TestNode, network: MemoryNetwork, options: MemoryGossipOptions = {}) {
    this.enter = options.enter ?? ((work) => work());
    this.localPeerId = node.peerId;
    this.#node = node;
    this.#network = network;
  }

  async start({ signal }: AbortOptions = {}): Promise<void> {
    signal?.throwIfAborted();
    assert(this.#state !== "stopped", "a stopped gossip is not started again");
    if (this.#state === "started") return;
    this.#state = "started";
    this.#startedAtMs = this.#network.nowMs();
    this.#network.join(this);
  }

  async stop(): Promise<void> {
    this.crash();
  }

  /** Ends it at once, as the end of its process does. */
  crash(): void {
    this.#state = "stopped";
    this.#network.leave(this);
  }

  setValidator(validator: GossipValidator): void {
    this.#validator = validator;
  }

  setAuthors(authors: readonly PeerId[]): void {
    this.#authors = new Set(authors);
  }

  onRefused(listener: GossipRefusalListener): void {
    this.#refusedListener = listener;
  }

  async publish(
    data: Uint8Array,
    { signal }: AbortOptions = {},
  ): Promise<{ readonly recipients: number }> {
    signal?.throwIfAborted();
    assert(this.isRunning, "gossip must be started to publish");
    assert(data.length > 0, "a gossip frame has at least a byte");
    assert(
      data.length <= LIMITS.voteFrameBytesMax,
      `a gossip frame has at most ${LIMITS.voteFrameBytesMax} bytes`,
    );
    const envelope = this.#network.seal(this.#node, data);
    return this.forward({ author: this.localPeerId, envelope });
  }

  /** Publishes to some neighbours only, and passes nothing on to the others: what no honest peer does. */
  publishTo(peers: ReadonlySet<PeerId>, data: Uint8Array): void {
    const envelope = this.#network.seal(this.#node, data);
    const author = this.localPeerId;
    const message = { topic: envelope.topic, data, author, forwarder: author, envelope };
    for (const peer of this.#network.neighbours(this))
      if (peers.has(peer.localPeerId)) this.#network.carry(message, peer);
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

  get isRunning(): boolean {
    return this.#state === "started";
  }

  /** Whether the author may be heard; tells of the message when not. */
  takes({ author, forwarder, data }: GossipMessage): boolean {
    const reason = this.#refusalOf(author);
    if (reason === null) return true;
    this.#refusedListener({ reason, claimedAuthor: author, forwarder, data });
    return false;
  }

  #refusalOf(author: PeerId): GossipRefusalReason | null {
    // A ban shuts out what the peer wrote, too, whoever delivers it.
    if (this.banned.has(author)) return "author_banned";
    if (this.#authors !== null && !this.#authors.has(author)) return "unknown_author";
    return null;
  }

  /** Whether a message is to be judged; where peers forward, each is only once. */
  isNew({ envelope }: GossipMessage): boolean {
    if (!this.#network.forwards) return true;
    // The network's own message id, which leaves the author out. [spec §4.2]
    const id = bytesToHex(hash(envelope.data, envelope.sequenceNumber));
    const before = this.#seen.size;
    return this.#seen.add(id).size > before;
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
    const neighbours = this.#network.neighbours(this);
    const peers = neighbours.map((peer) => peer.localPeerId);
    return {
      listening: this.isRunning ? [`/memory/${this.localPeerId}`] : [],
      connections: neighbours.map((peer) => ({
        peerId: peer.localPeerId,
        address: `/memory/${peer.localPeerId}`,
        direction: peer.localPeerId < this.localPeerId ? "inbound" : "outbound",
        openedAtMs: Math.max(this.#startedAtMs, peer.#startedAtMs),
      })),
      mesh: peers,
      subscribers: peers,
    };
  }

  /** Rejects when the gossip is stopped, before or meanwhile. @see Gossip.waitForPeers */
  async waitForPeers(count: number, { signal }: AbortOptions = {}): Promise<void> {
    signal?.throwIfAborted();
    const isThere = (): boolean => {
      assert(this.#state !== "stopped", "gossip was stopped");
      return this.isRunning && this.#network.neighbours(this).length >= count;
    };
    if (isThere()) return;
    await new Promise<void>((resolve, reject) => {
      const end = (settle: () => void): void => {
        forget();
        signal?.removeEventListener("abort", onAbort);
        settle();
      };
      const forget = this.#network.onChange(() => {
        try {
          if (isThere()) end(resolve);
        } catch (error) {
          end(() => reject(error));
        }
      });
      const onAbort = (): void => end(() => reject(signal?.reason));
      signal?.addEventListener("abort", onAbort);
    });
  }
}
