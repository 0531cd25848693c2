import { bumpFees, type FeeOffer, highestOffer } from "@quorate/core";
import {
  type Chain,
  type ChainSigner,
  type Clock,
  type Hex,
  type Logger,
  type SenderLease,
  SignerError,
  type Slot,
  type SubmissionStore,
} from "@quorate/ports";
import type { Broadcaster } from "./broadcaster.ts";
import type { SubmitterMetrics } from "./catalogue.ts";
import { throwIfFenced } from "./fenced-error.ts";
import type { Problems, SendingTrouble } from "./problems.ts";
import { carriesBatch, EMPTY_TRANSFER_GAS, type SlotSigning } from "./slot-signing.ts";

export interface RepricerOptions {
  /** A transaction that is unmined for so long is replaced, in ms. */
  readonly bumpAfterMs: number;
  /** One that is unmined for so long though it offers what the market asks is cancelled, in ms. */
  readonly cancelAfterMs: number;
  /** Most ever offered as max fee, in wei per gas. */
  readonly feeCapWei: bigint;
}

export interface RepricerDependencies {
  readonly chain: Pick<Chain, "suggestFees" | "balanceWei" | "transactionCount">;
  readonly signer: Pick<ChainSigner, "address">;
  readonly signing: SlotSigning;
  readonly submissions: Pick<SubmissionStore, "addAttempt" | "liveSlots">;
  readonly broadcaster: Broadcaster;
  readonly problems: Problems<SendingTrouble>;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: SubmitterMetrics;
}

interface Watched {
  readonly newest: Hex;
  /** When this process saw that attempt first, and when the slot. */
  readonly attemptSinceMs: number;
  readonly slotSinceMs: number;
}

const GAPS_FILLED_AT_ONCE = 16;

/**
 * Gets stuck nonces moving: replaces what was outbid by the market, fills nonces that nobody uses, and gives up what does
 * not move at any price. Whatever it signs is committed before it is sent, and nothing it replaces is forgotten: any of
 * a nonce's transactions may be the one that is mined, and receipts tell which.
 */
export class Repricer {
  readonly #options: RepricerOptions;
  readonly #deps: RepricerDependencies;
  readonly #lease: SenderLease;
  readonly #watched = new Map<bigint, Watched>();
  readonly #gapSinceMs = new Map<bigint, number>();

  constructor(lease: SenderLease, options: RepricerOptions, dependencies: RepricerDependencies) {
    this.#lease = lease;
    this.#options = options;
    this.#deps = dependencies;
  }

