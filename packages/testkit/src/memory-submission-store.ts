import {
  type AttemptKind,
  assert,
  equalBytes,
  LIMITS,
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
  type EnqueueOutcome,
  type FencedOutcome,
  type Hex,
  type NewSubmission,
  type RecordItem,
  type Sender,
  type SenderLease,
  type SignedTransaction,
  type Slot,
  StoreError,
  type Submission,
  type SubmissionStore,
} from "@quorate/ports";

export interface MemorySubmissionStoreOptions {
  /** Stands for the database's clock, in ms. */
  readonly nowMs: () => number;
  /**
   * Faults, for simulations: `before` may reject (nothing has happened), `after` may
   * reject (it has happened and the reply is lost). Either may also wait.
   */
  readonly faults?: {
    readonly before?: (operation: keyof SubmissionStore) => void | Promise<void>;
    readonly after?: (operation: keyof SubmissionStore) => void | Promise<void>;
  };
}

/** The store, and what only an operator does to the database. */
export interface MemorySubmissionStore extends SubmissionStore {
  /** Stops or resumes the taking of nonces. False when there is no such sender. */
  setSenderFrozen(sender: Sender, frozen: boolean): boolean;
  /** Removes a confirmed submission, as retention does; its tombstone stays. */
  archive(txId: TxId): void;
}

interface SenderRow {
  epoch: bigint;
  nextNonce: bigint;
  frozen: boolean;
}

interface SubmissionRow extends NewSubmission {
  readonly chainId: number;
  readonly queuedAtMs: number;
  state: SubmissionState;
  slot: SlotRow | null;
  finalizedAtMs: number | null;
  finalizedBlock: bigint | null;
  finalizedTx: Hex | null;
  confirmed: boolean;
}

interface SlotRow {
  readonly sender: Sender;
  readonly nonce: bigint;
  readonly gasLimit: bigint;
  readonly items: readonly RecordItem[];
  readonly attempts: { row: Attempt; sentCount: number }[];
  state: SlotState;
  included: Slot["included"];
}

type NewAttempt = SignedTransaction &
  Pick<Attempt, "kind" | "maxFeePerGasWei" | "maxPriorityFeePerGasWei">;

const GAPFILL_GAS_LIMIT = 21_000n;

function refused(message: string): StoreError {
  return new StoreError("REFUSED", message, { retryable: false });
}

function senderKey({ chainId, address }: Sender): string {
  return `${chainId}/${address}`;
}

function slotKey(sender: Sender, nonce: bigint): string {
  return `${senderKey(sender)}/${nonce}`;
}

function isFinal(state: SlotState): boolean {
  return state !== "SIGNED" && state !== "INCLUDED";
}

function isOpen(state: SubmissionState): boolean {
  return state === "QUEUED" || state === "ASSIGNED" || state === "INCLUDED";
}

/**
 * A SubmissionStore in memory, with the semantics of the one in PostgreSQL: calls
 * that change something run one after another, each whole or not at all. It outlives
 * the process that a simulation crashes, as a database does; give the same object to
 * the next.
 * @see spec §8.1
 */
export function createMemorySubmissionStore(
  options: MemorySubmissionStoreOptions,
): MemorySubmissionStore {
  return new Memory(options);
}

class Memory implements MemorySubmissionStore {
  readonly #options: MemorySubmissionStoreOptions;
  readonly #senders = new Map<string, SenderRow>();
  /** In order of arrival. */
  readonly #submissions = new Map<TxId, SubmissionRow>();
  readonly #tombstones = new Map<TxId, Value>();
  readonly #keys = new Set<Hex>();
  readonly #slots = new Map<string, SlotRow>();
  readonly #attempts = new Map<Hex, SlotRow>();
  #tail: Promise<unknown> = Promise.resolve();

  constructor(options: MemorySubmissionStoreOptions) {
    this.#options = options;
  }

