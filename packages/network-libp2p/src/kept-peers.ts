import { assert, LIMITS, type PeerId } from "@quorate/core";
import type { Logger } from "@quorate/ports";
import { toLibp2pPeerId } from "./identity.ts";
import type { Node } from "./libp2p-node.ts";

/** libp2p's connection manager counts a tag that begins so as a peer to keep. */
const TAG = "keep-alive-trustee";
const TAG_VALUE = 100;

/** The peers to stay connected with, whatever happens, and their tags in libp2p's peer store. */
export class KeptPeers {
  readonly #self: PeerId;
  readonly #logger: Logger;
  readonly #node: () => Node | null;
  #peers: ReadonlySet<PeerId> = new Set();

  constructor(self: PeerId, deps: { readonly logger: Logger; readonly node: () => Node | null }) {
    this.#self = self;
    this.#logger = deps.logger;
    this.#node = deps.node;
  }

  get peers(): ReadonlySet<PeerId> {
    return this.#peers;
  }

  /** Replaces the ones named before. */
  replace(peers: readonly PeerId[]): void {
    const before = this.#peers;
    this.#peers = new Set(peers.filter((peer) => peer !== this.#self));
    assert(this.#peers.size <= LIMITS.trusteesMax, "more persistent peers than trustees");
    this.tagAll();
    for (const peer of before) if (!this.#peers.has(peer)) this.#tag(peer, false);
  }

  tagAll(): void {
    for (const peer of this.#peers) this.#tag(peer, true);
  }

  /** libp2p takes the tag away when its own few retries have failed. */
  onConnect(peer: PeerId): void {
    if (this.#peers.has(peer)) this.#tag(peer, true);
  }

  #tag(peer: PeerId, keep: boolean): void {
    const tags = { [TAG]: keep ? { value: TAG_VALUE } : undefined };
    this.#node()
      ?.peerStore.merge(toLibp2pPeerId(peer), { tags })
      .catch((error: unknown) => this.#logger.warn("peer not tagged", { error }));
  }
}
