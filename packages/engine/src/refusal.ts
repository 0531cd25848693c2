import type { NodeId, PeerId, RefusalReason, TxId, VerifiedVote, VoteOutcome } from "@quorate/core";
import type { GossipRefusal } from "@quorate/ports";

/** A message or a vote that was not taken, as far as it could be read. */
export interface Refusal {
  readonly reason: RefusalReason;
  /** The refused bytes: the message's, or the vote's own when it came alone. */
  readonly bytes: Uint8Array;
  readonly txId: TxId | null;
  /** Whose vote it claims to be. */
  readonly voter: NodeId | null;
  readonly author: PeerId | null;
  readonly forwarder: PeerId | null;
}

/** Takes note of refusals. In the hot path: returns at once and never throws. */
export interface RefusalSink {
  refuse(refusal: Refusal): unknown;
}

/** Why the rules refuse a vote, in their own words. */
export type RefusedByRules =
  | Extract<VoteOutcome, { kind: "REFUSED" }>["code"]
  | Extract<VoteOutcome, { kind: "EQUIVOCATION" }>["kind"];

const BY_RULES: Readonly<Record<RefusedByRules, RefusalReason>> = {
  BANNED: "trustee_banned",
  WRONG_EPOCH: "wrong_epoch",
  UNKNOWN_TRUSTEE: "unknown_trustee",
  RECORD_FORGED: "record_forged",
  ARCHIVED: "archived",
  EQUIVOCATION: "equivocation",
};

const BY_NETWORK: Readonly<Record<GossipRefusal["reason"], RefusalReason>> = {
  unknown_author: "author_not_trustee",
  author_banned: "author_banned",
  malformed_envelope: "malformed_envelope",
  oversized: "oversized",
  rate_limited: "rate_limited",
  no_room: "no_room",
};

export function refusalByRules(vote: VerifiedVote, code: RefusedByRules): Refusal {
  const { txId, nodeId } = vote.vote;
  const reason = BY_RULES[code];
  const { peerId: author, proof } = vote;
  return { reason, bytes: proof.leaf, txId, voter: nodeId, author, forwarder: null };
}

export function refusalByNetwork(refusal: GossipRefusal): Refusal {
  const { data, claimedAuthor, forwarder } = refusal;
  const reason = BY_NETWORK[refusal.reason];
  return { reason, bytes: data, txId: null, voter: null, author: claimedAuthor, forwarder };
}
