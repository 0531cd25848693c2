import type {
  AttemptKind,
  Epoch,
  EvmAddress,
  SlotState,
  SubmissionState,
  TxId,
  Value,
} from "@quorate/core";
import type { Hex, RecordItem, SignedTransaction } from "./chain.ts";
import type { AbortOptions } from "./lifecycle.ts";

export interface Sender {
  readonly chainId: number;
  readonly address: EvmAddress;
}

/** A leader's fencing number, given by PostgreSQL itself (an etcd revision can go backwards after a restore). */
export interface SenderLease extends Sender {
  readonly leaderEpoch: bigint;
}

export interface NewSubmission {
  readonly txId: TxId;
  /** The contract's key. */
  readonly key: Hex;
  readonly value: Value;
  /** The trustee set's epoch under which it was decided. */
  readonly epoch: Epoch;
  /** etcd revision of the write-once decision. */
  readonly decisionRevision: bigint;
}

export interface Submission extends NewSubmission {
  readonly state: SubmissionState;
  readonly nonce: bigint | null;
  readonly txHash: Hex | null;
  readonly blockNumber: bigint | null;
  readonly queuedAtMs: number;
  readonly finalizedAtMs: number | null;
}

export interface Attempt {
  readonly hash: Hex;
  /** The signed bytes as committed. Only these are ever sent. */
  readonly raw: Uint8Array;
  readonly kind: AttemptKind;
  readonly maxFeePerGasWei: bigint;
  readonly maxPriorityFeePerGasWei: bigint;
  readonly createdAtMs: number;
  readonly sentCount: number;
}

/** One nonce of one sender, with all that was ever signed for it (oldest first). */
export interface Slot {
  readonly nonce: bigint;
  readonly state: SlotState;
  readonly gasLimit: bigint;
  readonly items: readonly RecordItem[];
  readonly attempts: readonly Attempt[];
  readonly included: {
    readonly hash: Hex;
    readonly blockNumber: bigint;
    readonly blockHash: Hex;
  } | null;
}

export type EnqueueOutcome =
  | { readonly kind: "queued" }
  /** The same decision is already there, in whatever state. */
  | { readonly kind: "exists"; readonly state: SubmissionState }
  /** The same id with another value: the row is quarantined and a person must look. */
  | { readonly kind: "conflict"; readonly storedValue: Value };

export type FencedOutcome = "done" | "fenced";

export interface FinalizedItem {
  readonly txId: TxId;
  readonly outcome: "finalized" | "requeue" | "quarantine";
  /** The chain transaction that holds the record. Null with "requeue" and "quarantine". */
  readonly txHash: Hex | null;
}

/**
 * The submitter's durable memory. Every write that moves a nonce runs in one
 * transaction which locks the sender row and checks the leader epoch; a deposed
 * leader gets "fenced" and has changed nothing. Calls are idempotent: repeating
 * one that already took effect is a no-op. I/O failures reject with StoreError.
 * @see spec §8.1
 */
