import { DIFFERS_REASON, HISTORY_REASON, mayThawItself } from "@quorate/core";
import {
  type Chain,
  ChainError,
  type FinalityMode,
  type ImportReport,
  type Logger,
  type Sender,
  type SenderLease,
  type SenderState,
  type SubmissionStore,
} from "@quorate/ports";
import type { SubmitterMetrics } from "./catalogue.ts";
import { FencedError } from "./fenced-error.ts";

export interface HistoryCheckOptions {
  readonly finality: FinalityMode;
  /** The block of the contract's deployment; nothing before it is asked for. */
  readonly deployedAtBlock: bigint;
}

export interface HistoryCheckDependencies {
  readonly chain: Pick<
    Chain,
    "nonceFloor" | "finalizedHead" | "transactionCount" | "recordedEvents"
  >;
  readonly submissions: Pick<
    SubmissionStore,
    "senderState" | "freeze" | "thaw" | "becomeLeader" | "importRecords"
  >;
  readonly logger: Logger;
  readonly metrics: SubmitterMetrics;
}

/** What holding the database against the chain came to, for a person. */
export interface HistoryReport {
  readonly throughBlock: bigint;
  readonly known: number;
  readonly inFlight: number;
  readonly settled: number;
  readonly contradicted: number;
  readonly unknownKeys: number;
}

const NOTHING: Omit<HistoryReport, "throughBlock"> = {
  known: 0,
  inFlight: 0,
  settled: 0,
  contradicted: 0,
  unknownKeys: 0,
};
const BLOCKS_AT_ONCE = 10_000n;
/** Ids named in a log record. */
const NAMED_MAX = 20;

type Options = { readonly signal: AbortSignal };

/**
 * Holds the database against the chain before anything new is signed: after a restored backup the chain knows of
 * nonces and results that the database has forgotten (§16.3). The sender is frozen meanwhile; it thaws by itself when
 * nothing differs, and waits for a person when something does. What a crash interrupts is begun again at the next start.
 */
export class HistoryCheck {
  readonly #options: HistoryCheckOptions;
  readonly #deps: HistoryCheckDependencies;
  readonly #sender: Sender;
  #floor = 0n;
  #lease: SenderLease | null = null;
  #frozen: SenderState["frozen"] = null;
  #report: HistoryReport | null = null;

  constructor(
    sender: Sender,
    options: HistoryCheckOptions,
    dependencies: HistoryCheckDependencies,
  ) {
    this.#sender = sender;
    this.#options = options;
    this.#deps = dependencies;
  }

  /** Why nothing new is signed; null when it may be. */
  get problem(): string | null {
    return this.#frozen === null ? null : `the sender is frozen: ${this.#frozen.reason}`;
  }

  get report(): HistoryReport | null {
    return this.#report;
  }

