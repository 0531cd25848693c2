import type { TxId } from "@quorate/core";
import {
  type Chain,
  ChainError,
  type ChainSigner,
  type Clock,
  type FinalityMode,
  type FinalizedItem,
  type Logger,
  type SenderLease,
  type Slot,
  type SubmissionStore,
} from "@quorate/ports";
import type { SubmitterMetrics } from "./catalogue.ts";

export interface SenderOptions {
  /** Results in one chain transaction. */
  readonly batchMax: number;
  /** Unconfirmed nonces at once. */
  readonly windowMax: number;
  readonly finality: FinalityMode;
  /** A transaction that is not in a block is sent again after so many heads. */
  readonly resendHeads: number;
}

export interface SenderDependencies {
  readonly chain: Chain;
  readonly signer: ChainSigner;
  readonly submissions: SubmissionStore;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: SubmitterMetrics;
}

/**
 * Puts queued results on the chain. The order is the safety (R9): the signed bytes
 * are committed together with their nonce, read back, and only then sent; receipts,
 * counts and contract events at canonical blocks move state, an endpoint's words
 * never do.
 */
export class SubmissionSender {
  readonly #options: SenderOptions;
  readonly #deps: SenderDependencies;
  readonly #lease: SenderLease;
  readonly #since = new Map<TxId, { readonly queuedMs: number }>();
  readonly #sentAtHead = new Map<bigint, bigint>();
  #problem: string | null = null;

  constructor(lease: SenderLease, options: SenderOptions, dependencies: SenderDependencies) {
    this.#lease = lease;
    this.#options = options;
    this.#deps = dependencies;
  }

  /** Why nothing can be sent now; null when nothing is known against it. */
  get problem(): string | null {
    return this.#problem;
  }

  noteQueued(txIds: readonly TxId[]): void {
    const queuedMs = this.#deps.clock.monotonicMs();
    for (const txId of txIds) this.#since.set(txId, { queuedMs });
  }

  /** Assigns and sends batches until the queue is empty or the window is full. Throws Fenced when deposed. */
  async sendQueued(options: { readonly signal: AbortSignal }): Promise<void> {
    for (;;) {
      const slot = await this.#assignNext(options);
      if (slot === null) return;
      this.#deps.metrics.attempts.inc({ kind: "ORIGINAL" });
      await this.#send(slot, options);
      for (const item of slot.items) this.#observe(item.txId, "broadcast");
    }
  }

  async #assignNext(options: { readonly signal: AbortSignal }): Promise<Slot | null> {
    const { submissions, chain, signer, logger } = this.#deps;
    const items = await submissions.peekQueued(this.#lease, this.#options.batchMax, options);
    if (items.length === 0) return null;
    let gasLimit: bigint;
    try {
      ({ gasLimit } = await chain.simulateBatch(signer.address, items, options));
    } catch (error) {
      if (!(error instanceof ChainError) || error.code !== "REVERTED") throw error;
      this.#problem = `the contract refuses the batch: ${error.message}`;
      logger.error("the contract refuses the batch", { error, items: items.length });
      return null;
    }
    const fees = await chain.suggestFees(options);
    const costWei = gasLimit * fees.maxFeePerGasWei;
    const balanceWei = await chain.balanceWei(signer.address, options);
    if (balanceWei < costWei) {
      this.#problem = `the submitter's account holds ${balanceWei} wei, the next batch may cost ${costWei} wei`;
      logger.error("the submitter is out of gas money", {
        balanceWei: balanceWei.toString(),
        costWei: costWei.toString(),
      });
      return null;
    }
    const outcome = await submissions.assign(
      this.#lease,
      {
        items,
        windowMax: this.#options.windowMax,
        gasLimit,
        sign: async (nonce, claimed) => {
          const signed = await signer.sign({
            chainId: chain.chainId,
            nonce,
            to: chain.contractAddress,
            data: chain.encodeBatch(claimed),
            valueWei: 0n,
            gasLimit,
            fees,
          });
          return { ...signed, ...fees };
        },
      },
      options,
    );
    if (outcome.kind === "fenced") throw new FencedError();
    this.#problem =
      outcome.kind === "frozen" ? "the sender is frozen; an operator must thaw it" : null;
    return outcome.kind === "assigned" ? outcome.slot : null;
  }

