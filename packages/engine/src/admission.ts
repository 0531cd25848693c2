import {
  bytesToHex,
  decodeFrame,
  type EnvelopeJson,
  type Epoch,
  envelopeSigningBytes,
  isSettled,
  LIMITS,
  type OpenedFrame,
  openFrame,
  type PeerId,
  publicKeyOf,
  type RefusalReason,
  type SignedVote,
  type TrusteeSet,
  type TxId,
  toBase64,
  type VerifiedVote,
  verifyOpenedFrame,
} from "@quorate/core";
import type {
  Clock,
  Ed25519,
  GossipEnvelope,
  GossipMessage,
  GossipVerdict,
  Logger,
  StandaloneViolation,
} from "@quorate/ports";
import { LRUCache } from "lru-cache";
import type { NodeMetrics } from "./catalogue.ts";
import { LoneTransactions } from "./lone-transactions.ts";
import type { RefusalSink } from "./refusal.ts";
import type { TallyView } from "./tally-view.ts";
import { TokenBucket } from "./token-bucket.ts";
import type { VoteSpans } from "./vote-spans.ts";

/** Why a message was not let in; closed, for it is a metric label. A duplicate is no refusal: its vote has been taken. */
export type AdmissionReason = RefusalReason | "duplicate";

export interface AdmissionDependencies {
  /** Who may publish: the trustees in force, and those of transactions that are still open. */
  readonly isAuthor: (peer: PeerId) => boolean;
  readonly sets: () => ReadonlyMap<Epoch, TrusteeSet>;
  readonly view: TallyView;
  readonly ed25519: Ed25519;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: NodeMetrics;
  readonly receipts: RefusalSink;
  /** Takes verified votes; false when its queue is full. */
  readonly offer: (vote: VerifiedVote) => boolean;
  /** Takes a bad inner signature under a valid outer one: the author is to blame, nobody else (R2). */
  readonly onBadSignature: (entry: StandaloneViolation) => void;
  /** Takes genuine votes that are refused (stale, or of a trustee banned for an opinion): two that differ are a proof (I4). */
  readonly onRefusedVote: (vote: VerifiedVote) => void;
  /** Told of each genuine frame that its own trustee published: when it was signed shows what its clock says. */
  readonly onHeard?: ((vote: SignedVote) => void) | undefined;
  /** How long a transaction stays open at most, in ms. */
  readonly deadlineMs: number;
  readonly spans?: VoteSpans | undefined;
}

/** A frame that decoded well. */
interface Heard {
  readonly opened: OpenedFrame;
  /** Of each vote's content, as `#seen` has it. */
  readonly keys: readonly string[];
  readonly stale: boolean;
  readonly extension: Uint8Array | undefined;
  /** When it came, for tracing. */
  readonly heardAtMs: number;
}

/** What an author may still publish. */
interface Allowance {
  readonly frames: TokenBucket;
  /** Frames that can only serve as evidence any more. */
  readonly stale: TokenBucket;
}

/**
 * Judges gossip before it is forwarded, cheapest check first: registry, ban, rate, shape,
 * duplicates by content, quota, and the signature last.
 */
export class Admission {
  readonly #deps: AdmissionDependencies;
  /** By content: the network's own message id counts the sequence number in, so a re-publish gets past it. */
  readonly #seen = new LRUCache<string, true>({ max: LIMITS.voteSeenMax });
  /** What each peer may still pass on of each author. */
  readonly #passed = new LRUCache<string, TokenBucket>({ max: 10 * LIMITS.authorAllowancesMax });
  readonly #lone: LoneTransactions;
  readonly #allowances = new LRUCache<PeerId, Allowance>({ max: LIMITS.authorAllowancesMax });

