import {
  type AttemptKind,
  assert,
  isLiveSlot,
  type SlotState,
  type SubmissionState,
  slotMayMove,
  submissionMayMove,
  type TxId,
  type Value,
} from "@quorate/core";
import {
  type AbortOptions,
  type Attempt,
  type FencedOutcome,
  type Hex,
  type NewSubmission,
  type RecordedEvent,
  type RecordItem,
  type Sender,
  type SenderLease,
  type SignedTransaction,
  type Slot,
  type SlotTransition,
  StoreError,
  type Submission,
  type SubmissionStore,
} from "@quorate/ports";

export interface MemorySubmissionStoreOptions {
  /** Stands for the database's clock, in ms. */
  readonly nowMs: () => number;
  /** Whether the leader epoch goes unchecked, for tests of tests: what breaks then must be noticed. */
  readonly unfenced?: boolean;
  /**
   * Faults, for simulations: `before` may reject (nothing has happened), `after` may
   * reject (it has happened and the reply is lost). Either may also wait.
   */
  readonly faults?: {
    readonly before?: (operation: keyof SubmissionStore) => void | Promise<void>;
    readonly after?: (operation: keyof SubmissionStore) => void | Promise<void>;
  };
}

/** One line of the operator's log: what a person, or a freeze, did. */
export interface OperatorLogEntry {
  readonly atMs: number;
  readonly action: "RELEASE" | "THAW" | "FREEZE";
  /** A transaction id, or `chainId/address` of a sender. */
  readonly subject: string;
  /** Null for a freeze: a program may do that, too. */
  readonly by: string | null;
  readonly reason: string;
}

export interface SenderRow {
  epoch: bigint;
  nextNonce: bigint;
  frozen: { readonly reason: string; readonly sinceMs: number } | null;
  importedThroughBlock: bigint | null;
  historyChecked: boolean;
  historyDiffers: boolean;
}

export interface SubmissionRow extends NewSubmission {
  readonly chainId: number;
  /** Order of arrival. */
  readonly seq: number;
  readonly queuedAtMs: number;
  state: SubmissionState;
  slot: SlotRow | null;
  tries: number;
  reason: string | null;
  finalizedAtMs: number | null;
  finalizedBlock: bigint | null;
  finalizedTx: Hex | null;
  confirmedAtMs: number | null;
  archivedAtMs: number | null;
}

export interface SlotRow {
  readonly sender: Sender;
  readonly nonce: bigint;
  readonly gasLimit: bigint;
  readonly items: readonly RecordItem[];
  readonly attempts: { row: Attempt; sentCount: number }[];
  /** `order` is that of all slots together. */
  readonly history: { readonly order: number; readonly transition: SlotTransition }[];
  state: SlotState;
  included: Slot["included"];
}

export type NewAttempt = SignedTransaction &
  Pick<Attempt, "kind" | "maxFeePerGasWei" | "maxPriorityFeePerGasWei">;

/** A request that no state of the database makes right: a bug in the caller. */
export function refused(message: string): StoreError {
  return new StoreError("REFUSED", message, { retryable: false });
}

export function senderKey({ chainId, address }: Sender): string {
  return `${chainId}/${address}`;
}

export function slotKey(sender: Sender, nonce: bigint): string {
  return `${senderKey(sender)}/${nonce}`;
}

export function isOpen(state: SubmissionState): boolean {
  return state === "QUEUED" || state === "ASSIGNED" || state === "INCLUDED";
}

/** The rows of the database in memory, and the steps that several calls share. */
export class SubmissionTables {
  readonly options: MemorySubmissionStoreOptions;
  readonly senders = new Map<string, SenderRow>();
  /** The active ones, in order of arrival. */
  readonly submissions = new Map<TxId, SubmissionRow>();
  readonly archive = new Map<TxId, SubmissionRow>();
  readonly tombstones = new Map<TxId, Value>();
  /** Of active and archived submissions. */
  readonly keys = new Map<Hex, SubmissionRow>();
  /** What the contract holds and no submission explains, by chain and key. */
  readonly chainRecords = new Map<string, RecordedEvent>();
  readonly slots = new Map<string, SlotRow>();
  readonly attempts = new Map<Hex, SlotRow>();
  readonly operatorLog: OperatorLogEntry[] = [];
  #tail: Promise<unknown> = Promise.resolve();
  #sequence = 0;

  constructor(options: MemorySubmissionStoreOptions) {
    this.options = options;
  }

