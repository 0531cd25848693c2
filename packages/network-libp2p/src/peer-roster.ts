import type { PeerId } from "@quorate/core";
import type { Conduct } from "./conduct.ts";
import { latin1, peerIdFromCanonicalMultihash, toLibp2pPeerId } from "./identity.ts";

/**
 * Who is who: banned, muted, author, or known otherwise. Every other part asks here, so
 * that a ban is in force everywhere at the same moment.
 */
export class PeerRoster {
  readonly #banned: Set<PeerId>;
  readonly #named: ReadonlySet<PeerId>;
  readonly #conduct: Conduct;
  #authors: ReadonlySet<PeerId> | null = null;
  #authorOfMultihash: ReadonlyMap<string, PeerId> = new Map();
  #persistent: ReadonlySet<PeerId> = new Set();
  #storeKeys: ReadonlySet<string> = new Set();

  /** @param init.named this node itself and the peers that the operator named (bootstrap). */
  constructor(
    init: { readonly banned: readonly PeerId[]; readonly named: readonly PeerId[] },
    deps: { readonly conduct: Conduct },
  ) {
    this.#banned = new Set(init.banned);
    this.#named = new Set(init.named);
    this.#conduct = deps.conduct;
    this.#index();
  }

  /** @returns whether it was not banned before. */
  ban(peer: PeerId): boolean {
    const before = this.#banned.size;
    return this.#banned.add(peer).size > before;
  }

  /** @returns whether it was banned. */
  unban(peer: PeerId): boolean {
    return this.#banned.delete(peer);
  }

  isBanned(peer: PeerId): boolean {
    return this.#banned.has(peer);
  }

  /** For GossipSub, which asks with a text. */
  isBannedText(peer: string): boolean {
    const texts: ReadonlySet<string> = this.#banned;
    return texts.has(peer);
  }

  /** Banned or muted: not to be connected with. */
  isShut(peer: PeerId): boolean {
    return this.#banned.has(peer) || this.#conduct.isMuted(peer);
  }

  setAuthors(authors: readonly PeerId[]): void {
    const before = this.#authors;
    this.#authors = new Set(authors);
    // What it did while nobody knew it was no offence.
    if (before !== null)
      for (const peer of this.#authors) if (!before.has(peer)) this.#conduct.forgive(peer);
    this.#index();
  }

  setPersistent(peers: ReadonlySet<PeerId>): void {
    this.#persistent = peers;
    this.#index();
  }

  isAuthor(peer: PeerId): boolean {
    return this.#authors === null || this.#authors.has(peer);
  }

  /** An author, or named by the operator: no stranger. */
  isKnown(peer: PeerId): boolean {
    return this.isAuthor(peer) || this.#persistent.has(peer) || this.#named.has(peer);
  }

  /**
   * The author in a message's `from` field; null unless in canonical form.
   * Known ones are found without spelling their peer id, which costs more than a hash.
   */
  authorOf(from: Uint8Array): PeerId | null {
    return this.#authorOfMultihash.get(latin1(from)) ?? peerIdFromCanonicalMultihash(from);
  }

  /** Whether libp2p keeps a known peer under this key of its peer store. */
  isStoreKeyOfKnown(key: string): boolean {
    return this.#storeKeys.has(key);
  }

  #index(): void {
    const authors = [...(this.#authors ?? [])];
    this.#authorOfMultihash = new Map(
      authors.map((peer) => [latin1(toLibp2pPeerId(peer).toMultihash().bytes), peer]),
    );
    const known = [...authors, ...this.#persistent, ...this.#named];
    this.#storeKeys = new Set(
      known.map((peer) => `/peers/${String(toLibp2pPeerId(peer).toCID())}`),
    );
  }
}
