import {
  type ClusterId,
  LIMITS,
  type NodeId,
  type PeerId,
  type Receipt,
  type RefusalReason,
  refusedMessageHash,
  signReceipt,
} from "@quorate/core";
import type {
  AbortOptions,
  Clock,
  Logger,
  MetricsFactory,
  TallyStore,
  VoteSigner,
} from "@quorate/ports";
import { RECEIPT_BOUNDS, ReceiptBudget } from "./receipt-budget.ts";
import { type ReceiptMetrics, receiptMetrics } from "./receipt-metrics.ts";
import type { Refusal, RefusalSink } from "./refusal.ts";
import type { RefusedMessages } from "./refusal-tally.ts";

export interface ReceiptBookOptions {
  readonly clusterId: ClusterId;
  readonly nodeId: NodeId;
  /** Of the signer's key. */
  readonly peerId: PeerId;
}

export interface ReceiptBookDependencies {
  readonly store: Pick<TallyStore, "recordReceipts">;
  readonly signer: VoteSigner;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: MetricsFactory;
}

/** How often the last receipts are written at `stop`, and the pause after a failure, in ms: a store's hiccup passes, and a shutdown is not held up. */
const LAST_ROUNDS = 3;
const LAST_PAUSE_MS = 500;

/**
 * Gives every refused message a signed receipt (I9): one of its own while the peer's budget lasts, else a
 * share in an aggregated one. The counts of all receipts together are the number of refused messages, always:
 * while the store is away refusals are counted into ever longer windows, and none is dropped.
 */
export class ReceiptBook implements RefusalSink {
  readonly #options: ReceiptBookOptions;
  readonly #deps: ReceiptBookDependencies;
  readonly #budget: ReceiptBudget;
  readonly #runStartedAtMs: number;
  readonly #metrics: ReceiptMetrics;
  readonly #running = new AbortController();
  #sequence = 0;
  /** Messages not yet in the metric: a label look-up for each would cost more than all the rest. */
  readonly #uncounted = new Map<RefusalReason, number>();
  #uncountedAggregated = 0;
  #windowEndsMs: number;
  /** Closed windows whose receipts are not signed yet. */
  #closed: RefusedMessages[] = [];
  /** Oldest first. */
  readonly #unwritten: Receipt[] = [];
  /** What is being written. Kept until it is known to be: a repeated write must be the same. */
  #group: readonly Receipt[] = [];
  #failures = 0;
  #retryAtMs = Number.NEGATIVE_INFINITY;
  /** Oldest first. */
  readonly #recent: Receipt[] = [];
  #loop: Promise<void> | null = null;
  #stopped: Promise<void> | null = null;
  #ended = false;

  constructor(options: ReceiptBookOptions, dependencies: ReceiptBookDependencies) {
    const { clock, metrics } = dependencies;
    const { clusterId, nodeId, peerId } = options;
    // Nothing else that the object may hold belongs into a receipt.
    this.#options = { clusterId, nodeId, peerId };
    this.#deps = dependencies;
    this.#budget = new ReceiptBudget(options.peerId, clock.monotonicMs());
    this.#runStartedAtMs = Math.floor(clock.nowMs());
    this.#windowEndsMs = clock.monotonicMs() + RECEIPT_BOUNDS.windowMs;
    this.#metrics = receiptMetrics(metrics, () => this.#unwritten.length);
  }