  /** One call: faults around it, and nothing else running meanwhile. */
  run<T>(
    operation: keyof SubmissionStore,
    { signal }: AbortOptions,
    body: () => T | Promise<T>,
  ): Promise<T> {
    const result = this.#tail.then(async () => {
      signal?.throwIfAborted();
      await this.options.faults?.before?.(operation);
      signal?.throwIfAborted();
      const value = await body();
      await this.options.faults?.after?.(operation);
      return value;
    });
    this.#tail = result.catch(() => undefined);
    return result;
  }

  fenced(
    operation: keyof SubmissionStore,
    lease: SenderLease,
    options: AbortOptions,
    body: (sender: SenderRow) => void,
  ): Promise<FencedOutcome> {
    return this.run(operation, options, () => {
      const sender = this.held(lease);
      if (sender === null) return "fenced";
      body(sender);
      return "done";
    });
  }

  held(lease: SenderLease): SenderRow | null {
    const row = this.senders.get(senderKey(lease));
    const holds = row?.epoch === lease.leaderEpoch || this.options.unfenced === true;
    return row !== undefined && holds ? row : null;
  }

  nextSequence(): number {
    this.#sequence += 1;
    return this.#sequence;
  }

  submission(txId: TxId): SubmissionRow {
    const row = this.submissions.get(txId);
    if (row === undefined) throw refused(`there is no submission ${txId}`);
    return row;
  }

  /** @param reason of QUARANTINED and ABORTED only */
  move(row: SubmissionRow, to: SubmissionState, reason: string | null = null): void {
    assert(submissionMayMove(row.state, to), `submission may not move from ${row.state} to ${to}`);
    assert(
      to !== "QUEUED" || row.slot === null || !isLiveSlot(row.slot.state),
      "a submission is queued again only when the nonce it had is final",
    );
    assert(
      (to === "QUARANTINED" || to === "ABORTED") === (reason !== null),
      "a reason is given exactly when a submission is quarantined or aborted",
    );
    row.state = to;
    row.reason = reason;
  }

  finalize(row: SubmissionRow, blockNumber: bigint | null, txHash: Hex | null): void {
    this.move(row, "FINALIZED");
    row.finalizedAtMs = this.options.nowMs();
    row.finalizedBlock = blockNumber;
    row.finalizedTx = txHash;
  }

  requeue(row: SubmissionRow): void {
    this.move(row, "QUEUED");
    row.slot = null;
  }

  moveSlot(
    slot: SlotRow,
    to: SlotState,
    lease: SenderLease,
    reason: string,
    blockNumber: bigint | null = null,
  ): void {
    assert(slotMayMove(slot.state, to), `slot may not move from ${slot.state} to ${to}`);
    this.#record(slot, slot.state, to, lease, reason, blockNumber);
    slot.state = to;
  }

  openSlot(
    lease: SenderLease,
    slot: Pick<SlotRow, "nonce" | "items" | "gasLimit" | "state">,
    reason: string,
  ): SlotRow {
    const { chainId, address } = lease;
    const row: SlotRow = {
      ...slot,
      sender: { chainId, address },
      attempts: [],
      history: [],
      included: null,
    };
    this.#record(row, null, row.state, lease, reason, null);
    this.slots.set(slotKey(lease, slot.nonce), row);
    return row;
  }

  #record(
    slot: SlotRow,
    from: SlotState | null,
    to: SlotState,
    { leaderEpoch }: SenderLease,
    reason: string,
    blockNumber: bigint | null,
  ): void {
    const atMs = this.options.nowMs();
    const { nonce } = slot;
    const transition = { nonce, from, to, leaderEpoch, blockNumber, reason, atMs };
    slot.history.push({ order: this.nextSequence(), transition });
  }

  addAttempt(slot: SlotRow, attempt: NewAttempt): void {
    const { hash, kind, maxFeePerGasWei, maxPriorityFeePerGasWei } = attempt;
    const row: Attempt = {
      hash,
      raw: Uint8Array.from(attempt.raw),
      kind,
      maxFeePerGasWei,
      maxPriorityFeePerGasWei,
      createdAtMs: this.options.nowMs(),
      sentCount: 0,
    };
    slot.attempts.push({ row, sentCount: 0 });
    this.attempts.set(hash, slot);
  }

  slotsOf(sender: Sender): readonly SlotRow[] {
    const key = senderKey(sender);
    return [...this.slots.values()]
      .filter((slot) => senderKey(slot.sender) === key)
      .sort((a, b) => (a.nonce < b.nonce ? -1 : 1));
  }

  submissionsOf(slot: SlotRow): readonly SubmissionRow[] {
    return [...this.submissions.values()].filter((row) => row.slot === slot);
  }

  log(entry: Omit<OperatorLogEntry, "atMs">): void {
    this.operatorLog.push({ ...entry, atMs: this.options.nowMs() });
  }
}

export function carriesBatch(kind: AttemptKind): boolean {
  return kind === "ORIGINAL" || kind === "BUMP";
}

/** A copy: what a caller holds does not change when the store does. */
export function slotOf(slot: SlotRow): Slot {
  return {
    nonce: slot.nonce,
    state: slot.state,
    gasLimit: slot.gasLimit,
    items: slot.items.map(({ txId, value }) => ({ txId, value })),
    attempts: slot.attempts.map(({ row, sentCount }) => ({
      ...row,
      raw: Uint8Array.from(row.raw),
      sentCount,
    })),
    included: slot.state === "INCLUDED" ? slot.included : null,
  };
}

export function submissionOf(row: SubmissionRow): Submission {
  const { txId, key, value, epoch, decisionRevision, state, tries, queuedAtMs } = row;
  const { finalizedAtMs, confirmedAtMs, reason, archivedAtMs } = row;
  const included = state === "INCLUDED" ? row.slot?.included : null;
  return {
    txId,
    key,
    value,
    epoch,
    decisionRevision,
    state,
    nonce: row.slot?.nonce ?? null,
    txHash: state === "FINALIZED" ? row.finalizedTx : (included?.hash ?? null),
    blockNumber: state === "FINALIZED" ? row.finalizedBlock : (included?.blockNumber ?? null),
    tries,
    queuedAtMs,
    finalizedAtMs,
    confirmedAtMs,
    reason,
    archivedAtMs,
  };
}
