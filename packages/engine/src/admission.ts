import {
  bytesToHex,
  decodeFrame,
  type EnvelopeJson,
  LIMITS,
  type OpenedFrame,
  openFrame,
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
import type { TallyView } from "./tally-view.ts";

/** Why a message was not let in; closed, for it is a metric label. */
export type AdmissionReason =
  | "author_not_trustee"
  | "author_banned"
  | "malformed"
  | "duplicate"
  | "stale"
  | "wrong_cluster_or_epoch"
  | "unknown_trustee"
  | "trustee_banned"
  | "bad_signature"
  | "queue_full";

export interface AdmissionDependencies {
  readonly set: () => TrusteeSet;
  readonly view: TallyView;
  readonly ed25519: Ed25519;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: NodeMetrics;
  /** Takes verified votes; false when its queue is full. */
  readonly offer: (vote: VerifiedVote) => boolean;
  /** Takes a bad inner signature under a valid outer one: the author is to blame, nobody else (R2). */
  readonly onBadSignature: (entry: StandaloneViolation) => void;
}

/**
 * Judges gossip before it is forwarded, cheapest check first: registry, ban, shape,
 * duplicates by content, freshness, and the signature last.
 */
export class Admission {
  readonly #deps: AdmissionDependencies;
  /** By content: the network's own message id counts the sequence number in, so a re-publish gets past it. */
  readonly #seen = new LRUCache<string, true>({ max: LIMITS.voteSeenMax });

  constructor(dependencies: AdmissionDependencies) {
    this.#deps = dependencies;
  }

  /** The verdict that decides whether others get to see the message. */
  validate(message: GossipMessage): GossipVerdict {
    const { set, view } = this.#deps;
    const trustees = set();
    // [REJECT] nothing: an unknown author may be a trustee of an epoch this node has not heard of yet.
    if (!trustees.byPeerId.has(message.author)) return this.#refuse("IGNORE", "author_not_trustee");
    if (view.bans.has(message.author)) return this.#refuse("IGNORE", "author_banned");
    // [REJECT] the frame must decode within its limits.
    const frame = decodeFrame(message.data);
    const opened = frame.ok ? openFrame(frame.value) : frame;
    if (!opened.ok) return this.#refuse("REJECT", "malformed");
    const keys = opened.value.leafHashes.map(bytesToHex);
    if (keys.every((key) => this.#seen.has(key))) return this.#refuse("IGNORE", "duplicate");
    if (opened.value.votes.some((signed) => this.#isStale(signed)))
      return this.#refuse("IGNORE", "stale");
    return this.#checkSignature(message, opened.value, keys, trustees);
  }

  #checkSignature(
    message: GossipMessage,
    opened: OpenedFrame,
    keys: readonly string[],
    trustees: TrusteeSet,
  ): GossipVerdict {
    const { ed25519, view, metrics } = this.#deps;
    const nodeId = opened.votes[0]?.vote.nodeId;
    const trustee = nodeId === undefined ? undefined : trustees.byNodeId.get(nodeId);
    if (trustee === undefined) return this.#refuse("IGNORE", "unknown_trustee");
    if (view.bans.has(trustee.peerId)) return this.#refuse("IGNORE", "trustee_banned");
    const verified = verifyOpenedFrame(opened, trustees, (key, bytes, signature) =>
      ed25519.verify(key, bytes, signature),
    );
    if (!verified.ok) {
      if (verified.error.code !== "BAD_SIGNATURE")
        return this.#refuse("IGNORE", "wrong_cluster_or_epoch");
      this.#blameAuthor(message, opened.votes);
      return this.#refuse("REJECT", "bad_signature");
    }
    let taken = true;
    for (const [i, vote] of verified.value.entries()) {
      metrics.votesReceived.inc({ source: "gossip" });
      taken = this.#deps.offer(vote) && taken;
      const key = keys[i];
      if (taken && key !== undefined) this.#seen.set(key, true);
    }
    return taken ? "ACCEPT" : this.#refuse("IGNORE", "queue_full");
  }

  #isStale(signed: SignedVote): boolean {
    const skewMs = Math.abs(this.#deps.clock.nowMs() - signed.vote.issuedAtMs);
    return skewMs > LIMITS.clockSkewRejectedMs;
  }

  /** [spec §3.1 Type 3] The outer signature proves who published it. */
  #blameAuthor(message: GossipMessage, votes: readonly SignedVote[]): void {
    const trustee = this.#deps.set().byPeerId.get(message.author);
    const txId: TxId | undefined = votes[0]?.vote.txId;
    if (trustee === undefined || txId === undefined) return;
    const detectedAtMs = this.#deps.clock.nowMs();
    const evidence = {
      type: "INVALID_SIGNATURE",
      envelope: envelopeJson(message.envelope),
    } as const;
    const who = {
      peerId: message.author,
      nodeId: trustee.nodeId,
      grade: "PROOF",
      evidence,
    } as const;
    this.#deps.onBadSignature({
      violation: { ...who, txId, type: "INVALID_SIGNATURE", detectedAtMs },
      ban: { ...who, reason: "INVALID_SIGNATURE", bannedAtMs: detectedAtMs },
    });
  }

  #refuse(verdict: "IGNORE" | "REJECT", reason: AdmissionReason): GossipVerdict {
    this.#deps.metrics.votesRejected.inc({ reason });
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