  /** One call: faults around it, and nothing else running meanwhile. */
  #run<T>(
    operation: keyof SubmissionStore,
    { signal }: AbortOptions,
    body: () => T | Promise<T>,
  ): Promise<T> {
    const result = this.#tail.then(async () => {
      signal?.throwIfAborted();
      await this.#options.faults?.before?.(operation);
      signal?.throwIfAborted();
      const value = await body();
      await this.#options.faults?.after?.(operation);
      return value;
    });
    this.#tail = result.catch(() => undefined);
    return result;
  }

  #fenced(
    operation: keyof SubmissionStore,
    lease: SenderLease,
    options: AbortOptions,
    body: () => void,
  ): Promise<FencedOutcome> {
    return this.#run(operation, options, () => {
      if (this.#held(lease) === null) return "fenced";
      body();
      return "done";
    });
  }

  #held(lease: SenderLease): SenderRow | null {
    const row = this.#senders.get(senderKey(lease));
    return row !== undefined && row.epoch === lease.leaderEpoch ? row : null;
  }

  becomeLeader(
    sender: Sender,
    nextNonceFloor: bigint,
    options: AbortOptions = {},
  ): Promise<SenderLease> {
    return this.#run("becomeLeader", options, () => {
      const row = this.#senders.get(senderKey(sender)) ?? {
        epoch: 0n,
        nextNonce: nextNonceFloor,
        frozen: false,
      };
      row.epoch += 1n;
      if (nextNonceFloor > row.nextNonce) row.nextNonce = nextNonceFloor;
      this.#senders.set(senderKey(sender), row);
      return { chainId: sender.chainId, address: sender.address, leaderEpoch: row.epoch };
    });
  }

  isLeader(lease: SenderLease, options: AbortOptions = {}): Promise<boolean> {
    return this.#run("isLeader", options, () => this.#held(lease) !== null);
  }

  enqueue(
    submissions: readonly NewSubmission[],
    sender: Sender,
    options: AbortOptions = {},
  ): Promise<readonly EnqueueOutcome[]> {
    return this.#run("enqueue", options, () => {
      this.#checkKeys(submissions);
      return submissions.map((item) => this.#enqueueOne(item, sender));
    });
  }

  /** Before anything changes: a key that stands for another id refuses the whole call. */
  #checkKeys(submissions: readonly NewSubmission[]): void {
    const keys = new Map<Hex, TxId>();
    for (const { txId, key } of submissions) {
      if (this.#tombstones.has(txId)) continue;
      if (this.#keys.has(key) || (keys.get(key) ?? txId) !== txId) {
        throw refused(`key ${key} belongs to another transaction id than ${txId}`);
      }
      keys.set(key, txId);
    }
  }

  #enqueueOne(item: NewSubmission, sender: Sender): EnqueueOutcome {
    const storedValue = this.#tombstones.get(item.txId);
    const row = this.#submissions.get(item.txId);
    if (storedValue === undefined) {
      this.#tombstones.set(item.txId, item.value);
      this.#keys.add(item.key);
      this.#submissions.set(item.txId, {
        ...item,
        chainId: sender.chainId,
        queuedAtMs: this.#options.nowMs(),
        state: "QUEUED",
        slot: null,
        finalizedAtMs: null,
        finalizedBlock: null,
        finalizedTx: null,
        confirmed: false,
      });
      return { kind: "queued" };
    }
    if (storedValue === item.value) return { kind: "exists", state: row?.state ?? "FINALIZED" };
    if (row !== undefined && isOpen(row.state)) this.#move(row, "QUARANTINED");
    return { kind: "conflict", storedValue };
  }

  #move(row: SubmissionRow, to: SubmissionState): void {
    assert(submissionMayMove(row.state, to), `submission may not move from ${row.state} to ${to}`);
    row.state = to;
  }

  #moveSlot(slot: SlotRow, to: SlotState): void {
    assert(slotMayMove(slot.state, to), `slot may not move from ${slot.state} to ${to}`);
    slot.state = to;
  }

  peekQueued(
    sender: Sender,
    limit: number,
    options: AbortOptions = {},
  ): Promise<readonly RecordItem[]> {
    return this.#run("peekQueued", options, () =>
      [...this.#submissions.values()]
        .filter((row) => row.state === "QUEUED" && row.chainId === sender.chainId)
        .slice(0, limit)
        .map(({ txId, value }) => ({ txId, value })),
    );
  }

  assign(
    lease: SenderLease,
    request: Parameters<SubmissionStore["assign"]>[1],
    options: AbortOptions = {},
  ): ReturnType<SubmissionStore["assign"]> {
    assert(request.items.length <= LIMITS.chainBatchMax, "a batch has at most chainBatchMax items");
    return this.#run<Awaited<ReturnType<SubmissionStore["assign"]>>>(
      "assign",
      options,
      async () => {
        const sender = this.#held(lease);
        if (sender === null) return { kind: "fenced" };
        if (sender.frozen) return { kind: "frozen" };
        const unmined = this.#slotsOf(lease).filter(({ state }) => state === "SIGNED");
        if (unmined.length >= request.windowMax) return { kind: "window-full" };
        const rows = this.#claimable(lease, request.items);
        if (rows.length === 0) return { kind: "nothing-queued" };
        const nonce = sender.nextNonce;
        const items = rows.map(({ txId, value }) => ({ txId, value }));
        const signed = await request.sign(nonce, items);
        options.signal?.throwIfAborted();
        // From here to the end nothing waits and nothing throws: the commit.
        const slot = this.#openSlot(lease, nonce, items, request.gasLimit);
        this.#addAttempt(slot, { ...signed, kind: "ORIGINAL" });
        for (const row of rows) {
          this.#move(row, "ASSIGNED");
          row.slot = slot;
        }
        sender.nextNonce += 1n;
        return { kind: "assigned", slot: slotOf(slot) };
      },
    );
  }

  #claimable(lease: SenderLease, wanted: readonly RecordItem[]): readonly SubmissionRow[] {
    const rows = new Set<SubmissionRow>();
    for (const { txId, value } of wanted) {
      const row = this.#submissions.get(txId);
      if (row?.state === "QUEUED" && row.value === value && row.chainId === lease.chainId) {
        rows.add(row);
      }
    }
    return [...rows];
  }

  #openSlot(
    sender: Sender,
    nonce: bigint,
    items: readonly RecordItem[],
    gasLimit: bigint,
  ): SlotRow {
    const { chainId, address } = sender;
    const slot: SlotRow = {
      sender: { chainId, address },
      nonce,
      gasLimit,
      items,
      attempts: [],
      state: "SIGNED",
      included: null,
    };
    this.#slots.set(slotKey(sender, nonce), slot);
    return slot;
  }

  #addAttempt(slot: SlotRow, attempt: NewAttempt): void {
    const { hash, kind, maxFeePerGasWei, maxPriorityFeePerGasWei } = attempt;
    const row: Attempt = {
      hash,
      raw: Uint8Array.from(attempt.raw),
      kind,
      maxFeePerGasWei,
      maxPriorityFeePerGasWei,
      createdAtMs: this.#options.nowMs(),
      sentCount: 0,
    };
    slot.attempts.push({ row, sentCount: 0 });
    this.#attempts.set(hash, slot);
  }

  addAttempt(
    lease: SenderLease,
    nonce: bigint,
    attempt: Parameters<SubmissionStore["addAttempt"]>[2],
    options: AbortOptions = {},
  ): Promise<FencedOutcome> {
    return this.#fenced("addAttempt", lease, options, () => {
      const owner = this.#attempts.get(attempt.hash);
      if (owner !== undefined) {
        const stored = owner.attempts.find(({ row }) => row.hash === attempt.hash)?.row.raw;
        const mine = owner === this.#slots.get(slotKey(lease, nonce));
        if (mine && stored !== undefined && equalBytes(stored, attempt.raw)) return;
        throw refused(`attempt ${attempt.hash} is stored with other bytes or another nonce`);
      }
      const slot = this.#slots.get(slotKey(lease, nonce)) ?? this.#openGap(lease, nonce, attempt);
      if (isFinal(slot.state)) throw refused(`slot ${nonce} is final and takes no more attempts`);
      this.#addAttempt(slot, attempt);
    });
  }

  #openGap(lease: SenderLease, nonce: bigint, { kind }: NewAttempt): SlotRow {
    if (kind !== "GAPFILL") throw refused(`nonce ${nonce} has no slot to add a ${kind} to`);
    const next = this.#senders.get(senderKey(lease))?.nextNonce ?? 0n;
    if (nonce >= next) throw refused(`nonce ${nonce} was never taken and is no gap`);
    return this.#openSlot(lease, nonce, [], GAPFILL_GAS_LIMIT);
  }

  liveSlots(sender: Sender, options: AbortOptions = {}): Promise<readonly Slot[]> {
    return this.#run("liveSlots", options, () =>
      this.#slotsOf(sender)
        .filter(({ state }) => !isFinal(state))
        .map(slotOf),
    );
  }

  #slotsOf(sender: Sender): readonly SlotRow[] {
    const key = senderKey(sender);
    return [...this.#slots.values()]
      .filter((slot) => senderKey(slot.sender) === key)
      .sort((a, b) => (a.nonce < b.nonce ? -1 : 1));
  }

  noteSent(hash: Hex, _outcome: string, options: AbortOptions = {}): Promise<void> {
    return this.#run("noteSent", options, () => {
      const attempt = this.#attempts.get(hash)?.attempts.find(({ row }) => row.hash === hash);
      if (attempt !== undefined) attempt.sentCount += 1;
    });
  }

  #slot(lease: SenderLease, nonce: bigint): SlotRow {
    const slot = this.#slots.get(slotKey(lease, nonce));
    if (slot === undefined) throw refused(`nonce ${nonce} has no slot`);
    return slot;
  }

  #submissionsOf(slot: SlotRow): readonly SubmissionRow[] {
    return [...this.#submissions.values()].filter((row) => row.slot === slot);
  }

  markIncluded(
    lease: SenderLease,
    nonce: bigint,
    inclusion: Parameters<SubmissionStore["markIncluded"]>[2],
    options: AbortOptions = {},
  ): Promise<FencedOutcome> {
    return this.#fenced("markIncluded", lease, options, () => {
      const slot = this.#slot(lease, nonce);
      const { hash, blockNumber, blockHash, status } = inclusion;
      if (isFinal(slot.state)) {
        if (slot.included?.hash === hash) return;
        throw refused(`slot ${nonce} is ${slot.state} and cannot be included by ${hash}`);
      }
      const mined = slot.attempts.find(({ row }) => row.hash === hash)?.row;
      if (mined === undefined) throw refused(`transaction ${hash} is no attempt of nonce ${nonce}`);
      this.#moveSlot(slot, "INCLUDED");
      slot.included = { hash, blockNumber, blockHash };
      const records = carriesBatch(mined.kind) && status === "success";
      const [from, to] = records
        ? (["ASSIGNED", "INCLUDED"] as const)
        : (["INCLUDED", "ASSIGNED"] as const);
      for (const row of this.#submissionsOf(slot)) if (row.state === from) this.#move(row, to);
    });
  }

  markReorged(
    lease: SenderLease,
    nonce: bigint,
    _reason: string,
    options: AbortOptions = {},
  ): Promise<FencedOutcome> {
    return this.#fenced("markReorged", lease, options, () => {
      const slot = this.#slot(lease, nonce);
      if (slot.state === "SIGNED") return;
      if (isFinal(slot.state))
        throw refused(`slot ${nonce} is ${slot.state}, which no reorg undoes`);
      this.#moveSlot(slot, "SIGNED");
      slot.included = null;
      for (const row of this.#submissionsOf(slot)) {
        if (row.state === "INCLUDED") this.#move(row, "ASSIGNED");
      }
    });
  }

  markFinalized(
    lease: SenderLease,
    nonce: bigint,
    final: Parameters<SubmissionStore["markFinalized"]>[2],
    options: AbortOptions = {},
  ): Promise<FencedOutcome> {
    return this.#fenced("markFinalized", lease, options, () => {
      const slot = this.#slot(lease, nonce);
      if (slot.state === final.state) return;
      if (isFinal(slot.state)) {
        throw refused(`slot ${nonce} is ${slot.state} and cannot become ${final.state}`);
      }
      const batch = new Set(slot.items.map(({ txId }) => txId));
      const outcomes = new Map(final.items.map((item) => [item.txId, item]));
      for (const txId of outcomes.keys()) {
        if (!batch.has(txId)) throw refused(`submission ${txId} is not in the batch of ${nonce}`);
      }
      const moving = this.#submissionsOf(slot).filter(({ state }) => isOpen(state));
      for (const { txId } of moving) {
        if (!outcomes.has(txId)) throw refused(`nothing is said of ${txId} in nonce ${nonce}`);
      }
      this.#moveSlot(slot, final.state);
      for (const row of moving) {
        const item = outcomes.get(row.txId);
        assert(item !== undefined, "checked above");
        if (item.outcome === "finalized") this.#finalize(row, final.blockNumber, item.txHash);
        else if (item.outcome === "quarantine") this.#move(row, "QUARANTINED");
        else this.#requeue(row);
      }
    });
  }

  #finalize(row: SubmissionRow, blockNumber: bigint | null, txHash: Hex | null): void {
    this.#move(row, "FINALIZED");
    row.finalizedAtMs = this.#options.nowMs();
    row.finalizedBlock = blockNumber;
    row.finalizedTx = txHash;
  }

  #requeue(row: SubmissionRow): void {
    // The state machine has no way from INCLUDED to QUEUED but through ASSIGNED.
    this.#move(row, "ASSIGNED");
    this.#move(row, "QUEUED");
    row.slot = null;
  }

  #submission(txId: TxId): SubmissionRow {
    const row = this.#submissions.get(txId);
    if (row === undefined) throw refused(`there is no submission ${txId}`);
    return row;
  }

  markAlreadyRecorded(
    lease: SenderLease,
    txId: TxId,
    blockNumber: bigint,
    options: AbortOptions = {},
  ): Promise<FencedOutcome> {
    return this.#fenced("markAlreadyRecorded", lease, options, () => {
      const row = this.#submission(txId);
      if (row.state === "FINALIZED") return;
      if (!isOpen(row.state)) throw refused(`submission ${txId} is ${row.state}`);
      this.#finalize(row, blockNumber, null);
    });
  }

  quarantine(
    lease: SenderLease,
    txId: TxId,
    _reason: string,
    options: AbortOptions = {},
  ): Promise<FencedOutcome> {
    return this.#fenced("quarantine", lease, options, () => {
      const row = this.#submission(txId);
      if (row.state === "QUARANTINED") return;
      if (!isOpen(row.state)) throw refused(`submission ${txId} is ${row.state}`);
      this.#move(row, "QUARANTINED");
    });
  }

  get(txId: TxId, options: AbortOptions = {}): Promise<Submission | null> {
    return this.#run("get", options, () => {
      const row = this.#submissions.get(txId);
      return row === undefined ? null : submissionOf(row);
    });
  }

  unconfirmed(limit: number, options: AbortOptions = {}): Promise<readonly Submission[]> {
    return this.#run("unconfirmed", options, () =>
      [...this.#submissions.values()]
        .filter((row) => row.state === "FINALIZED" && !row.confirmed)
        // A stable sort: equal times keep the order of arrival.
        .sort((a, b) => (a.finalizedAtMs ?? 0) - (b.finalizedAtMs ?? 0))
        .slice(0, limit)
        .map(submissionOf),
    );
  }

  markConfirmed(txIds: readonly TxId[], options: AbortOptions = {}): Promise<void> {
    return this.#run("markConfirmed", options, () => {
      for (const txId of txIds) {
        const row = this.#submissions.get(txId);
        if (row?.state === "FINALIZED") row.confirmed = true;
      }
    });
  }

  counts(options: AbortOptions = {}): Promise<Readonly<Record<SubmissionState, number>>> {
    return this.#run("counts", options, () => {
      const counts: Record<SubmissionState, number> = {
        QUEUED: 0,
        ASSIGNED: 0,
        INCLUDED: 0,
        FINALIZED: 0,
        ABORTED: 0,
        QUARANTINED: 0,
      };
      for (const { state } of this.#submissions.values()) counts[state] += 1;
      return counts;
    });
  }

  setSenderFrozen(sender: Sender, frozen: boolean): boolean {
    const row = this.#senders.get(senderKey(sender));
    if (row === undefined) return false;
    row.frozen = frozen;
    return true;
  }

  archive(txId: TxId): void {
    const row = this.#submission(txId);
    assert(row.confirmed, "only a confirmed submission may be archived");
    this.#submissions.delete(txId);
  }
}

function carriesBatch(kind: AttemptKind): boolean {
  return kind === "ORIGINAL" || kind === "BUMP";
}

/** A copy: what a caller holds does not change when the store does. */
function slotOf(slot: SlotRow): Slot {
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

function submissionOf(row: SubmissionRow): Submission {
  const { txId, key, value, epoch, decisionRevision, state, queuedAtMs, finalizedAtMs } = row;
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
    queuedAtMs,
    finalizedAtMs,
  };
}
