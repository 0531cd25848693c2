import type { SlotState } from "@quorate/core";
import {
  type BlockRef,
  type Chain,
  ChainError,
  type ChainReceipt,
  type ChainRecord,
  type ChainSigner,
  type FinalityMode,
  type FinalizedItem,
  type Logger,
  type RecordItem,
  type SenderLease,
  type Slot,
  type SubmissionStore,
} from "@quorate/ports";
import type { SubmitterMetrics } from "./catalogue.ts";
import { throwIfFenced } from "./fenced-error.ts";
import { carriesBatch } from "./slot-signing.ts";
import type { StageClock } from "./stage-clock.ts";

export interface ReconcilerOptions {
  readonly finality: FinalityMode;
  /** How often a result is queued again before a person must look. */
  readonly requeuesMax: number;
}

export interface ReconcilerDependencies {
  readonly chain: Pick<Chain, "receipt" | "blockAt" | "transactionCount" | "recordsOf" | "keyOf">;
  readonly signer: Pick<ChainSigner, "address">;
  readonly submissions: Pick<SubmissionStore, "markIncluded" | "markReorged" | "markFinalized">;
  readonly stages: StageClock;
  readonly logger: Logger;
  readonly metrics: SubmitterMetrics;
}

/** What the chain said at one head. */
export interface ChainSight {
  /** The account's next nonce at the head, by one endpoint. */
  readonly count: bigint;
  /** The block that counts as final, as endpoints agree; null when none does or they don't. */
  readonly final: BlockRef | null;
}

export interface ReconcileOutcome {
  /** Slots that are not in a block and may still be mined, lowest nonce first: to be sent again. */
  readonly unmined: readonly Slot[];
  /** What endpoints do not agree on; null when they do. */
  readonly disagreement: string | null;
}

/**
 * Moves slots by what is on the chain, and by nothing else: receipts in canonical blocks, counts and the contract's own
 * records at final blocks. What decides for good is taken only from endpoints that agree. @see spec §8.2
 */
export class SlotReconciler {
  readonly #options: ReconcilerOptions;
  readonly #deps: ReconcilerDependencies;
  readonly #lease: SenderLease;

  constructor(
    lease: SenderLease,
    options: ReconcilerOptions,
    dependencies: ReconcilerDependencies,
  ) {
    this.#lease = lease;
    this.#options = options;
    this.#deps = dependencies;
  }

  /** Endpoints that disagree about one slot hold up that slot, and nothing else. */
  async run(
    slots: readonly Slot[],
    sight: ChainSight,
    options: { readonly signal: AbortSignal },
  ): Promise<ReconcileOutcome> {
    const canonical = await this.#stillIncluded(slots, options);
    const unmined: Slot[] = [];
    let disagreement: string | null = null;
    for (const slot of slots) {
      try {
        const receipt = canonical.get(slot.nonce) ?? (await this.#receipt(slot, options));
        const waits =
          receipt === null
            ? await this.#absent(slot, sight, options)
            : await this.#included(slot, receipt, sight, options);
        if (waits) unmined.push(slot);
      } catch (error) {
        if (!(error instanceof ChainError) || error.code !== "RPC_DISAGREE") throw error;
        disagreement ??= error.message;
        // One of them may hide that it is not mined; to send what is mined once more is harmless.
        unmined.push(slot);
      }
    }
    return { unmined, disagreement };
  }

  /**
   * Slots whose block is canonical still: their receipt need not be read at each head, only when it is to be final.
   * One look at a height serves all slots in it.
   */
  async #stillIncluded(
    slots: readonly Slot[],
    options: { readonly signal: AbortSignal },
  ): Promise<ReadonlyMap<bigint, Pick<ChainReceipt, "hash" | "blockNumber" | "blockHash">>> {
    const heights = new Set(
      slots.flatMap((s) => (s.included === null ? [] : [s.included.blockNumber])),
    );
    const hashes = new Map<bigint, string | undefined>();
    for (const some of inChunks([...heights], 16)) {
      const blocks = await Promise.all(some.map((n) => this.#deps.chain.blockAt(n, options)));
      for (const [i, number] of some.entries()) hashes.set(number, blocks[i]?.hash);
    }
    return new Map(
      slots.flatMap(({ nonce, included }) =>
        included !== null && hashes.get(included.blockNumber) === included.blockHash
          ? [[nonce, included] as const]
          : [],
      ),
    );
  }

  async #receipt(
    slot: Slot,
    options: { readonly signal: AbortSignal; readonly agreed?: boolean },
  ): Promise<ChainReceipt | null> {
    for (const attempt of [...slot.attempts].reverse()) {
      const receipt = await this.#deps.chain.receipt(attempt.hash, options);
      if (receipt !== null) return receipt;
    }
    return null;
  }

  /** @returns whether it turns out that it can still be mined */
  async #included(
    slot: Slot,
    found: Pick<ChainReceipt, "hash" | "blockNumber" | "blockHash"> & Partial<ChainReceipt>,
    sight: ChainSight,
    options: { readonly signal: AbortSignal },
  ): Promise<boolean> {
    const { final } = sight;
    const { submissions, stages } = this.#deps;
    const { hash, blockNumber, blockHash, status } = found;
    const known = slot.included;
    if (status !== undefined && (known?.hash !== hash || known.blockHash !== blockHash)) {
      throwIfFenced(
        await submissions.markIncluded(
          this.#lease,
          slot.nonce,
          { hash, blockNumber, blockHash, status },
          options,
        ),
      );
      for (const item of slot.items) stages.reached(item.txId, "included");
    }
    if (final === null || blockNumber > final.number) return false;
    // Once more, from endpoints that agree: only then is it for good.
    const receipt = await this.#deps.chain.receipt(hash, { ...options, agreed: true });
    if (receipt !== null && receipt.blockNumber > final.number) return false;
    if (receipt === null) return this.#absent({ ...slot, state: "INCLUDED" }, sight, options);
    await this.#finalize(slot, receipt, final, options);
    return false;
  }

