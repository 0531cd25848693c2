import type { PeerId } from "@quorate/core";
import type {
  Gossip,
  GossipMessage,
  GossipRefusalListener,
  GossipStatus,
  GossipValidator,
  GossipVerdict,
} from "@quorate/ports";

/** A gossip that carries nothing by itself: the fuzzer hands the node its messages. */
export class FuzzGossip implements Gossip {
  readonly localPeerId: PeerId;
  readonly banned = new Set<PeerId>();
  authors: ReadonlySet<PeerId> = new Set();
  refused: GossipRefusalListener = () => {};
  #validator: GossipValidator = () => "IGNORE";

  constructor(localPeerId: PeerId) {
    this.localPeerId = localPeerId;
  }

  /** What the node says to a message. */
  judge(message: GossipMessage): GossipVerdict | Promise<GossipVerdict> {
    return this.#validator(message);
  }

  async start(): Promise<void> {}
  async stop(): Promise<void> {}
  setValidator(validator: GossipValidator): void {
    this.#validator = validator;
  }
  setAuthors(authors: readonly PeerId[]): void {
    this.authors = new Set(authors);
  }
  onRefused(listener: GossipRefusalListener): void {
    this.refused = listener;
  }
  async publish(): Promise<{ readonly recipients: number }> {
    return { recipients: 0 };
  }
  ban(peer: PeerId): void {
    this.banned.add(peer);
  }
  unban(peer: PeerId): void {
    this.banned.delete(peer);
  }
  status(): GossipStatus {
    return { listening: [], connections: [], mesh: [], subscribers: [] };
  }
  async waitForPeers(): Promise<void> {}
}
