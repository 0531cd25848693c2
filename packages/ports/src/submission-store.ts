import type {
  AttemptKind,
  Epoch,
  EvmAddress,
  SlotState,
  SubmissionState,
  TxId,
  Value,
} from "@quorate/core";
import type { Hex, RecordedEvent, RecordItem, SignedTransaction } from "./chain.ts";
import type { AbortOptions } from "./lifecycle.ts";

export interface Sender {
  readonly chainId: number;
  readonly address: EvmAddress;
}

/** A leader's fencing number, given by PostgreSQL itself (an etcd revision can go backwards after a restore). */
export interface SenderLease extends Sender {
  readonly leaderEpoch: bigint;
}

/** What the database says of a sender. */
export interface SenderState extends Sender {
  readonly leaderEpoch: bigint;
  /** Every lower nonce was taken, or lies below a floor. */
  readonly nextNonce: bigint;
  /** While set, no nonce is taken; what was signed before goes on to finality. */
  readonly frozen: { readonly reason: string; readonly sinceMs: number } | null;
  /** The contract's events were imported through this block; null when they never were. */
  readonly importedThroughBlock: bigint | null;
  /**
   * Whether the database was held against the chain since it last had reason to be: false for a new sender, and again after
   * a freeze whose reason `mayThawItself` (a restore, a lost history). Until then no nonce is taken, frozen or not.
   */
  readonly historyChecked: boolean;
  /** Whether an import since the last `thaw` by a person found records that the database did not know. */
  readonly historyDiffers: boolean;
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
  /** How often it was queued again because its nonce ended without recording it. */
  readonly tries: number;
  readonly queuedAtMs: number;
  readonly finalizedAtMs: number | null;
  /** When etcd was seen to say CONFIRMED. */
  readonly confirmedAtMs: number | null;
  /** Why it is QUARANTINED or ABORTED; null otherwise. */
  readonly reason: string | null;
  /** Null while it is among the active ones. */
  readonly archivedAtMs: number | null;
}

/** One submission with every nonce it had and all that was signed for them, for a person. */
export interface SubmissionDetail {
  readonly submission: Submission;
  /** Oldest first; also slots that are final. */
  readonly slots: readonly Slot[];
  readonly history: readonly SlotTransition[];
}

export interface SlotTransition {
  readonly nonce: bigint;
  readonly from: SlotState | null;
  readonly to: SlotState;
  readonly leaderEpoch: bigint;
  readonly blockNumber: bigint | null;
  readonly reason: string | null;
  readonly atMs: number;
}

export interface SubmissionsPage {
  readonly submissions: readonly Submission[];
  /** Where the next page begins; null at the end. */
  readonly next: string | null;
}

