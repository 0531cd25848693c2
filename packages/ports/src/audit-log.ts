import type {
  BanLift,
  Epoch,
  NodeId,
  PeerId,
  Receipt,
  ReputationState,
  TxId,
  Value,
  ViolationType,
} from "@quorate/core";
import type { AbortOptions } from "./lifecycle.ts";
import type { BanEntry } from "./tally-store.ts";

export interface VoteRow {
  readonly kind: "vote";
  readonly txId: TxId;
  readonly nodeId: NodeId;
  readonly peerId: PeerId;
  readonly epoch: Epoch;
  readonly value: Value;
  readonly signature: Uint8Array;
  /** The self-contained proof (leaf, path, signature), as JSON text. */
  readonly proofJson: string;
  readonly issuedAtMs: number;
}

export interface ViolationRow {
  readonly kind: "violation";
  readonly txId: TxId;
  readonly peerId: PeerId;
  readonly nodeId: NodeId | null;
  readonly type: ViolationType;
  readonly grade: "PROOF" | "OPINION";
  readonly evidenceJson: string;
  readonly detectedAtMs: number;
  /** False: the evidence was verified and does not hold. It is kept, and lowers nobody's score. */
  readonly borneOut: boolean;
}

export interface BanRow {
  readonly kind: "ban";
  readonly peerId: PeerId;
  readonly nodeId: NodeId | null;
  readonly reason: string;
  readonly grade: "PROOF" | "OPINION";
  readonly bannedAtMs: number;
  readonly evidenceJson: string;
}

/** The end of a ban, which is then no longer among the present ones. */
export interface LiftRow extends Omit<BanLift, "kind"> {
  readonly kind: "lift";
  readonly liftKind: BanLift["kind"];
}

export interface ReceiptRow {
  readonly kind: "receipt";
  readonly receipt: Receipt;
}

export interface TransactionRow {
  readonly kind: "transaction";
  readonly txId: TxId;
  readonly status: string;
  readonly reason: string | null;
  readonly value: Value | null;
  readonly epoch: Epoch;
  readonly openedAtMs: number;
  readonly recordJson: string;
}

/** One change in etcd, as history keeps it. */
export type AuditRow = VoteRow | ViolationRow | BanRow | LiftRow | ReceiptRow | TransactionRow;

export interface AuditBatch {
  /** All changes up to and including this etcd revision are in `rows` or in earlier batches. */
  readonly revision: bigint;
  /** More of the same revision follows: the rows are recorded, and the position stays where it is. */
  readonly partial?: true;
  readonly rows: readonly (AuditRow & { readonly revision: bigint })[];
}

/** What history makes of one peer. @see spec §7.3 node_reputation */
export interface ReputationRow {
  readonly peerId: PeerId;
  readonly nodeId: NodeId | null;
  /** For core's `scoreAt`. Says too whether the peer is banned. */
  readonly state: ReputationState;
  readonly totalVotes: number;
  /** Violations that are borne out. */
  readonly violationsCount: number;
  /** When its newest vote was issued; for a peer that never voted, the earliest time that a row about it has. */
  readonly lastSeenMs: number;
}

/** A violation, as evidence of a low score names it. */
export interface ViolationSummary {
  readonly txId: TxId;
  readonly type: ViolationType;
  readonly detectedAtMs: number;
}

export interface ReceiptsPage {
  readonly receipts: readonly Receipt[];
  /** Where the next, older page begins; null at the end. */
  readonly next: string | null;
}

/**
 * Which etcd the history is of. A restored snapshot makes another one out of it: revisions begin again at an older
 * one, and mean other changes.
 */
export interface HistoryLineage {
  /** The etcd cluster's own id, or what a restore left in its place; null before any was noted. */
  readonly id: string | null;
  /** How often history began again with another etcd. */
  readonly restarts: number;
}

/** Something recorded of an earlier etcd that the present one says otherwise. What was recorded stands. */
export interface Contradiction {
  readonly kind: "transaction" | "vote";
  readonly txId: TxId;
  /** Whose vote; null for a transaction. */
  readonly nodeId: NodeId | null;
  /** What stands: the decision record with its `status`, or the vote with its proof. JSON text. */
  readonly recordedJson: string;
  /** What etcd says now, in the same form. Two votes make the proof of a double vote. */
  readonly foundJson: string;
}

/**
 * The history in PostgreSQL. Revisions are those of the etcd that `lineage` names; those of an earlier one count as
 * earlier, whatever their numbers. The position is stored in the same database
 * transaction as the rows, so each change is recorded exactly once however
 * often a batch is repeated. Scores are folded with core's `reputationAfter` in that same
 * transaction, in order of revision and only from rows that were not there before; good conduct is
 * counted once per transaction and trustee, when the transaction is first seen SUBMITTED or
 * CONFIRMED, from the votes recorded by then. @see spec §3.3 audit trail, §7.3
 */
export interface AuditLog {
  /** The last revision recorded of the present lineage; null before its first batch. */
  position(options?: AbortOptions): Promise<bigint | null>;
  lineage(options?: AbortOptions): Promise<HistoryLineage>;
  /**
   * Notes which etcd the history is of. Without a reason it is the one that it was of all along, and nothing else changes.
   * With a reason (it is another one, or has gone back) history begins again: the position is null, and what comes may
   * not undo what an earlier etcd had decided. Kept for ever, with the reason.
   * @param expected as `position` and `lineage` told before
   * @returns "stale" when they have changed since; nothing was done.
   */
  beginLineage(
    expected: { readonly position: bigint | null; readonly restarts: number },
    next: { readonly id: string; readonly reason: string | null },
    options?: AbortOptions,
  ): Promise<"begun" | "stale">;
  /** Bans that stand of an earlier etcd, and that the present one has neither repeated nor ended so far. */
  lostBans(options?: AbortOptions): Promise<readonly BanEntry[]>;
  /** The newest contradictions between lineages, newest first. */
  contradictions(limit: number, options?: AbortOptions): Promise<readonly Contradiction[]>;
  /**
   * Appends a batch if it starts after `expected`, in one transaction.
   * @returns "appended", or "stale" (another projector was faster; nothing changed).
   */
  append(
    expected: bigint | null,
    batch: AuditBatch,
    options?: AbortOptions,
  ): Promise<"appended" | "stale">;
  /** Everybody who ever voted, violated or was banned, by peer id; at most `LIMITS.reputationsMax`, the worst first to be in. */
  reputations(options?: AbortOptions): Promise<readonly ReputationRow[]>;
  /** A peer's violations that are borne out, newest first. */
  violationsOf(
    peerId: PeerId,
    limit: number,
    options?: AbortOptions,
  ): Promise<readonly ViolationSummary[]>;
  /** Recorded receipts, the last recorded first. @param page `before` is the `next` of the page before */
  receipts(
    page: { readonly before: string | null; readonly limit: number },
    options?: AbortOptions,
  ): Promise<ReceiptsPage>;
}
