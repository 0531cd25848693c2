import type { PeerId } from "@quorate/core";
import type { Clock, Logger } from "@quorate/ports";
import { LRUCache } from "lru-cache";

export interface PeerFinderDeps {
  readonly clock: Clock;
  readonly logger: Logger;
  /** Asks the DHT for the peers around a key: this node's own, or a random one. */
  readonly closestPeers: (key: "self" | "random", signal: AbortSignal) => AsyncIterable<PeerId>;
  readonly dial: (peer: PeerId) => Promise<unknown>;
  readonly isConnected: (peer: PeerId) => boolean;
  readonly isBanned: (peer: PeerId) => boolean;
  /** A peer that is to be found whoever else is in the way. */
  readonly isKnown: (peer: PeerId) => boolean;
  /** Whether a connection with this peer would be kept. */
  readonly hasPlace: (peer: PeerId) => boolean;
  /** Peers connected now. */
  readonly connectedCount: () => number;
}

export interface PeerFinderOptions {
  readonly firstMs: number;
  readonly maxMs: number;
  /** No more peers are dialled once so many are connected. */
  readonly peersMax: number;
}

/** A walk that takes longer is stuck on dead peers. */
const WALK_TIMEOUT_MS = 5_000;
/** Strangers being dialled at once because they were discovered. */
const DIALS_MAX = 8;
/** A peer that could not be reached is left alone for so long. */
const RETRY_MS = 2_000;
const REMEMBERED_MAX = 1_000;

/**
 * Finds the other members: walks the DHT, often while the neighbourhood changes and
 * seldom once it is settled, and dials whom it finds. From one known address a node
 * comes to know the whole cluster.
 * @see spec §5.1 Discovery
 */
export class PeerFinder {
  readonly #deps: PeerFinderDeps;
  readonly #options: PeerFinderOptions;
  readonly #lately = new LRUCache<PeerId, true>({ max: REMEMBERED_MAX, ttl: RETRY_MS });
  readonly #stopping = new AbortController();
  #dialling = 0;
  #walks = 0;
  #pauseMs: number;
  #cancel: (() => void) | null = null;
  #walking: Promise<void> | null = null;
  #soon = false;

  constructor(options: PeerFinderOptions, deps: PeerFinderDeps) {
    this.#deps = deps;
    this.#options = options;
    this.#pauseMs = options.firstMs;
  }

  start(): void {
    this.#schedule();
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    this.#cancel?.();
    await this.#walking;
  }

  /** The neighbourhood changed: walk soon, and often for a while. */
  onChange(): void {
    this.#pauseMs = this.#options.firstMs;
    if (this.#walking === null) this.#schedule();
    else this.#soon = true;
  }

  /** A peer was heard of; it is dialled when it is new, welcome, and there is room. */
  consider(peer: PeerId): void {
    const { isBanned, isConnected, dial, logger } = this.#deps;
    if (this.#stopping.signal.aborted) return;
    if (isConnected(peer) || isBanned(peer) || this.#lately.has(peer)) return;
    // Anyone can fill the DHT with peers that never answer: they must not hold up a known one.
    const isKnown = this.#deps.isKnown(peer);
    // Whoever finds no room now is found again by a later walk.
    if (!isKnown && !this.#hasRoom(peer)) return;
    this.#lately.set(peer, true);
    if (!isKnown) this.#dialling++;
    dial(peer)
      .catch((error: unknown) => {
        logger.debug("discovered peer not reached", { peerId: peer, error: String(error) });
      })
      .finally(() => {
        if (!isKnown) this.#dialling--;
      });
  }

  #hasRoom(peer: PeerId): boolean {
    if (this.#dialling >= DIALS_MAX || !this.#deps.hasPlace(peer)) return false;
    return this.#deps.connectedCount() + this.#dialling < this.#options.peersMax;
  }

  #schedule(): void {
    if (this.#stopping.signal.aborted) return;
    this.#cancel?.();
    this.#cancel = this.#deps.clock.schedule(this.#pauseMs, () => {
      this.#cancel = null;
      this.#walking = this.#walk().finally(() => {
        this.#walking = null;
        this.#pauseMs = this.#soon
          ? this.#options.firstMs
          : Math.min(this.#options.maxMs, this.#pauseMs * 2);
        this.#soon = false;
        this.#schedule();
      });
    });
  }

  async #walk(): Promise<void> {
    const timeout = new AbortController();
    const cancel = this.#deps.clock.schedule(WALK_TIMEOUT_MS, () => timeout.abort());
    const signal = AbortSignal.any([timeout.signal, this.#stopping.signal]);
    try {
      // Around our own id are those who answer for us; around random keys everyone else.
      const key = this.#walks++ % 2 === 0 ? "self" : "random";
      for await (const peer of this.#deps.closestPeers(key, signal)) this.consider(peer);
    } catch (error) {
      this.#deps.logger.debug("walk through the DHT ended early", { error: String(error) });
    } finally {
      cancel();
    }
  }
}
