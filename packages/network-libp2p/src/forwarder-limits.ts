import { assertNever, type PeerId } from "@quorate/core";
import type { Clock, GossipRefusal } from "@quorate/ports";
import type { Conduct } from "./conduct.ts";
import type { GossipLimits } from "./options.ts";
import type { PeerRoster } from "./peer-roster.ts";
import { TokenBuckets } from "./token-buckets.ts";

/** Peers connected at once, twice over: a bucket outlives a short loss of the connection. */
const PEERS_MAX = 400;
/** So many peers, each with so many authors: what can be in use at once (about 100 B each). */
const PAIRS_MAX = 20_000;
/** A copy of a message already seen costs no signature. */
const COPY_COST = 0.25;
/** A stranger's share in what is excused: nobody depends on what it forwards. */
const STRANGER_WEIGHT = 4;

/**
 * How much each peer may deliver, and what its refused messages say about it.
 * Allowances are kept by pair of forwarder and *claimed* author: an author is not verified
 * before its signature is, so one bucket by author could be used up by whoever names it.
 */
export class ForwarderLimits {
  readonly #conduct: Conduct;
  readonly #roster: PeerRoster;
  readonly #pairs: TokenBuckets;
  readonly #known: TokenBuckets;
  readonly #strangers: TokenBuckets;
  readonly #rpcs: TokenBuckets;
  readonly #forwarded: TokenBuckets;

  constructor(
    limits: Pick<GossipLimits, "perAuthor" | "perPeer" | "perStranger" | "rpcs" | "forwarded">,
    deps: { readonly clock: Clock; readonly conduct: Conduct; readonly roster: PeerRoster },
  ) {
    this.#conduct = deps.conduct;
    this.#roster = deps.roster;
    this.#pairs = new TokenBuckets({ ...limits.perAuthor, bucketsMax: PAIRS_MAX }, deps);
    this.#known = new TokenBuckets({ ...limits.perPeer, bucketsMax: PEERS_MAX }, deps);
    this.#strangers = new TokenBuckets({ ...limits.perStranger, bucketsMax: PEERS_MAX }, deps);
    this.#rpcs = new TokenBuckets({ ...limits.rpcs, bucketsMax: PEERS_MAX }, deps);
    this.#forwarded = new TokenBuckets({ ...limits.forwarded, bucketsMax: PEERS_MAX }, deps);
  }

  /** Buckets in the largest of its tables. */
  get size(): number {
    return Math.max(this.#pairs.size, this.#known.size, this.#strangers.size, this.#rpcs.size);
  }

  /** Whether one more RPC of this peer is decoded. */
  allowsRpc(forwarder: PeerId, bytes: number): boolean {
    if (this.#rpcs.take(forwarder, 1, bytes)) return true;
    this.#conduct.excuse(forwarder, "rate_limited");
    return false;
  }

  /** Whether one more message of this author is taken from this forwarder. */
  allows(forwarder: PeerId, author: PeerId, bytes: number, isCopy: boolean): boolean {
    const all = this.#roster.isKnown(forwarder) ? this.#known : this.#strangers;
    return (
      this.#pairs.take(`${forwarder} ${author}`, 1, bytes) &&
      all.take(forwarder, isCopy ? COPY_COST : 1, bytes)
    );
  }

  /**
   * Whether an accepted message is passed on. Kept by author alone: only a fresh message
   * that nobody sent before is accepted, so nobody else can use this up.
   * @see Conduct
   */
  forwards(author: PeerId, bytes: number): boolean {
    return this.#forwarded.take(author, 1, bytes);
  }

  /** Holds a refused message against its forwarder, if an honest one would not have sent it. @see Conduct */
  hold({
    reason,
    forwarder,
    claimedAuthor,
  }: Pick<GossipRefusal, "reason" | "forwarder" | "claimedAuthor">): void {
    switch (reason) {
      case "malformed_envelope":
      case "oversized":
        return this.#conduct.blame(forwarder, reason);
      case "unknown_author":
        if (claimedAuthor === forwarder) return this.#conduct.blame(forwarder, reason);
        return this.#conduct.excuse(
          forwarder,
          reason,
          this.#roster.isKnown(forwarder) ? 1 : STRANGER_WEIGHT,
        );
      case "rate_limited":
        if (claimedAuthor === forwarder) return this.#conduct.blame(forwarder, reason);
        return this.#conduct.excuse(forwarder, reason);
      case "author_banned":
        return this.#conduct.excuse(forwarder, reason);
      case "no_room":
        return;
      default:
        return assertNever(reason);
    }
  }
}