  /**
   * Looks at what is signed and unmined.
   * @param unmined slots, lowest nonce first
   * @param count the account's next nonce at the head: that slot is the head of the line
   * @returns nonces for which something new was sent
   */
  async run(
    unmined: readonly Slot[],
    count: bigint,
    options: { readonly signal: AbortSignal },
  ): Promise<ReadonlySet<bigint>> {
    const { clock, metrics } = this.#deps;
    const now = clock.monotonicMs();
    this.#watch(unmined, now);
    const head = this.#watched.get(count);
    metrics.headOfLineAge.set({}, head === undefined ? 0 : (now - head.slotSinceMs) / 1_000);
    const late = unmined.filter(
      ({ nonce }) => nonce >= count && this.#age(nonce, now) >= this.#options.bumpAfterMs,
    );
    const replaced = new Set<bigint>();
    const givenUp = unmined.find((slot) => slot.attempts.at(-1)?.kind === "CANCEL");
    if (late.length === 0) {
      this.#tell(false, givenUp?.nonce ?? null);
      return replaced;
    }
    const market = await this.#deps.chain.suggestFees(options);
    let capped = false;
    let stuck = givenUp?.nonce ?? null;
    this.#deps.problems.set("signer", null);
    for (const slot of late) {
      const isHead = slot.nonce === count;
      const offered = highestOffer(slot.attempts);
      const outbid = offered.maxFeePerGasWei < market.maxFeePerGasWei;
      // Behind the head nothing can be mined, whatever it offers; but what the market has outbid would be stuck next.
      if (!isHead && !outbid) continue;
      const since = this.#watched.get(slot.nonce)?.slotSinceMs ?? now;
      const giveUp = isHead && !outbid && now - since >= this.#options.cancelAfterMs;
      if (giveUp) stuck = slot.nonce;
      const { feeCapWei } = this.#options;
      const cancels = giveUp || slot.attempts.at(-1)?.kind === "CANCEL";
      const fees = bumpFees(offered, market, cancels ? feeCapWei : ordinaryCap(feeCapWei));
      if (fees === null) {
        capped = true;
        continue;
      }
      try {
        if (await this.#replace(slot, fees, giveUp, options)) replaced.add(slot.nonce);
      } catch (error) {
        this.#withoutSigner(error, slot.nonce);
      }
    }
    this.#tell(capped, stuck);
    return replaced;
  }

  /**
   * Fills nonces that have no slot: a floor jumped over them, and what was to use them never came.
   * Waits as long as for a bump: what is in somebody's pool may still be mined.
   */
  async fillGaps(
    gaps: readonly bigint[],
    options: { readonly signal: AbortSignal },
  ): Promise<void> {
    const { chain, signer, clock, submissions, signing, logger, metrics } = this.#deps;
    const now = clock.monotonicMs();
    for (const nonce of this.#gapSinceMs.keys())
      if (!gaps.includes(nonce)) this.#gapSinceMs.delete(nonce);
    for (const nonce of gaps) if (!this.#gapSinceMs.has(nonce)) this.#gapSinceMs.set(nonce, now);
    const due = gaps
      .filter((n) => now - (this.#gapSinceMs.get(n) ?? now) >= this.#options.bumpAfterMs)
      .slice(0, GAPS_FILLED_AT_ONCE);
    if (due.length === 0) return;
    // One endpoint that lags would make gaps of what was used long ago.
    const count = await chain.transactionCount(signer.address, "latest", {
      ...options,
      agreed: true,
    });
    const market = await chain.suggestFees(options);
    const fees = capped(market, ordinaryCap(this.#options.feeCapWei));
    for (const nonce of due) {
      if (nonce < count) continue;
      const signed = await signing.empty(nonce, fees, options).catch((error: unknown) => {
        this.#withoutSigner(error, nonce);
        return null;
      });
      if (signed === null) return;
      throwIfFenced(
        await submissions.addAttempt(this.#lease, nonce, { ...signed, kind: "GAPFILL" }, options),
      );
      metrics.attempts.inc({ kind: "GAPFILL" });
      logger.warn("a nonce that nobody uses is filled", { nonce: nonce.toString() });
      await this.#sendStored(nonce, signed.hash, options);
    }
  }

  #watch(unmined: readonly Slot[], now: number): void {
    const live = new Set(unmined.map((slot) => slot.nonce));
    for (const nonce of this.#watched.keys()) if (!live.has(nonce)) this.#watched.delete(nonce);
    for (const { nonce, attempts } of unmined) {
      const newest = attempts.at(-1)?.hash;
      const before = this.#watched.get(nonce);
      if (newest === undefined || before?.newest === newest) continue;
      const slotSinceMs = before?.slotSinceMs ?? now;
      this.#watched.set(nonce, { newest, attemptSinceMs: now, slotSinceMs });
    }
  }

  #age(nonce: bigint, now: number): number {
    return now - (this.#watched.get(nonce)?.attemptSinceMs ?? now);
  }

  async #replace(
    slot: Slot,
    fees: FeeOffer,
    giveUp: boolean,
    options: { readonly signal: AbortSignal },
  ): Promise<boolean> {
    const { chain, signer, signing, submissions, metrics, logger, problems } = this.#deps;
    const newest = slot.attempts.at(-1);
    if (newest === undefined) return false;
    const cancelling = newest.kind === "CANCEL" || giveUp;
    const kind = slot.items.length === 0 ? "GAPFILL" : cancelling ? "CANCEL" : ("BUMP" as const);
    const gasLimit = kind === "BUMP" ? slot.gasLimit : EMPTY_TRANSFER_GAS;
    const balanceWei = await chain.balanceWei(signer.address, options);
    const costWei = gasLimit * fees.maxFeePerGasWei;
    if (balanceWei < costWei) {
      // The bytes that are there are sent on; more can't be offered than is there.
      problems.set(
        "money",
        `the submitter's account holds ${balanceWei} wei, and a replacement may cost ${costWei} wei`,
      );
      return false;
    }
    const signed =
      kind === "BUMP"
        ? await signing.batch(slot.nonce, slot.items, gasLimit, fees, options)
        : await signing.empty(slot.nonce, fees, options);
    throwIfFenced(
      await submissions.addAttempt(this.#lease, slot.nonce, { ...signed, kind }, options),
    );
    metrics.attempts.inc({ kind });
    logger.warn("a chain transaction that is not mined is replaced", {
      nonce: slot.nonce.toString(),
      kind,
      carriesBatch: carriesBatch(kind),
      before: newest.maxFeePerGasWei.toString(),
      maxFeePerGasWei: fees.maxFeePerGasWei.toString(),
    });
    await this.#sendStored(slot.nonce, signed.hash, options);
    return true;
  }

  /** Sends what the store holds, and only if it holds it. */
  async #sendStored(
    nonce: bigint,
    hash: Hex,
    options: { readonly signal: AbortSignal },
  ): Promise<void> {
    const slots = await this.#deps.submissions.liveSlots(this.#lease, options);
    const stored = slots.find((slot) => slot.nonce === nonce);
    const attempt = stored?.attempts.find((a) => a.hash === hash);
    if (stored === undefined || attempt === undefined) return;
    await this.#deps.broadcaster.send({ ...stored, attempts: [attempt] }, options);
  }

  /** A signer that is away or refuses holds up what needs it; what is signed goes on being sent. */
  #withoutSigner(error: unknown, nonce: bigint): void {
    if (!(error instanceof SignerError)) throw error;
    const { problems, logger } = this.#deps;
    if (problems.set("signer", `the signer does not sign: ${error.message}`))
      logger.error("the signer does not sign", { error, nonce: nonce.toString() });
  }

  #tell(cappedOut: boolean, stuck: bigint | null): void {
    const { problems, metrics, logger } = this.#deps;
    const { feeCapWei, cancelAfterMs } = this.#options;
    metrics.feeCapReached.set({}, cappedOut ? 1 : 0);
    const cap = `a transaction waits that can't be replaced within the fee cap of ${feeCapWei} wei per gas; wait, or raise the cap`;
    if (problems.set("fee-cap", cappedOut ? cap : null) && cappedOut) logger.error(cap);
    const words =
      stuck === null
        ? null
        : `nonce ${stuck} is not mined after ${cancelAfterMs} ms though it offered enough; it is being cancelled`;
    if (problems.set("stuck", words) && words !== null) logger.error(words);
  }
}

/**
 * What is signed at first, and what replaces it, stays an eighth below the cap: so there is always room for one
 * that cancels.
 */
export function ordinaryCap(capWei: bigint): bigint {
  return (capWei * 8n) / 9n;
}

/** Cuts an offer at the cap. */
export function capped(fees: FeeOffer, capWei: bigint): FeeOffer {
  const maxFeePerGasWei = fees.maxFeePerGasWei < capWei ? fees.maxFeePerGasWei : capWei;
  const tipWei = fees.maxPriorityFeePerGasWei;
  return {
    maxFeePerGasWei,
    maxPriorityFeePerGasWei: tipWei < maxFeePerGasWei ? tipWei : maxFeePerGasWei,
  };
}
