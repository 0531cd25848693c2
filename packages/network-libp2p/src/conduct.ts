import type { PeerId } from "@quorate/core";
import type { Clock, Logger } from "@quorate/ports";
import { LRUCache } from "lru-cache";
import type { GossipLimits } from "./options.ts";
import { TokenBuckets } from "./token-buckets.ts";

/** What was wrong with something that a peer delivered. */
export type Offence =
  | "malformed_envelope"
  | "oversized"
  | "unknown_author"
  | "author_banned"
  | "rate_limited"
  | "unreadable"
  | "invalid_signature"
  | "rejected"
  | "reconnecting";

/**
 * What one offence counts: roughly the CPU that it cost, decoding a small message being 1. A
 * handshake is the dearest; an honest peer that keeps losing its connection dials less than
 * ten times a second.
 */
const WEIGHT: Readonly<Record<Offence, number>> = {
  malformed_envelope: 1,
  oversized: 4,
  unknown_author: 1,
  author_banned: 1,
  rate_limited: 1,
  unreadable: 1,
  invalid_signature: 10,
  rejected: 10,
  reconnecting: 100,
};

interface Muted {
  untilMs: number;
  /** Mutes without a quiet time between them. */
  times: number;
  over: boolean;
}

type ConductLimits = Pick<
  GossipLimits,
  | "blamePerSecond"
  | "blameBurst"
  | "excusePerSecond"
  | "excuseBurst"
  | "muteMs"
  | "muteMaxMs"
  | "muteForgivenMs"
  | "peersRememberedMax"
>;

/**
 * Judges peers by what they deliver, and mutes those that keep flooding: disconnected and
 * kept out for a while, by this node alone, with no record of it anywhere else.
 *
 * Even a message that is dropped unread was decrypted and decoded, so dropping alone does
 * not end a flood. But nobody may be able to get an honest peer muted, so a peer answers
 * only for what an honest one in its place cannot have sent:
 *
 * - **Blame**, for what no honest peer passes on whatever it receives: envelopes that our
 *   own guard refuses by form and size alone; invalid signatures, for an honest peer has
 *   verified them; an overrun of its own messages; messages under its own name when it is
 *   no known author; and own messages that the validator rejects. Little of it is borne,
 *   as for a bug.
 * - **Excuse**, for what an honest peer can be led to pass on: messages of an author that
 *   it still, or already, knows and we do not; of one banned here a moment before; and more
 *   of another's messages than we take. An honest node forwards at most
 *   `forwarded` of one author, which is half of what we take of an author from
 *   one peer: there is little to excuse in the long run, only what a stalled connection
 *   delivers at once. A connection that stalls for longer than 40 s is cut by the pings, so
 *   a bucket that holds a minute's worth, and refills faster than several misbehaving
 *   authors together can make an honest node forward, is not overrun by any honest peer.
 *   Two colluding peers, one writing and one forwarding, overrun it within seconds.
 * - **Nothing**, for want of room in the validator, for duplicates, and for what the
 *   validator says of another's message: that depends on us, on others or on the order of
 *   arrival. (The mesh score sees to rejected ones.)
 */
export class Conduct {
  readonly #limits: ConductLimits;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #onMute: (peer: PeerId) => void;
  readonly #blame: TokenBuckets;
  readonly #excuse: TokenBuckets;
  readonly #muted: LRUCache<PeerId, Muted>;

  /** @param deps.onMute disconnects the peer; it is muted already when called. */
  constructor(
    limits: ConductLimits,
    deps: {
      readonly clock: Clock;
      readonly logger: Logger;
      readonly onMute: (peer: PeerId) => void;
    },
  ) {
    this.#limits = limits;
    this.#clock = deps.clock;
    this.#logger = deps.logger;
    this.#onMute = deps.onMute;
    const buckets = (perSecond: number, burst: number): TokenBuckets =>
      new TokenBuckets(
        {
          messagesPerSecond: perSecond,
          messagesBurst: burst,
          bytesPerSecond: 1,
          bytesBurst: 0,
          bucketsMax: limits.peersRememberedMax,
        },
        deps,
      );
    this.#blame = buckets(limits.blamePerSecond, limits.blameBurst);
    this.#excuse = buckets(limits.excusePerSecond, limits.excuseBurst);
    this.#muted = new LRUCache({ max: limits.peersRememberedMax });
  }

  /** The peer did what no honest peer does. */
  blame(peer: PeerId, offence: Offence): void {
    if (!this.#blame.take(peer, WEIGHT[offence])) this.#mute(peer, offence);
  }

  /** The peer passed on what it may have been led to pass on. */
  excuse(peer: PeerId, offence: Offence, weight = WEIGHT[offence]): void {
    if (!this.#excuse.take(peer, weight)) this.#mute(peer, offence);
  }

  isMuted(peer: PeerId): boolean {
    if (this.#muted.size === 0) return false;
    const muted = this.#muted.peek(peer);
    return muted !== undefined && this.#clock.monotonicMs() < muted.untilMs;
  }

  /** Peers muted now. */
  get mutedCount(): number {
    const nowMs = this.#clock.monotonicMs();
    let count = 0;
    for (const { untilMs } of this.#muted.values()) if (nowMs < untilMs) count++;
    return count;
  }

  /** Peers remembered in the largest of its tables. */
  get size(): number {
    return Math.max(this.#muted.size, this.#blame.size, this.#excuse.size);
  }

  /** Forgets all that was held against a peer: it became a trustee, say. */
  forgive(peer: PeerId): void {
    this.#muted.delete(peer);
    this.#blame.refill(peer);
    this.#excuse.refill(peer);
  }

  /** Peers whose time has passed since the last call; forgets those quiet for long. Once per heartbeat. */
  sweep(): PeerId[] {
    const nowMs = this.#clock.monotonicMs();
    const ended: PeerId[] = [];
    for (const [peer, muted] of this.#muted.entries()) {
      if (nowMs < muted.untilMs) continue;
      if (!muted.over) {
        muted.over = true;
        ended.push(peer);
      } else if (nowMs >= muted.untilMs + this.#limits.muteForgivenMs) this.#muted.delete(peer);
    }
    return ended;
  }

  #mute(peer: PeerId, offence: Offence): void {
    // What still comes out of its connection's buffers is the same offence.
    if (this.isMuted(peer)) return;
    const times = (this.#muted.peek(peer)?.times ?? 0) + 1;
    const { muteMs, muteMaxMs } = this.#limits;
    const forMs = Math.min(muteMaxMs, muteMs * 2 ** Math.min(times - 1, 30));
    const untilMs = this.#clock.monotonicMs() + forMs;
    this.#muted.set(peer, { untilMs, times, over: false });
    this.#blame.refill(peer);
    this.#excuse.refill(peer);
    this.#logger.warn("peer floods and is muted", { peerId: peer, offence, forMs, times });
    this.#onMute(peer);
  }
}