/** What an import of the contract's events came to. Counted by event; all but `known` is a difference from what the database said. */
export interface ImportReport {
  /** The submission is FINALIZED with this value, or archived, or the event was imported before. */
  readonly known: number;
  /** A live nonce of ours holds it: following the chain will find it. */
  readonly inFlight: number;
  /** It was QUEUED and is FINALIZED now. */
  readonly settled: readonly TxId[];
  /** The submission has another value: it is QUARANTINED now, unless it was final. */
  readonly contradicted: readonly TxId[];
  /** No submission has this key: it is remembered, and one that comes is not sent. */
  readonly unknownKeys: readonly Hex[];
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
  /** The contract holds it with this value already (found by an import): FINALIZED at once, nothing will be sent. */
  | { readonly kind: "recorded"; readonly blockNumber: bigint }
  /** It was submitted long ago and is archived: refused, whatever its value. */
  | { readonly kind: "archived"; readonly storedValue: Value }
  /** The same id with another value, or the contract holds another: the row is quarantined and a person must look. */
  | { readonly kind: "conflict"; readonly storedValue: Value };

/** A person puts a quarantined submission back. */
export type ReleaseOutcome =
  | "released"
  | "unknown"
  | "not-quarantined"
  /** The nonce it was signed under is not final: its transaction may still be mined. */
  | "slot-live";

/** A nonce taken under the window's rules, or why not. */
export type TakeRefusal =
  | { readonly kind: "window-full" }
  | { readonly kind: "nothing-queued" }
  | { readonly kind: "frozen" }
  | { readonly kind: "fenced" };

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
  ): Promise<{ readonly kind: "assigned"; readonly slot: Slot } | TakeRefusal>;
  /**
   * As `assign`, without a signature: takes the nonce, claims the items (ASSIGNED) and stores the slot as RESERVED, for a
   * signer that must not be waited for inside a transaction. `addAttempt` with ORIGINAL then makes it SIGNED.
   */
  reserve(
    lease: SenderLease,
    request: {
      readonly items: readonly RecordItem[];
      readonly windowMax: number;
      readonly gasLimit: bigint;
    },
    options?: AbortOptions,
  ): Promise<{ readonly kind: "reserved"; readonly slot: Slot } | TakeRefusal>;
  /**
   * Stores another signed transaction for a nonce, before it is sent. ORIGINAL only for a RESERVED slot, which becomes
   * SIGNED, and only once; BUMP and CANCEL for one that is SIGNED or INCLUDED; GAPFILL for a nonce below the next one
   * that has no slot (which it makes) or a slot made by a GAPFILL before.
   */
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
  /** Nonces from `from` (included) below the sender's next one that have no slot at all, lowest first, at most `limit`. */
  gaps(
    sender: Sender,
    from: bigint,
    limit: number,
    options?: AbortOptions,
  ): Promise<readonly bigint[]>;
  /** Slots that are not final (RESERVED, SIGNED, INCLUDED), lowest nonce first, with their attempts as committed. */
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
      readonly state: Exclude<SlotState, "RESERVED" | "SIGNED" | "INCLUDED">;
      readonly blockNumber: bigint | null;
      readonly items: readonly FinalizedItem[];
      /** An item that was queued again so often already is quarantined instead. */
      readonly requeuesMax: number;
    },
    options?: AbortOptions,
  ): Promise<FencedOutcome>;
  /** Settles a QUEUED submission that the contract already holds with the same value. */
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
  /** QUEUED to ABORTED, for a decision that is ABORT after all. @returns those that moved; others were signed, final or unknown. */
  abortQueued(
    lease: SenderLease,
    txIds: readonly TxId[],
    reason: string,
    options?: AbortOptions,
  ): Promise<
    { readonly kind: "done"; readonly aborted: readonly TxId[] } | { readonly kind: "fenced" }
  >;
  /** A person's decision: QUARANTINED to QUEUED. Kept in the operator's log of the database. Idempotent. */
  release(txId: TxId, by: string, reason: string, options?: AbortOptions): Promise<ReleaseOutcome>;
  /** Notes that everything up to a final block was held against the chain: `historyChecked` becomes true. Idempotent. */
  markHistoryChecked(lease: SenderLease, options?: AbortOptions): Promise<FencedOutcome>;
  /** Raises the next nonce to `floor`, never lowers it: somebody else used what lies below. */
  raiseFloor(lease: SenderLease, floor: bigint, options?: AbortOptions): Promise<FencedOutcome>;
  /** Live slots of other senders on the same chain: nobody follows those while this one leads. */
  strandedSlots(sender: Sender, options?: AbortOptions): Promise<number>;
  senderState(sender: Sender, options?: AbortOptions): Promise<SenderState | null>;
  /** Stops the taking of nonces; with a reason that `mayThawItself`, `historyChecked` becomes false whatever reason stands already. Needs no lease: an operator, a restore and a leader that finds its history lost all may. @returns false when there is no such sender. */
  freeze(sender: Sender, reason: string, options?: AbortOptions): Promise<boolean>;
  /**
   * Resumes it. By a person (without `onlyIf`) it also accepts what differed: `historyDiffers` becomes false; `historyChecked` stays. Kept in the operator's log with who did it. @returns false when there is no such sender.
   * @param options `onlyIf`: nothing happens unless it is frozen for this very reason (a program must not undo a person's freeze)
   */
  thaw(
    sender: Sender,
    by: string,
    options?: AbortOptions & { readonly onlyIf?: string },
  ): Promise<boolean>;
  /**
   * Holds the contract's own events against the submissions, and remembers what is unknown, so that nothing on the chain
   * is ever sent again. Moves `importedThroughBlock` up to `throughBlock`, never down, and sets `historyDiffers` when
   * anything but `known` and `inFlight` was found, in the same transaction.
   * @param records all events of final blocks after the block imported last, in chain order
   */
  importRecords(
    lease: SenderLease,
    records: readonly RecordedEvent[],
    throughBlock: bigint,
    options?: AbortOptions,
  ): Promise<({ readonly kind: "done" } & ImportReport) | { readonly kind: "fenced" }>;
  /** Active submissions of the sender's chain, oldest first. @param page `after` is the `next` of the page before */
  list(
    page: {
      readonly states?: readonly SubmissionState[];
      readonly after: string | null;
      readonly limit: number;
    },
    options?: AbortOptions,
  ): Promise<SubmissionsPage>;
  detail(txId: TxId, options?: AbortOptions): Promise<SubmissionDetail | null>;
  /** Also finds an archived one. */
  get(txId: TxId, options?: AbortOptions): Promise<Submission | null>;
  /** Finalized submissions whose etcd status has not been confirmed yet, oldest first. */
  unconfirmed(limit: number, options?: AbortOptions): Promise<readonly Submission[]>;
  /** Notes that etcd says CONFIRMED. */
  markConfirmed(txIds: readonly TxId[], options?: AbortOptions): Promise<void>;
  counts(options?: AbortOptions): Promise<Readonly<Record<SubmissionState, number>>>;
}
