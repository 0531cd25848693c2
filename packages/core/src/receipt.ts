import type { ClusterId, NodeId, PeerId, TxId } from "./ids.ts";

/** Why a vote, or a message that should have held votes, was not taken; closed, for it is a metric label. */
export const REFUSAL_REASONS = [
  // Dropped before anything was verified.
  "author_not_trustee",
  "author_banned",
  "oversized",
  "malformed_envelope",
  "rate_limited",
  "no_room",
  // Refused by what the message says.
  "malformed",
  "stale",
  "wrong_cluster",
  "wrong_epoch",
  "unknown_trustee",
  "trustee_banned",
  "quota",
  "bad_signature",
  "queue_full",
  // Refused by the rules, against what is recorded.
  "equivocation",
  "record_forged",
  // Refused to a local caller.
  "already_voted",
  "not_a_trustee",
  "journal_failed",
  "stopped",
] as const;

export type RefusalReason = (typeof REFUSAL_REASONS)[number];

/**
 * A node's signed word that it did not take a message, and why (I9). One receipt may stand for
 * many messages of one peer that were refused for one reason: under flood it counts instead of naming each.
 */
export interface Receipt {
  readonly clusterId: ClusterId;
  /** Who refused. */
  readonly nodeId: NodeId;
  readonly peerId: PeerId;
  /** Grows by one with each receipt of a node's run; unique with `nodeId` and `runStartedAtMs`. */
  readonly sequence: number;
  /** When the refusing node was started, in ms since the Unix epoch: sequences begin anew with each run. */
  readonly runStartedAtMs: number;
  readonly issuedAtMs: number;
  readonly reason: RefusalReason;
  /** Messages that it stands for; 1 unless aggregated. */
  readonly count: number;
  readonly firstAtMs: number;
  readonly lastAtMs: number;
  /** BLAKE3 of the refused bytes, base64: the message's, or the vote's when it came alone. The last one's when aggregated. */
  readonly messageHash: string;
  readonly txId: TxId | null;
  /** Whose vote it claims to be. */
  readonly voter: NodeId | null;
  /** Who published it: authenticated for what is refused by content, claimed for what was dropped before. */
  readonly author: PeerId | null;
  readonly forwarder: PeerId | null;
  /** Ed25519 by the refusing node over the canonical bytes, base64. */
  readonly signature: string;
}
