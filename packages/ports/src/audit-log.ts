import type {
  BanLift,
  Epoch,
  NodeId,
  PeerId,
  Receipt,
  TxId,
  Value,
  ViolationType,
} from "@quorate/core";
import type { AbortOptions } from "./lifecycle.ts";

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

/** The end of a ban. */
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
  readonly rows: readonly (AuditRow & { readonly revision: bigint })[];
}

/**
 * The history in PostgreSQL. The position is stored in the same database
 * transaction as the rows, so each change is recorded exactly once however
 * often a batch is repeated. @see spec §3.3 audit trail
 */
export interface AuditLog {
  /** The last revision recorded for the cluster; null before the first batch. */
  position(options?: AbortOptions): Promise<bigint | null>;
  /**
   * Appends a batch if it starts after `expected`, in one transaction.
   * @returns "appended", or "stale" (another projector was faster; nothing changed).
   */
  append(
    expected: bigint | null,
    batch: AuditBatch,
    options?: AbortOptions,
  ): Promise<"appended" | "stale">;
}