  async #finalize(
    slot: Slot,
    receipt: ChainReceipt,
    final: BlockRef,
    options: { readonly signal: AbortSignal },
  ): Promise<void> {
    const { chain } = this.#deps;
    const kind = slot.attempts.find((a) => a.hash === receipt.hash)?.kind;
    const recorded = kind === undefined || carriesBatch(kind);
    const state =
      receipt.status === "reverted"
        ? "FINALIZED_REVERTED"
        : recorded
          ? "FINALIZED_OK"
          : "FINALIZED_CANCEL";
    const events = new Map(receipt.events.map((e) => [e.key, e]));
    const unsaid = slot.items.filter((item) => !events.has(chain.keyOf(item.txId)));
    const fromGuard = await this.#judgeByGuard(unsaid, final.number, options);
    const items = slot.items.map((item): FinalizedItem => {
      const event = events.get(chain.keyOf(item.txId));
      if (event === undefined)
        return fromGuard.get(item.txId) ?? { txId: item.txId, outcome: "requeue", txHash: null };
      // What counts is the value that stands on the chain, not which transaction put it there.
      return event.value === item.value
        ? { txId: item.txId, outcome: "finalized", txHash: receipt.hash }
        : { txId: item.txId, outcome: "quarantine", txHash: null };
    });
    await this.#end(slot, state, receipt.blockNumber, items, options);
    this.#deps.logger.info("chain transaction final", {
      nonce: slot.nonce.toString(),
      hash: receipt.hash,
      block: receipt.blockNumber.toString(),
      state,
    });
  }

  /**
   * No transaction of this nonce is in a block that we were told of.
   * @returns whether it can still be mined
   */
  async #absent(
    slot: Slot,
    { count, final }: ChainSight,
    options: { readonly signal: AbortSignal },
  ): Promise<boolean> {
    if (slot.state === "INCLUDED")
      throwIfFenced(
        await this.#deps.submissions.markReorged(
          this.#lease,
          slot.nonce,
          "its block left the chain",
          options,
        ),
      );
    // The nonce is used and no receipt of ours is there: either the endpoint lags, or lies, or another
    // transaction took it. Only finality tells; until then the same bytes are sent on.
    return count <= slot.nonce || final === null || !(await this.#foreign(slot, final, options));
  }

  /** Somebody else's transaction has this nonce for good: what it was to record is queued again. @returns whether it is so */
  async #foreign(
    slot: Slot,
    final: BlockRef,
    options: { readonly signal: AbortSignal },
  ): Promise<boolean> {
    const { chain, signer, logger } = this.#deps;
    const agreed = { ...options, agreed: true };
    const used = await chain.transactionCount(signer.address, final.number, agreed);
    // Receipts are asked for once more: one may have come since, and says more than a count.
    if (used <= slot.nonce || (await this.#receipt(slot, agreed)) !== null) return false;
    const judged = await this.#judgeByGuard(slot.items, final.number, options);
    const items = [...judged.values()];
    await this.#end(slot, "FINALIZED_FOREIGN", final.number, items, options);
    logger.error("another transaction used the submitter's nonce", {
      nonce: slot.nonce.toString(),
      items: items.length,
    });
    return true;
  }

  /** What the contract itself holds at a final block decides: a result goes again only when it holds nothing. */
  async #judgeByGuard(
    items: readonly RecordItem[],
    finalNumber: bigint,
    options: { readonly signal: AbortSignal },
  ): Promise<ReadonlyMap<RecordItem["txId"], FinalizedItem>> {
    if (items.length === 0) return new Map();
    const records = await this.#deps.chain.recordsOf(
      items.map((item) => item.txId),
      finalNumber,
      { ...options, agreed: true },
    );
    return new Map(
      items.map(({ txId, value }, i) => {
        const record: ChainRecord | null = records[i] ?? null;
        const outcome =
          record === null ? "requeue" : record.value === value ? "finalized" : "quarantine";
        return [txId, { txId, outcome, txHash: null }];
      }),
    );
  }

  async #end(
    slot: Slot,
    state: Exclude<SlotState, "RESERVED" | "SIGNED" | "INCLUDED">,
    blockNumber: bigint,
    items: readonly FinalizedItem[],
    options: { readonly signal: AbortSignal },
  ): Promise<void> {
    const { submissions, metrics, stages, logger } = this.#deps;
    // What we cancelled ourselves is not the results' fault.
    const requeuesMax =
      state === "FINALIZED_CANCEL" ? Number.MAX_SAFE_INTEGER : this.#options.requeuesMax;
    const final = { state, blockNumber, items, requeuesMax };
    throwIfFenced(await submissions.markFinalized(this.#lease, slot.nonce, final, options));
    for (const { txId, outcome } of items) {
      if (outcome === "requeue") continue;
      metrics.submissions.inc({ outcome: outcome === "finalized" ? "finalized" : "quarantined" });
      if (outcome === "finalized") stages.reached(txId, "finalized");
      else {
        stages.forget(txId);
        logger.error("the chain holds another value for this transaction", { txId });
      }
    }
  }
}

function inChunks<T>(items: readonly T[], size: number): readonly (readonly T[])[] {
  return Array.from({ length: Math.ceil(items.length / size) }, (_, i) =>
    items.slice(i * size, (i + 1) * size),
  );
}
