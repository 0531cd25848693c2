import { LIMITS, type TxId } from "@quorate/core";
import {
  type BlockRef,
  type Chain,
  ChainError,
  type ChainSigner,
  type Clock,
  type Logger,
  type RecordItem,
  type SenderLease,
  SignerError,
  type Slot,
  type SubmissionStore,
} from "@quorate/ports";
import type { AbortGate } from "./abort-gate.ts";
import { Broadcaster } from "./broadcaster.ts";
import type { SubmitterMetrics } from "./catalogue.ts";
import { FencedError, throwIfFenced } from "./fenced-error.ts";
import { FinalBlockWatch } from "./final-block-watch.ts";
import { Problems, type SendingTrouble } from "./problems.ts";
import { capped, ordinaryCap, Repricer, type RepricerOptions } from "./repricer.ts";
import { type ReconcilerOptions, SlotReconciler } from "./slot-reconciler.ts";
import { SlotSigning } from "./slot-signing.ts";
import { StageClock } from "./stage-clock.ts";
import type { SubmissionSpans } from "./submission-spans.ts";

export interface SenderOptions extends RepricerOptions, ReconcilerOptions {
  /** Results in one chain transaction. */
  readonly batchMax: number;
  /** Unconfirmed nonces at once. */
  readonly windowMax: number;
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
  readonly aborts: AbortGate;
  readonly spans?: SubmissionSpans | undefined;
}

