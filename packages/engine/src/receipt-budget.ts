import { isAuthorVerified, type PeerId, type RefusalReason } from "@quorate/core";
import { LRUCache } from "lru-cache";
import type { Refusal } from "./refusal.ts";
import { RefusalTally, type RefusedMessages } from "./refusal-tally.ts";
import { TokenBucket } from "./token-bucket.ts";

/** Bounds of a node's receipts, each with the reason for its number. */
export const RECEIPT_BOUNDS = {
  /** Receipts of its own that one peer's refusals get: enough for every honest mistake; what comes faster is a flood, and is counted. */
  ownPerPeer: { burst: 20, perSecond: 1 / 3 },
  /**
   * The same for all unauthenticated messages together: new peer ids are free, so that a budget for
   * each would be none. With a signature and a hash of 64 KiB at 1 ms it is 0.1 % of a core.
   */
  ownOfStrangers: { burst: 100, perSecond: 1 },
  /** Peers whose budget is remembered, authenticated and not, each. Trustees are 100 at most; a node has fewer connections. */
  peersMax: 1_024,
  /** Aggregated receipts that name what they have in common, a window: each is a signature, 600 bytes in etcd for an hour, and a row for ever. */
  namedPerWindow: { verified: 64, strangers: 32 },
  /** How long refusals are counted into one aggregated receipt, in ms. */
  windowMs: 10_000,
  /** Aggregated receipts signed in one go: 25 signatures are a few ms of a busy core. */
  signedPerFlushMax: 25,
  /** How often receipts are written, in ms. */
  flushMs: 1_000,
  /** The longest pause between two attempts while the store is away, in ms. */
  retryMsMax: 30_000,
  /** Receipts kept while the store is away, 0.5 MB. Beyond it nothing is dropped: all further refusals are counted. */
  unwrittenMax: 900,
  /** The newest receipts, for the API. More than can be unwritten, so that what is not in the store is here. */
  recentMax: 1_000,
} as const;

interface PeerState {
  readonly bucket: TokenBucket;
  /** This window's count for each reason. */
  readonly tallies: Map<RefusalReason, RefusalTally>;
  window: number;
}

/**
 * Says which refusal gets a receipt of its own, and counts the others. The budget is the author's when it
 * is authenticated, else the forwarder's: anybody can write another's name.
 */
export class ReceiptBudget {
  readonly #self: PeerId;
  readonly #verified = new LRUCache<PeerId, PeerState>({ max: RECEIPT_BOUNDS.peersMax });
  readonly #strangers = new LRUCache<PeerId, PeerState>({ max: RECEIPT_BOUNDS.peersMax });
  readonly #ofStrangers: TokenBucket;
  #window = 0;
  #open: RefusalTally[] = [];
  #named = { verified: 0, strangers: 0 };
  /** For what is beyond the named ones: one a reason, whoever sent it. */
  readonly #rest = new Map<RefusalReason, RefusalTally>();

  /** @param self stands for the author where a local caller gave none. */
  constructor(self: PeerId, nowMs: number) {
    this.#self = self;
    this.#ofStrangers = new TokenBucket(RECEIPT_BOUNDS.ownOfStrangers, nowMs);
  }

  /** Whether this refusal may have a receipt of its own; that uses the budget up. @param nowMs monotonic */
  take(refusal: Refusal, nowMs: number): boolean {
    const verified = isAuthorVerified(refusal.reason);
    const state = this.#stateOf(refusal, verified, nowMs);
    return state.bucket.take(1, nowMs) && (verified || this.#ofStrangers.take(1, nowMs));
  }

  /** Counts a refusal into its window. @param atMs wall clock */
  count(refusal: Refusal, count: number, atMs: number, nowMs: number): void {
    const verified = isAuthorVerified(refusal.reason);
    const state = this.#stateOf(refusal, verified, nowMs);
    if (state.window !== this.#window) {
      state.window = this.#window;
      state.tallies.clear();
    }
    let tally = state.tallies.get(refusal.reason);
    if (tally === undefined) {
      tally = this.#openTally(refusal, verified, atMs);
      state.tallies.set(refusal.reason, tally);
    }
    tally.add(refusal, count, atMs);
  }

  /** Ends the window: what it counted, for a receipt each. */
  close(): RefusedMessages[] {
    const closed = this.#open.map((tally) => tally.messages());
    this.#window++;
    this.#open = [];
    this.#named = { verified: 0, strangers: 0 };
    this.#rest.clear();
    return closed;
  }

  #stateOf(refusal: Refusal, verified: boolean, nowMs: number): PeerState {
    const { author, forwarder } = refusal;
    const peer = (verified ? author : (forwarder ?? author)) ?? this.#self;
    const states = verified ? this.#verified : this.#strangers;
    const known = states.get(peer);
    if (known !== undefined) return known;
    const bucket = new TokenBucket(RECEIPT_BOUNDS.ownPerPeer, nowMs);
    const fresh: PeerState = { bucket, tallies: new Map(), window: this.#window };
    // Whoever is forgotten for it loses a used budget, and no count: the tallies are in `#open`.
    states.set(peer, fresh);
    return fresh;
  }

  #openTally(refusal: Refusal, verified: boolean, atMs: number): RefusalTally {
    const group = verified ? "verified" : "strangers";
    const named = this.#named[group] < RECEIPT_BOUNDS.namedPerWindow[group];
    const rest = named ? undefined : this.#rest.get(refusal.reason);
    if (rest !== undefined) return rest;
    const tally = new RefusalTally(refusal, atMs);
    this.#open.push(tally);
    if (named) this.#named[group]++;
    else this.#rest.set(refusal.reason, tally);
    return tally;
  }
}