  /**
   * Takes note of a refusal. Synchronous, never throws, and cheap: what is beyond its budget is only counted.
   * @param refusal `count` is the number of messages it stands for, 1 by default.
   * @returns the signed receipt, or null when the refusal will be part of an aggregated one.
   */
  refuse(refusal: Refusal & { readonly count?: number }): Receipt | null {
    const { clock } = this.#deps;
    const { reason, count: given } = refusal;
    const count = given !== undefined && Number.isSafeInteger(given) && given > 1 ? given : 1;
    const atMs = Math.floor(clock.nowMs());
    const nowMs = clock.monotonicMs();
    this.#uncounted.set(reason, (this.#uncounted.get(reason) ?? 0) + count);
    // Nobody will do it later.
    if (this.#ended) this.#countMetrics();
    const room = this.#unwritten.length < RECEIPT_BOUNDS.unwrittenMax;
    if (room && this.#budget.take(refusal, nowMs)) {
      const messageHash = refusedMessageHash(refusal.bytes);
      const { txId, voter, author, forwarder } = refusal;
      const times = { firstAtMs: atMs, lastAtMs: atMs };
      const own = { reason, count, ...times, messageHash, txId, voter, author, forwarder };
      const receipt = this.#trySign(own, atMs);
      if (receipt !== null) return receipt;
    }
    if (this.#ended) {
      this.#metrics.lost.inc({}, count);
      return null;
    }
    this.#uncountedAggregated += count;
    this.#budget.count(refusal, count, atMs, nowMs);
    return null;
  }

  /** This run's newest receipts, newest first; what the store does not have yet is among them. */
  recent(limit: number): readonly Receipt[] {
    return limit < 1 ? [] : this.#recent.slice(-limit).reverse();
  }

  /** Writes until the signal aborts, or `stop`. What was refused before is written too. */
  run({ signal }: { readonly signal: AbortSignal }): Promise<void> {
    this.#loop ??= this.#writeUntil(AbortSignal.any([signal, this.#running.signal]));
    return this.#loop;
  }

  /**
   * Signs and writes what is left, and is to be called when nothing is refused any more but before the store stops.
   * Later refusals still get their receipt, which then is in nobody's hands but the caller's.
   */
  stop(options: AbortOptions = {}): Promise<void> {
    this.#stopped ??= this.#finish(options);
    return this.#stopped;
  }

  async #writeUntil(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        await this.#deps.clock.sleep(RECEIPT_BOUNDS.flushMs, { signal });
        await this.#flush(signal);
      } catch (error) {
        if (signal.aborted) return;
        this.#deps.logger.error("receipts were not flushed, it is tried again", { error });
      }
    }
  }

  async #flush(signal: AbortSignal): Promise<void> {
    const { clock } = this.#deps;
    this.#countMetrics();
    const room = this.#unwritten.length < RECEIPT_BOUNDS.unwrittenMax;
    if (this.#closed.length === 0 && clock.monotonicMs() >= this.#windowEndsMs) this.#closeWindow();
    if (room) this.#signClosed(RECEIPT_BOUNDS.signedPerFlushMax);
    if (clock.monotonicMs() < this.#retryAtMs) return;
    try {
      await this.#writeAll(signal);
    } catch (error) {
      if (!signal.aborted) this.#putOff(error);
    }
  }

  #putOff(error: unknown): void {
    const { clock, logger } = this.#deps;
    const pauseMs = RECEIPT_BOUNDS.flushMs * 2 ** this.#failures;
    this.#retryAtMs = clock.monotonicMs() + Math.min(pauseMs, RECEIPT_BOUNDS.retryMsMax);
    // Once an outage, not once an attempt.
    if (this.#failures === 0)
      logger.warn("receipts can't be written; they are kept here and tried again", { error });
    // More would overflow to infinity some day.
    this.#failures = Math.min(this.#failures + 1, 16);
  }

  #closeWindow(): void {
    this.#windowEndsMs = this.#deps.clock.monotonicMs() + RECEIPT_BOUNDS.windowMs;
    this.#closed.push(...this.#budget.close());
  }

  #signClosed(most: number): void {
    const nowMs = Math.floor(this.#deps.clock.nowMs());
    for (let signed = 0; signed < most; signed++) {
      const [next] = this.#closed;
      if (next === undefined || this.#trySign(next, nowMs) === null) return;
      this.#closed.shift();
    }
  }

  /** @returns null when the signer fails: then nothing has happened. */
  #trySign(messages: RefusedMessages, issuedAtMs: number): Receipt | null {
    const { signer, logger } = this.#deps;
    const place = { sequence: this.#sequence + 1, runStartedAtMs: this.#runStartedAtMs };
    let receipt: Receipt;
    try {
      receipt = signReceipt({ ...this.#options, ...place, issuedAtMs, ...messages }, (bytes) =>
        signer.sign(bytes),
      );
    } catch (error) {
      logger.error("a receipt was not signed, its messages are counted into another", { error });
      return null;
    }
    this.#sequence++;
    this.#recent.push(receipt);
    if (this.#recent.length > RECEIPT_BOUNDS.recentMax) this.#recent.shift();
    if (this.#ended) this.#metrics.lost.inc({}, receipt.count);
    else this.#unwritten.push(receipt);
    return receipt;
  }

  /** Idempotent by the sequence numbers: a write whose end is unknown is repeated as it was. */
  async #writeAll(signal: AbortSignal | undefined): Promise<void> {
    const { store, logger } = this.#deps;
    while (this.#unwritten.length > 0) {
      if (this.#group.length === 0)
        this.#group = this.#unwritten.slice(0, LIMITS.receiptsPerWriteMax);
      await store.recordReceipts(this.#group, { signal });
      this.#unwritten.splice(0, this.#group.length);
      this.#group = [];
      if (this.#failures > 0) logger.info("receipts are written again", {});
      this.#failures = 0;
      this.#retryAtMs = Number.NEGATIVE_INFINITY;
    }
  }

  async #finish({ signal }: AbortOptions): Promise<void> {
    const { clock, logger } = this.#deps;
    this.#running.abort(new Error("the receipt book stops"));
    await this.#loop;
    for (let round = 1; round <= LAST_ROUNDS; round++) {
      // Again each round: something may have been refused while the round before was being written.
      this.#closeWindow();
      this.#signClosed(Number.POSITIVE_INFINITY);
      if (this.#unwritten.length === 0) break;
      try {
        await this.#writeAll(signal);
      } catch (error) {
        logger.warn("the last receipts were not written", { error, round });
        if (signal?.aborted === true || round === LAST_ROUNDS) break;
        await clock.sleep(LAST_PAUSE_MS, { signal }).catch(() => undefined);
      }
    }
    this.#ended = true;
    this.#closeWindow();
    const left = [...this.#unwritten, ...this.#closed];
    const messages = left.reduce((sum, { count }) => sum + count, 0);
    this.#metrics.lost.inc({}, messages);
    this.#countMetrics();
    if (messages > 0) logger.error("refused messages have no receipt in the store", { messages });
  }

  #countMetrics(): void {
    for (const [reason, count] of this.#uncounted) this.#metrics.issued.inc({ reason }, count);
    this.#uncounted.clear();
    if (this.#uncountedAggregated > 0) this.#metrics.aggregated.inc({}, this.#uncountedAggregated);
    this.#uncountedAggregated = 0;
  }
}