  /** Sends the newest committed bytes of a slot. The leader epoch is asked first, so that a deposed leader stops wasting sends. */
  async #send(slot: Slot, options: { readonly signal: AbortSignal }): Promise<void> {
    const { chain, submissions, metrics, logger } = this.#deps;
    const attempt = slot.attempts.at(-1);
    if (attempt === undefined) return;
    if (!(await submissions.isLeader(this.#lease, options))) throw new FencedError();
    const outcome = await chain.send(attempt.raw, options);
    metrics.sends.inc({ outcome: outcome.kind });
    logger.info("chain transaction sent", {
      nonce: slot.nonce.toString(),
      hash: attempt.hash,
      items: slot.items.length,
      outcome: outcome.kind,
    });
    await submissions.noteSent(attempt.hash, outcome.kind, options);
  }

  /** Compares every live slot with the chain at a new head, and moves it by what is found there. */
  async reconcile(headNumber: bigint, options: { readonly signal: AbortSignal }): Promise<void> {
    const { submissions, chain, signer } = this.#deps;
    const slots = await submissions.liveSlots(this.#lease, options);
    if (slots.length === 0) return;
    const count = await chain.transactionCount(signer.address, "latest", options);
    const final = await chain.finalizedHead(this.#options.finality, options);
    for (const slot of slots) {
      const receipt = await this.#receipt(slot, options);
      if (receipt !== null) {
        await this.#included(slot, receipt, final?.number ?? -1n, options);
        continue;
      }
      if (slot.state === "INCLUDED")
        this.#fence(
          await submissions.markReorged(
            this.#lease,
            slot.nonce,
            "its block left the chain",
            options,
          ),
        );
      if (count <= slot.nonce) await this.#resend(slot, headNumber, options);
      // The nonce is used and no receipt of ours is there: either the endpoint lags or another
      // transaction took it. Only finality tells, so nothing is done before.
      else if (final !== null) await this.#foreign(slot, final.number, options);
    }
  }

  /** Somebody else's transaction has this nonce for good: what it was to record is queued again. */
  async #foreign(
    slot: Slot,
    finalNumber: bigint,
    options: { readonly signal: AbortSignal },
  ): Promise<void> {
    const { submissions, chain, signer, logger } = this.#deps;
    const used = await chain.transactionCount(signer.address, finalNumber, options);
    // The receipt is asked for once more: it may have come since, and says more than a count.
    if (used <= slot.nonce || (await this.#receipt(slot, options)) !== null) return;
    const items = await Promise.all(
      slot.items.map(async ({ txId, value }): Promise<FinalizedItem> => {
        const record = await chain.recordOf(txId, finalNumber, options);
        const contradicted = record !== null && record.value !== value;
        return { txId, outcome: contradicted ? "quarantine" : "requeue", txHash: null };
      }),
    );
    const final = { state: "FINALIZED_FOREIGN", blockNumber: finalNumber, items } as const;
    this.#fence(await submissions.markFinalized(this.#lease, slot.nonce, final, options));
    this.#sentAtHead.delete(slot.nonce);
    logger.error("another transaction used the submitter's nonce", {
      nonce: slot.nonce.toString(),
      items: items.length,
    });
  }

  async #receipt(slot: Slot, options: { readonly signal: AbortSignal }) {
    for (const attempt of [...slot.attempts].reverse()) {
      const receipt = await this.#deps.chain.receipt(attempt.hash, options);
      if (receipt !== null) return receipt;
    }
    return null;
  }

  async #included(
    slot: Slot,
    receipt: NonNullable<Awaited<ReturnType<Chain["receipt"]>>>,
    finalNumber: bigint,
    options: { readonly signal: AbortSignal },
  ): Promise<void> {
    const { submissions } = this.#deps;
    const { hash, blockNumber, blockHash, status } = receipt;
    const known = slot.included;
    if (known === null || known.hash !== hash || known.blockHash !== blockHash) {
      this.#fence(
        await submissions.markIncluded(
          this.#lease,
          slot.nonce,
          { hash, blockNumber, blockHash, status },
          options,
        ),
      );
      for (const item of slot.items) this.#observe(item.txId, "included");
    }
    if (blockNumber > finalNumber) return;
    await this.#finalize(slot, receipt, options);
  }

  async #finalize(
    slot: Slot,
    receipt: NonNullable<Awaited<ReturnType<Chain["receipt"]>>>,
    options: { readonly signal: AbortSignal },
  ): Promise<void> {
    const { submissions, chain, metrics, logger } = this.#deps;
    const events = new Map(receipt.events.map((e) => [e.key, e]));
    const items = slot.items.map((item): FinalizedItem => {
      const event = events.get(chain.keyOf(item.txId));
      if (receipt.status === "reverted" || event === undefined)
        return { txId: item.txId, outcome: "requeue", txHash: null };
      // What counts is the value that stands on the chain, not which transaction put it there.
      const outcome = event.value === item.value ? "finalized" : "quarantine";
      return { txId: item.txId, outcome, txHash: outcome === "finalized" ? receipt.hash : null };
    });
    const state = receipt.status === "success" ? "FINALIZED_OK" : "FINALIZED_REVERTED";
    this.#fence(
      await submissions.markFinalized(
        this.#lease,
        slot.nonce,
        { state, blockNumber: receipt.blockNumber, items },
        options,
      ),
    );
    this.#sentAtHead.delete(slot.nonce);
    for (const item of items) {
      if (item.outcome === "finalized") metrics.submissions.inc({ outcome: "finalized" });
      if (item.outcome === "quarantine") {
        metrics.submissions.inc({ outcome: "quarantined" });
        logger.error("the chain holds another value for this transaction", { txId: item.txId });
      }
      this.#observe(item.txId, "finalized");
      this.#since.delete(item.txId);
    }
    logger.info("chain transaction final", {
      nonce: slot.nonce.toString(),
      hash: receipt.hash,
      block: receipt.blockNumber.toString(),
      state,
    });
  }

  async #resend(
    slot: Slot,
    headNumber: bigint,
    options: { readonly signal: AbortSignal },
  ): Promise<void> {
    const last = this.#sentAtHead.get(slot.nonce);
    if (last === undefined) {
      this.#sentAtHead.set(slot.nonce, headNumber);
      // A slot from before this process began may never have been sent.
      if ((slot.attempts.at(-1)?.sentCount ?? 0) > 0) return;
    } else if (headNumber < last + BigInt(this.#options.resendHeads)) return;
    this.#sentAtHead.set(slot.nonce, headNumber);
    await this.#send(slot, options);
  }

  #fence(outcome: "done" | "fenced"): void {
    if (outcome === "fenced") throw new FencedError();
  }

  #observe(txId: TxId, stage: "broadcast" | "included" | "finalized"): void {
    const since = this.#since.get(txId);
    if (since === undefined) return;
    const seconds = (this.#deps.clock.monotonicMs() - since.queuedMs) / 1_000;
    this.#deps.metrics.latency.observe({ stage }, seconds);
  }
}

/** Another process leads now. This one must stop; it has changed nothing. */
export class FencedError extends Error {
  override readonly name = "FencedError";
  constructor() {
    super("another submitter has taken over; this one stops");
  }
}