export interface SubmissionStore {
  /** Makes this process the leader for the sender: `epoch = epoch + 1`. Creates the sender row with `nextNonceFloor` or raises it to that; never lowers. */
  becomeLeader(
    sender: Sender,
    nextNonceFloor: bigint,
    options?: AbortOptions,
  ): Promise<SenderLease>;
  /** Whether the lease still holds: asked before every send. */
  isLeader(lease: SenderLease, options?: AbortOptions): Promise<boolean>;
  /** Inserts decided transactions as QUEUED for the sender's chain. One outcome per input, in order. */
  enqueue(
    submissions: readonly NewSubmission[],
    sender: Sender,
    options?: AbortOptions,
  ): Promise<readonly EnqueueOutcome[]>;
  /** The oldest QUEUED items, without claiming them (to simulate them first). */
  peekQueued(sender: Sender, limit: number, options?: AbortOptions): Promise<readonly RecordItem[]>;
  /**
   * The durable step before any send, in ONE transaction: lock sender, check epoch and window,
   * claim those of `items` that are still QUEUED, take the next nonce, call `sign`, store slot
   * and attempt, mark the items ASSIGNED, commit.
   * @param sign signs locally, without network; called at most once, with the nonce and exactly the items claimed.
   * @returns the slot as read back after the commit; "window-full", "nothing-queued" or "fenced" when nothing was changed.
   */
  assign(
    lease: SenderLease,
    request: {
      readonly items: readonly RecordItem[];
      readonly windowMax: number;
      readonly gasLimit: bigint;
      readonly sign: (
        nonce: bigint,
        items: readonly RecordItem[],
      ) => Promise<
        SignedTransaction & {
          readonly maxFeePerGasWei: bigint;
          readonly maxPriorityFeePerGasWei: bigint;
        }
      >;
    },
    options?: AbortOptions,
  ): Promise<
    | { readonly kind: "assigned"; readonly slot: Slot }
    | { readonly kind: "window-full" }
    | { readonly kind: "nothing-queued" }
    | { readonly kind: "frozen" }
    | { readonly kind: "fenced" }
  >;
  /** Stores another signed transaction for a nonce, before it is sent. */
  addAttempt(
    lease: SenderLease,
    nonce: bigint,
    attempt: SignedTransaction & {
      readonly kind: AttemptKind;
      readonly maxFeePerGasWei: bigint;
      readonly maxPriorityFeePerGasWei: bigint;
    },
    options?: AbortOptions,
  ): Promise<FencedOutcome>;
  /** Slots that are not final, lowest nonce first, with their attempts as committed. */
  liveSlots(sender: Sender, options?: AbortOptions): Promise<readonly Slot[]>;
  /** Notes that an attempt was sent. Advisory: losing it changes nothing. */
  noteSent(hash: Hex, outcome: string, options?: AbortOptions): Promise<void>;
  /** A receipt was read in a canonical block. */
  markIncluded(
    lease: SenderLease,
    nonce: bigint,
    inclusion: {
      readonly hash: Hex;
      readonly blockNumber: bigint;
      readonly blockHash: Hex;
      readonly status: "success" | "reverted";
    },
    options?: AbortOptions,
  ): Promise<FencedOutcome>;
  /** The block that held it is no longer canonical: back to SIGNED and ASSIGNED. */
  markReorged(
    lease: SenderLease,
    nonce: bigint,
    reason: string,
    options?: AbortOptions,
  ): Promise<FencedOutcome>;
  /** The nonce is final. `items` says for each transaction id what follows. */
  markFinalized(
    lease: SenderLease,
    nonce: bigint,
    final: {
      readonly state: Exclude<SlotState, "SIGNED" | "INCLUDED">;
      readonly blockNumber: bigint | null;
      readonly items: readonly FinalizedItem[];
    },
    options?: AbortOptions,
  ): Promise<FencedOutcome>;
  /** Settles a submission that the contract already holds with the same value, found before it was assigned. */
  markAlreadyRecorded(
    lease: SenderLease,
    txId: TxId,
    blockNumber: bigint,
    options?: AbortOptions,
  ): Promise<FencedOutcome>;
  /** Puts a submission out of reach until a person decides. */
  quarantine(
    lease: SenderLease,
    txId: TxId,
    reason: string,
    options?: AbortOptions,
  ): Promise<FencedOutcome>;
  get(txId: TxId, options?: AbortOptions): Promise<Submission | null>;
  /** Finalized submissions whose etcd status has not been confirmed yet, oldest first. */
  unconfirmed(limit: number, options?: AbortOptions): Promise<readonly Submission[]>;
  /** Notes that etcd says CONFIRMED. */
  markConfirmed(txIds: readonly TxId[], options?: AbortOptions): Promise<void>;
  counts(options?: AbortOptions): Promise<Readonly<Record<SubmissionState, number>>>;
}