  constructor(dependencies: AdmissionDependencies) {
    this.#deps = dependencies;
    this.#lone = new LoneTransactions({
      perOpenerMax: LIMITS.authorLoneTransactionsMax,
      totalMax: LIMITS.viewTransactionsMax,
      lifeMs: dependencies.deadlineMs,
    });
  }

  /** Tells that the view moved: transactions that are decided, or well voted on, cost their openers nothing more. */
  onView(touched: Iterable<TxId>): void {
    if (this.#lone.size === 0) return;
    const { view } = this.#deps;
    for (const txId of touched) {
      if (!this.#lone.has(txId)) continue;
      const epoch = view.record(txId)?.epoch;
      const enough = epoch !== undefined && view.votes(txId).size >= this.#neededVoters(epoch);
      if (enough || isSettled(view.status(txId))) this.#lone.release(txId);
    }
  }

  /** The verdict that decides whether others get to see the message. */
  validate(message: GossipMessage): GossipVerdict {
    const { view, isAuthor, clock } = this.#deps;
    const { author } = message;
    const heardAtMs = this.#deps.spans?.now() ?? 0;
    // [REJECT] nothing: an unknown author may be a trustee of an epoch this node has not heard of yet.
    if (!isAuthor(author)) return this.#refuse("IGNORE", "author_not_trustee", message);
    if (view.bans.has(author)) return this.#refuse("IGNORE", "author_banned", message);
    const allowance = this.#allowanceOf(author);
    // By who brings it too: old messages of the author, replayed by others, must not use up its own allowance.
    if (!this.#passingOn(message).take(1, clock.monotonicMs()))
      return this.#refuse("IGNORE", "rate_limited", message);
    // [REJECT] the frame must decode within its limits.
    const frame = decodeFrame(message.data);
    const opened = frame.ok ? openFrame(frame.value) : frame;
    if (!opened.ok) return this.#refuse("REJECT", "malformed", message);
    const { votes, leafHashes } = opened.value;
    const refuse = (verdict: "IGNORE" | "REJECT", reason: AdmissionReason): GossipVerdict =>
      this.#refuse(verdict, reason, message, votes);
    const keys = leafHashes.map(bytesToHex);
    if (keys.every((key) => this.#seen.has(key))) return refuse("IGNORE", "duplicate");
    // A vote that comes too late to count is still its trustee's word, and worth a few signatures.
    const stale = votes.some((signed) => this.#isStale(signed));
    if (stale && !allowance.stale.take(1, clock.monotonicMs())) return refuse("IGNORE", "stale");
    // What one node finds too much, all find too much: so a flood is not passed on either.
    if (!stale && !allowance.frames.take(1, clock.monotonicMs()))
      return refuse("IGNORE", "rate_limited");
    const fresh = votes.flatMap(({ vote: { txId } }) =>
      view.status(txId) === null && !view.isArchived(txId) ? [txId] : [],
    );
    if (!this.#lone.open(author, fresh, clock.monotonicMs())) return refuse("IGNORE", "quota");
    const extension = frame.ok ? frame.value.extension : undefined;
    const heard = { opened: opened.value, keys, stale, extension, heardAtMs };
    return this.#checkSignature(message, heard, refuse);
  }

  #checkSignature(
    message: GossipMessage,
    heard: Heard,
    refuse: (verdict: "IGNORE" | "REJECT", reason: AdmissionReason) => GossipVerdict,
  ): GossipVerdict {
    const { ed25519, view, sets, spans } = this.#deps;
    const { opened, keys, stale } = heard;
    const checkingAtMs = spans?.now() ?? 0;
    const named = opened.votes[0]?.vote;
    const trustees = named === undefined ? undefined : sets().get(named.epoch);
    if (named === undefined || trustees === undefined) return refuse("IGNORE", "wrong_epoch");
    if (named.clusterId !== trustees.clusterId) return refuse("IGNORE", "wrong_cluster");
    const trustee = trustees.byNodeId.get(named.nodeId);
    if (trustee === undefined) return refuse("IGNORE", "unknown_trustee");
    const banned = view.bans.get(trustee.peerId);
    if (banned === "PROOF") return refuse("IGNORE", "trustee_banned");
    const verified = verifyOpenedFrame(opened, trustees, (key, bytes, signature) =>
      ed25519.verify(key, bytes, signature),
    );
    if (!verified.ok) {
      if (verified.error.code !== "BAD_SIGNATURE") return refuse("IGNORE", "wrong_cluster");
      this.#blameAuthor(message, opened.votes);
      return refuse("REJECT", "bad_signature");
    }
    // What others pass on may be old; what a trustee publishes is not older than it wants it to seem.
    const newest = opened.votes.at(-1);
    if (newest !== undefined && message.author === trustee.peerId) this.#deps.onHeard?.(newest);
    if (banned !== undefined || stale) {
      for (const vote of verified.value) this.#deps.onRefusedVote(vote);
      return refuse("IGNORE", banned !== undefined ? "trustee_banned" : "stale");
    }
    const accepted = this.#take(verified.value, keys);
    spans?.heard(verified.value, { ...heard, author: message.author, checkingAtMs, accepted });
    return accepted ? "ACCEPT" : refuse("IGNORE", "queue_full");
  }

  #take(votes: readonly VerifiedVote[], keys: readonly string[]): boolean {
    let taken = true;
    for (const [i, vote] of votes.entries()) {
      this.#deps.metrics.votesReceived.inc({ source: "gossip" });
      this.#lone.voted(vote.vote.txId, vote.peerId, this.#neededVoters(vote.vote.epoch));
      taken = this.#deps.offer(vote) && taken;
      const key = keys[i];
      if (taken && key !== undefined) this.#seen.set(key, true);
    }
    return taken;
  }

  /** More than all who may be lying together (R8): among so many is an honest one. */
  #neededVoters(epoch: Epoch): number {
    const set = this.#deps.sets().get(epoch);
    return set === undefined ? 1 : set.trustees.length - set.threshold + 1;
  }

  #passingOn({ forwarder, author }: GossipMessage): TokenBucket {
    const key = `${forwarder} ${author}`;
    const known = this.#passed.get(key);
    if (known !== undefined) return known;
    const bucket = new TokenBucket(LIMITS.authorFrames, this.#deps.clock.monotonicMs());
    this.#passed.set(key, bucket);
    return bucket;
  }

  #allowanceOf(author: PeerId): Allowance {
    const known = this.#allowances.get(author);
    if (known !== undefined) return known;
    const now = this.#deps.clock.monotonicMs();
    const allowance: Allowance = {
      frames: new TokenBucket(LIMITS.authorFrames, now),
      stale: new TokenBucket(LIMITS.authorStaleFrames, now),
    };
    this.#allowances.set(author, allowance);
    return allowance;
  }

  #isStale(signed: SignedVote): boolean {
    const skewMs = Math.abs(this.#deps.clock.nowMs() - signed.vote.issuedAtMs);
    return skewMs > LIMITS.clockSkewRejectedMs;
  }

  /** [spec §3.1 Type 3] The outer signature proves who published it. */
  #blameAuthor(message: GossipMessage, votes: readonly SignedVote[]): void {
    const named = votes[0]?.vote;
    if (named === undefined || !this.#isSealed(message)) return;
    const evidence = {
      type: "INVALID_SIGNATURE",
      envelope: envelopeJson(message.envelope),
    } as const;
    const who = {
      peerId: message.author,
      nodeId: this.#nameOf(message.author, named.epoch),
      grade: "PROOF",
      evidence,
    } as const;
    const detectedAtMs = this.#deps.clock.nowMs();
    const { txId } = named;
    this.#deps.onBadSignature({
      violation: { ...who, txId, type: "INVALID_SIGNATURE", detectedAtMs },
      ban: { ...who, reason: "INVALID_SIGNATURE", bannedAtMs: detectedAtMs },
    });
  }

  /** The network has verified the envelope with another library; evidence must hold before the one that judges it. */
  #isSealed({ author, envelope }: GossipMessage): boolean {
    const key = publicKeyOf(author);
    const signed = envelopeSigningBytes(envelope);
    return key !== null && this.#deps.ed25519.verify(key, signed, envelope.signature);
  }

  /** The author's name in the vote's epoch, or else in the newest that knows it. */
  #nameOf(author: PeerId, epoch: Epoch): VerifiedVote["vote"]["nodeId"] | null {
    const sets = this.#deps.sets();
    const own = sets.get(epoch)?.byPeerId.get(author);
    const others = [...sets.values()].map((set) => set.byPeerId.get(author));
    return (own ?? others.findLast((t) => t !== undefined))?.nodeId ?? null;
  }

  #refuse(
    verdict: "IGNORE" | "REJECT",
    reason: AdmissionReason,
    { data, author, forwarder }: GossipMessage,
    votes: readonly SignedVote[] = [],
  ): GossipVerdict {
    this.#deps.metrics.votesRejected.inc({ reason });
    if (reason === "duplicate") return verdict;
    const named = votes[0]?.vote;
    const txId = votes.length === 1 ? (named?.txId ?? null) : null;
    const voter = named?.nodeId ?? null;
    this.#deps.receipts.refuse({ reason, bytes: data, txId, voter, author, forwarder });
    return verdict;
  }
}

function envelopeJson(envelope: GossipEnvelope): EnvelopeJson {
  return {
    from: toBase64(envelope.from),
    data: toBase64(envelope.data),
    seqno: toBase64(envelope.sequenceNumber),
    topic: envelope.topic,
    signature: toBase64(envelope.signature),
  };
}