  /**
   * Becomes the leader above every nonce that the chain or any endpoint's pool knows of. Freezes first when that is more
   * than the database knows of: nothing may be signed between the two.
   */
  async lead(options: Options): Promise<SenderLease> {
    const { chain, submissions, logger } = this.#deps;
    const before = await submissions.senderState(this.#sender, options);
    this.#floor = await chain.nonceFloor(this.#sender.address, options);
    if (before !== null && before.frozen === null && this.#floor > before.nextNonce) {
      const reason = `${HISTORY_REASON}the chain knows ${this.#floor} transactions of this account, the database ${before.nextNonce}`;
      logger.error("the chain is ahead of the database; the sender is frozen", { reason });
      await submissions.freeze(this.#sender, reason, options);
    }
    this.#lease = await submissions.becomeLeader(this.#sender, this.#floor, options);
    const state = await submissions.senderState(this.#sender, options);
    this.#note(state);
    // A database that never saw this contract's events takes what is final before it signs anything.
    if (state?.importedThroughBlock === null) await this.#takeOver(state, options);
    return this.#lease;
  }

  /** Called at each head: goes on with the check while the sender is frozen, and sees what a person froze or thawed. */
  async onHead(options: Options): Promise<void> {
    const { chain, submissions, logger } = this.#deps;
    const state = await submissions.senderState(this.#sender, options);
    this.#note(state);
    if (state === null || state.frozen === null) return;
    const { reason } = state.frozen;
    // What a person froze is that person's; nothing is changed about it.
    if (!mayThawItself(reason) && !reason.startsWith(DIFFERS_REASON)) return;
    const final = await this.#final(options);
    if (final === null) return;
    // Until every nonce below the floor is final, what it did may still change.
    const agreed = { ...options, agreed: true };
    const used = await chain.transactionCount(this.#sender.address, final, agreed);
    if (used < this.#floor) return;
    await this.#takeOver(state, options);
    if (this.#differences() > 0 || !mayThawItself(reason)) return;
    await submissions.thaw(this.#sender, "the submitter: nothing differs from the chain", {
      ...options,
      onlyIf: reason,
    });
    logger.warn("history was held against the chain and nothing differs; the sender may go on");
    this.#note(await submissions.senderState(this.#sender, options));
  }

  #differences(): number {
    const { settled, contradicted, unknownKeys } = this.#report ?? NOTHING;
    return settled + contradicted + unknownKeys;
  }

  #note(state: SenderState | null): void {
    this.#frozen = state?.frozen ?? null;
    this.#deps.metrics.frozen.set({}, this.#frozen === null ? 0 : 1);
  }

  async #final(options: Options): Promise<bigint | null> {
    try {
      const head = await this.#deps.chain.finalizedHead(this.#options.finality, {
        ...options,
        agreed: true,
      });
      return head?.number ?? null;
    } catch (error) {
      if (error instanceof ChainError && error.code === "RPC_DISAGREE") return null;
      throw error;
    }
  }

  /** Takes over all events of final blocks that were not imported yet. What differs freezes the sender until a person looks. */
  async #takeOver(state: SenderState, options: Options): Promise<void> {
    const { chain, submissions, logger } = this.#deps;
    const final = await this.#final(options);
    if (final === null || this.#lease === null) return;
    const before = this.#differences();
    let from =
      state.importedThroughBlock === null
        ? this.#options.deployedAtBlock
        : state.importedThroughBlock + 1n;
    while (from <= final) {
      const last = from + BLOCKS_AT_ONCE - 1n;
      const to = last < final ? last : final;
      const events = await chain.recordedEvents(from, to, { ...options, agreed: true });
      const outcome = await submissions.importRecords(this.#lease, events, to, options);
      if (outcome.kind === "fenced") throw new FencedError();
      this.#add(outcome, to);
      from = to + 1n;
    }
    if (this.#differences() === before) return;
    const { settled, contradicted, unknownKeys } = this.#report ?? NOTHING;
    const reason = `${DIFFERS_REASON}${settled} results were recorded that it held for unsent, ${contradicted} with another value, and ${unknownKeys} records are of results it does not know; all are taken over and none will be sent again. Thaw with: quorate submissions unfreeze`;
    logger.error("the database differs from the chain", { ...this.#report });
    await submissions.freeze(this.#sender, reason, options);
    this.#note(await submissions.senderState(this.#sender, options));
  }

  #add(found: ImportReport, throughBlock: bigint): void {
    const sum = this.#report ?? { ...NOTHING, throughBlock };
    this.#report = {
      throughBlock,
      known: sum.known + found.known,
      inFlight: sum.inFlight + found.inFlight,
      settled: sum.settled + found.settled.length,
      contradicted: sum.contradicted + found.contradicted.length,
      unknownKeys: sum.unknownKeys + found.unknownKeys.length,
    };
    this.#deps.metrics.differences.set({}, this.#differences());
    const { settled, contradicted, unknownKeys } = found;
    if (settled.length + contradicted.length + unknownKeys.length > 0)
      this.#deps.logger.warn("records on the chain that the database did not know", {
        settled: settled.slice(0, NAMED_MAX),
        contradicted: contradicted.slice(0, NAMED_MAX),
        unknownKeys: unknownKeys.slice(0, NAMED_MAX),
      });
  }
}