type Options = { readonly signal: AbortSignal };

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
  readonly #problems = new Problems<SendingTrouble>();
  readonly #stages: StageClock;
  readonly #signing: SlotSigning;
  readonly #broadcaster: Broadcaster;
  readonly #reconciler: SlotReconciler;
  readonly #repricer: Repricer;
  readonly #finalBlocks: FinalBlockWatch;
  /** Reserved nonces that the signer is being asked for: the send loop and the reconciliation both come by. */
  readonly #atSigner = new Set<bigint>();
  readonly #sentAtHead = new Map<bigint, bigint>();

  constructor(lease: SenderLease, options: SenderOptions, dependencies: SenderDependencies) {
    this.#lease = lease;
    this.#options = options;
    this.#deps = dependencies;
    this.#stages = new StageClock(dependencies);
    this.#signing = new SlotSigning(dependencies.chain, dependencies.signer);
    this.#finalBlocks = new FinalBlockWatch(dependencies.chain);
    this.#broadcaster = new Broadcaster(lease, dependencies);
    this.#reconciler = new SlotReconciler(lease, options, {
      ...dependencies,
      stages: this.#stages,
    });
    this.#repricer = new Repricer(lease, options, {
      ...dependencies,
      signing: this.#signing,
      broadcaster: this.#broadcaster,
      problems: this.#problems,
    });
  }

  /** Why not everything can be sent now; null when nothing is known against it. */
  get problem(): string | null {
    return this.#problems.text;
  }

  noteQueued(txIds: readonly TxId[]): void {
    this.#stages.queued(txIds);
  }

  /** Assigns and sends batches until the queue is empty or the window is full. Throws Fenced when deposed. */
  async sendQueued(options: Options): Promise<void> {
    for (;;) {
      const slot = await this.#takeNext(options);
      if (slot === null) return;
      await this.#broadcast(slot, options);
    }
  }

  async #broadcast(slot: Slot, options: Options): Promise<void> {
    this.#deps.metrics.attempts.inc({ kind: "ORIGINAL" });
    await this.#broadcaster.send(slot, options);
    for (const item of slot.items) this.#stages.reached(item.txId, "broadcast");
  }

  /** Takes a nonce for the next batch and has it signed. Null when nothing is to be sent now. */
  async #takeNext(options: Options): Promise<Slot | null> {
    const { submissions, chain, signer, logger } = this.#deps;
    // Asked again under the lock. Until history is checked nothing is settled either, or it could not be seen what differed.
    const state = await submissions.senderState(this.#lease, options);
    const held = state === null || state.frozen !== null || !state.historyChecked;
    this.#problems.set("frozen", held ? "the sender is frozen: nothing new is signed" : null);
    if (held) return null;
    const live = (await submissions.liveSlots(this.#lease, options)).filter(
      (slot) => slot.state !== "INCLUDED",
    );
    // So is this; here it saves the endpoints' time.
    if (live.length >= this.#options.windowMax) return null;
    const items = await this.#nextItems(options);
    if (items.length === 0) return null;
    let gasLimit: bigint;
    try {
      ({ gasLimit } = await chain.simulateBatch(signer.address, items, options));
      this.#problems.set("contract", null);
    } catch (error) {
      if (!(error instanceof ChainError) || error.code !== "REVERTED") throw error;
      const news = this.#problems.set(
        "contract",
        `the contract refuses the batch: ${error.message}`,
      );
      if (news) logger.error("the contract refuses the batch", { error, items: items.length });
      return null;
    }
    const fees = capped(await chain.suggestFees(options), ordinaryCap(this.#options.feeCapWei));
    if (!(await this.#canPay(gasLimit * fees.maxFeePerGasWei, live, options))) return null;
    const request = { items, windowMax: this.#options.windowMax, gasLimit };
    const outcome =
      signer.kind === "remote"
        ? await submissions.reserve(this.#lease, request, options)
        : await submissions.assign(
            this.#lease,
            {
              ...request,
              sign: (nonce, claimed) => this.#signing.batch(nonce, claimed, gasLimit, fees),
            },
            options,
          );
    if (outcome.kind === "fenced") throw new FencedError();
    const frozen = outcome.kind === "frozen";
    this.#problems.set("frozen", frozen ? "the sender is frozen: nothing new is signed" : null);
    if (outcome.kind === "reserved") return this.#signReserved(outcome.slot, options);
    return outcome.kind === "assigned" ? outcome.slot : null;
  }

  /** The oldest that are queued, without those that etcd has aborted after all (I3): however they came into the queue. */
  async #undisputed(options: Options): Promise<readonly RecordItem[]> {
    const { submissions, aborts, logger } = this.#deps;
    const items = await submissions.peekQueued(this.#lease, this.#options.batchMax, options);
    const aborted = await aborts.abortedAmong(
      items.map((item) => item.txId),
      options,
    );
    if (aborted.size === 0) return items;
    const reason = "etcd holds the decision ABORT";
    const outcome = await submissions.abortQueued(this.#lease, [...aborted], reason, options);
    if (outcome.kind === "fenced") throw new FencedError();
    logger.error("queued results were aborted in etcd and are not sent", {
      txIds: outcome.aborted.slice(0, 20),
      count: outcome.aborted.length,
    });
    return items.filter((item) => !aborted.has(item.txId));
  }

  /** Those without what the contract holds already. */
  async #nextItems(options: Options): Promise<readonly RecordItem[]> {
    const { submissions, chain } = this.#deps;
    const items = await this.#undisputed(options);
    if (items.length === 0) return items;
    const txIds = items.map((item) => item.txId);
    const records = await chain.recordsOf(txIds, "latest", options);
    if (records.every((record) => record === null)) return items;
    // A record at the head may go with a reorg: what it says is acted on when it is final.
    const final = await chain.finalizedHead(this.#options.finality, { ...options, agreed: true });
    for (const [i, { txId, value }] of items.entries()) {
      const record = records[i] ?? null;
      if (record === null || final === null || record.blockNumber > final.number) continue;
      const [standing = null] = await chain.recordsOf([txId], final.number, {
        ...options,
        agreed: true,
      });
      if (standing === null) continue;
      throwIfFenced(
        standing.value === value
          ? await submissions.markAlreadyRecorded(this.#lease, txId, standing.blockNumber, options)
          : await submissions.quarantine(
              this.#lease,
              txId,
              `the contract holds ${standing.value} since block ${standing.blockNumber}`,
              options,
            ),
      );
      this.#deps.logger.warn("the contract holds a queued result already", {
        txId,
        same: standing.value === value,
      });
    }
    return items.filter((_, i) => (records[i] ?? null) === null);
  }

  /** Whether the account can pay for all that is in flight and this too. */
  async #canPay(costWei: bigint, live: readonly Slot[], options: Options): Promise<boolean> {
    const { chain, signer, logger } = this.#deps;
    const inFlightWei = live.reduce(
      (sum, slot) => sum + slot.gasLimit * (slot.attempts.at(-1)?.maxFeePerGasWei ?? 0n),
      0n,
    );
    const balanceWei = await chain.balanceWei(signer.address, options);
    const enough = balanceWei >= costWei + inFlightWei;
    const words = `the submitter's account holds ${balanceWei} wei; what is in flight may cost ${inFlightWei} wei, and the next batch ${costWei} wei`;
    if (this.#problems.set("money", enough ? null : words) && !enough)
      logger.error("the submitter is out of gas money", {
        balanceWei: balanceWei.toString(),
        inFlightWei: inFlightWei.toString(),
        costWei: costWei.toString(),
      });
    return enough;
  }

  /** Has a remote signer sign for a nonce that is reserved. To ask again is free: nothing was sent for it yet. */
  async #signReserved(slot: Slot, options: Options): Promise<Slot | null> {
    const { submissions, chain, logger } = this.#deps;
    if (this.#atSigner.has(slot.nonce)) return null;
    this.#atSigner.add(slot.nonce);
    try {
      const fees = capped(await chain.suggestFees(options), ordinaryCap(this.#options.feeCapWei));
      const signed = await this.#signing.batch(
        slot.nonce,
        slot.items,
        slot.gasLimit,
        fees,
        options,
      );
      throwIfFenced(
        await submissions.addAttempt(
          this.#lease,
          slot.nonce,
          { ...signed, kind: "ORIGINAL" },
          options,
        ),
      );
      this.#problems.set("signer", null);
    } catch (error) {
      if (!(error instanceof SignerError)) throw error;
      if (this.#problems.set("signer", `the signer does not sign: ${error.message}`))
        logger.error("the signer does not sign", { error, nonce: slot.nonce.toString() });
      return null;
    } finally {
      this.#atSigner.delete(slot.nonce);
    }
    const live = await submissions.liveSlots(this.#lease, options);
    return live.find((s) => s.nonce === slot.nonce && s.attempts.length > 0) ?? null;
  }

  /** Compares every live slot with the chain at a new head, and moves it by what is found there. */
  async reconcile(headNumber: bigint, options: Options): Promise<void> {
    const { submissions, chain, signer } = this.#deps;
    const count = await chain.transactionCount(signer.address, "latest", options);
    const slots = await submissions.liveSlots(this.#lease, options);
    const gaps = await submissions.gaps(this.#lease, count, LIMITS.nonceWindowMax, options);
    if (slots.length > 0) {
      const final = await this.#finalHead(options);
      if (final !== null) await this.#watchFinal(final, options);
      const outcome = await this.#reconciler.run(slots, { count, final }, options);
      if (outcome.disagreement !== null) this.#problems.set("disagreement", outcome.disagreement);
      await this.#push(outcome.unmined, count, headNumber, options);
    } else await this.#repricer.run([], count, options);
    await this.#repricer.fillGaps(gaps, options);
  }

  /** Endpoints that disagree hold up what is decided for good, and nothing else. */
  async #finalHead(options: Options): Promise<BlockRef | null> {
    try {
      const mode = this.#options.finality;
      const final = await this.#deps.chain.finalizedHead(mode, { ...options, agreed: true });
      this.#problems.set("disagreement", null);
      return final;
    } catch (error) {
      if (!(error instanceof ChainError) || error.code !== "RPC_DISAGREE") throw error;
      this.#problems.set("disagreement", error.message);
      return null;
    }
  }

  async #watchFinal(final: BlockRef, options: Options): Promise<void> {
    const broken = await this.#finalBlocks.look(final, options);
    if (broken === null) return;
    const { submissions, logger } = this.#deps;
    logger.error("finality was broken; the sender is frozen", { broken });
    await submissions.freeze(
      this.#lease,
      `${broken}: results that were confirmed may be gone; look, and thaw with: quorate submissions unfreeze`,
      options,
    );
  }

  /** Gets going what is not in a block: signed, replaced, or sent again as it is. */
  async #push(
    unmined: readonly Slot[],
    count: bigint,
    headNumber: bigint,
    options: Options,
  ): Promise<void> {
    const signed: Slot[] = [];
    for (const slot of unmined) {
      if (slot.state !== "RESERVED") signed.push(slot);
      else {
        const now = await this.#signReserved(slot, options);
        if (now !== null) await this.#broadcast(now, options);
      }
    }
    const live = new Set(signed.map((slot) => slot.nonce));
    for (const nonce of this.#sentAtHead.keys())
      if (!live.has(nonce)) this.#sentAtHead.delete(nonce);
    const replaced = await this.#repricer.run(signed, count, options);
    for (const slot of signed) {
      if (replaced.has(slot.nonce)) this.#sentAtHead.set(slot.nonce, headNumber);
      else await this.#resend(slot, headNumber, options);
    }
  }

  async #resend(slot: Slot, headNumber: bigint, options: Options): Promise<void> {
    const last = this.#sentAtHead.get(slot.nonce);
    if (last === undefined) {
      this.#sentAtHead.set(slot.nonce, headNumber);
      // One from before this process began may never have been sent, nor one that a reorg took back.
      if (slot.state === "SIGNED" && (slot.attempts.at(-1)?.sentCount ?? 0) > 0) return;
    } else if (headNumber < last + BigInt(this.#options.resendHeads)) return;
    this.#sentAtHead.set(slot.nonce, headNumber);
    await this.#broadcaster.send(slot, options);
  }
}
