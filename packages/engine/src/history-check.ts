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
import { FencedError, throwIfFenced } from "./fenced-error.ts";

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
    | "senderState"
    | "freeze"
    | "thaw"
    | "becomeLeader"
    | "importRecords"
    | "markHistoryChecked"
    | "raiseFloor"
    | "strandedSlots"
  >;
  readonly logger: Logger;
  readonly metrics: SubmitterMetrics;
}

/** What holding the database against the chain came to in this process, for a person. */
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
// Sparse history is read in wide strides, dense history in pieces that fit one transaction of the database.
const BLOCKS_AT_ONCE = { first: 500n, most: 10_000n };
const RECORDS_PER_PIECE = { few: 1_000, many: 10_000 };
/** Ids named in a log record. */
const NAMED_MAX = 20;

type Options = { readonly signal: AbortSignal };

/**
 * Holds the database against the chain before anything is signed: after a restored backup, or a failover that lost its
 * tail, the chain knows of nonces and results that the database has forgotten (§16.3). Until that is done the database
 * itself gives out no nonce (`historyChecked`), so a crash at any point leaves it to be done. The sender thaws by itself
 * when nothing differed, and waits for a person when something did; that something did is in the database too.
 */
export class HistoryCheck {
  readonly #options: HistoryCheckOptions;
  readonly #deps: HistoryCheckDependencies;
  readonly #sender: Sender;
  #lease: SenderLease | null = null;
  #state: SenderState | null = null;
  #stranded = 0;
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

  /** Why nothing new is signed, or what nobody follows; null when all is well. */
  get problem(): string | null {
    const { frozen = null, historyChecked = true } = this.#state ?? {};
    const words: string[] = [];
    if (frozen !== null) words.push(`the sender is frozen: ${frozen.reason}`);
    if (!historyChecked)
      words.push(
        "the database is being held against the chain; nothing is signed before that is done",
      );
    if (this.#stranded > 0)
      words.push(
        `${this.#stranded} nonces of another account on this chain are not final and nobody follows them: run a submitter with that account's key until they are`,
      );
    return words.length === 0 ? null : words.join("; ");
  }

  get report(): HistoryReport | null {
    return this.#report;
  }

  /**
   * Becomes the leader above every nonce that the chain or any endpoint's pool knows of. When that is more than the
   * database knows of, it is frozen first: nothing may be signed between the two.
   */
  async lead(options: Options): Promise<SenderLease> {
    const { chain, submissions, logger } = this.#deps;
    const before = await submissions.senderState(this.#sender, options);
    const floor = await chain.nonceFloor(this.#sender.address, options);
    if (before !== null && floor > before.nextNonce) await this.#lost(floor, before, options);
    const lease = await submissions.becomeLeader(this.#sender, floor, options);
    this.#lease = lease;
    this.#stranded = await submissions.strandedSlots(this.#sender, options);
    if (this.#stranded > 0)
      logger.error("nonces of another account are not final, and nobody follows them", {
        slots: this.#stranded,
      });
    await this.#look(options);
    return lease;
  }

  /** Called at each head: notices nonces that somebody else used, goes on with the check, and sees what a person froze or thawed. */
  async onHead(options: Options): Promise<void> {
    const lease = this.#lease;
    let state = await this.#look(options);
    if (lease === null || state === null) return;
    state = (await this.#overtaken(lease, state, options)) ?? state;
    if (!state.historyChecked) state = (await this.#check(lease, state, options)) ?? state;
    if (!state.historyChecked || state.frozen === null) return;
    const { reason } = state.frozen;
    if (state.historyDiffers || !mayThawItself(reason)) return;
    await this.#deps.submissions.thaw(
      this.#sender,
      "the submitter: nothing differs from the chain",
      { ...options, onlyIf: reason },
    );
    this.#deps.logger.warn(
      "history was held against the chain and nothing differs; the sender may go on",
    );
    await this.#look(options);
  }

  async #look(options: Options): Promise<SenderState | null> {
    this.#state = await this.#deps.submissions.senderState(this.#sender, options);
    this.#deps.metrics.frozen.set({}, (this.#state?.frozen ?? null) === null ? 0 : 1);
    return this.#state;
  }

  async #lost(known: bigint, { nextNonce }: SenderState, options: Options): Promise<void> {
    const reason = `${HISTORY_REASON}the chain knows ${known} transactions of this account, the database ${nextNonce}`;
    this.#deps.logger.error("the chain is ahead of the database; the sender is frozen", { reason });
    await this.#deps.submissions.freeze(this.#sender, reason, options);
  }

  /** Somebody else uses the key, or the database lost its newest writes under a leader that stayed. */
  async #overtaken(
    lease: SenderLease,
    state: SenderState,
    options: Options,
  ): Promise<SenderState | null> {
    const { chain, submissions } = this.#deps;
    const { address } = this.#sender;
    if ((await chain.transactionCount(address, "latest", options)) <= state.nextNonce) return null;
    const count = await orNull(
      chain.transactionCount(address, "latest", { ...options, agreed: true }),
    );
    // Nonces may have been taken since the state was read.
    const now = await this.#look(options);
    if (count === null || now === null || count <= now.nextNonce) return now;
    await this.#lost(count, now, options);
    throwIfFenced(await submissions.raiseFloor(lease, count, options));
    return this.#look(options);
  }

  /** @returns null while it is not done. */
  async #check(
    lease: SenderLease,
    state: SenderState,
    options: Options,
  ): Promise<SenderState | null> {
    const { chain, submissions } = this.#deps;
    const mode = this.#options.finality;
    const found = await orNull(
      chain
        .finalizedHead(mode, { ...options, agreed: true })
        .then((head) => ({ number: head?.number ?? null })),
    );
    if (found === null) return null;
    const final = found.number;
    if (state.frozen !== null) {
      // Until every nonce below the next one is final, what was done with it may still change.
      if (final === null) return null;
      const agreed = { ...options, agreed: true };
      const used = await orNull(chain.transactionCount(this.#sender.address, final, agreed));
      if (used === null || used < state.nextNonce) return null;
    }
    if (final !== null) await this.#takeOver(lease, state, final, options);
    const after = await this.#look(options);
    // Before it counts as checked: a crash in between leaves it unchecked.
    if (after?.historyDiffers === true) await this.#holdForPerson(after, options);
    throwIfFenced(await submissions.markHistoryChecked(lease, options));
    return this.#look(options);
  }

  /** Takes over all events of final blocks that were not imported yet. */
  async #takeOver(
    lease: SenderLease,
    { importedThroughBlock }: SenderState,
    final: bigint,
    options: Options,
  ): Promise<void> {
    const { chain, submissions } = this.#deps;
    let from =
      importedThroughBlock === null ? this.#options.deployedAtBlock : importedThroughBlock + 1n;
    let stride = BLOCKS_AT_ONCE.first;
    while (from <= final) {
      const last = from + stride - 1n;
      const to = last < final ? last : final;
      const events = await chain.recordedEvents(from, to, { ...options, agreed: true });
      const outcome = await submissions.importRecords(lease, events, to, options);
      if (outcome.kind === "fenced") throw new FencedError();
      this.#add(outcome, to);
      from = to + 1n;
      if (events.length > RECORDS_PER_PIECE.many && stride > 1n) stride /= 2n;
      else if (events.length < RECORDS_PER_PIECE.few && stride < BLOCKS_AT_ONCE.most) stride *= 2n;
    }
  }

  async #holdForPerson({ frozen }: SenderState, options: Options): Promise<void> {
    if (frozen !== null && !mayThawItself(frozen.reason)) return;
    const { settled, contradicted, unknownKeys } = this.#report ?? NOTHING;
    const reason = `${DIFFERS_REASON}${settled} results were recorded that it held for unsent, ${contradicted} with another value, and ${unknownKeys} records are of results it does not know (as far as this process saw); all are taken over and none will be sent again. Thaw with: quorate submissions unfreeze`;
    this.#deps.logger.error("the database differs from the chain", { ...this.#report });
    await this.#deps.submissions.freeze(this.#sender, reason, options);
  }

  #add(found: ImportReport, throughBlock: bigint): void {
    const sum = this.#report ?? { ...NOTHING, throughBlock };
    const report = {
      throughBlock,
      known: sum.known + found.known,
      inFlight: sum.inFlight + found.inFlight,
      settled: sum.settled + found.settled.length,
      contradicted: sum.contradicted + found.contradicted.length,
      unknownKeys: sum.unknownKeys + found.unknownKeys.length,
    };
    this.#report = report;
    const { settled, contradicted, unknownKeys } = found;
    this.#deps.metrics.differences.set(
      {},
      report.settled + report.contradicted + report.unknownKeys,
    );
    if (settled.length + contradicted.length + unknownKeys.length > 0)
      this.#deps.logger.warn("records on the chain that the database did not know", {
        settled: settled.slice(0, NAMED_MAX),
        contradicted: contradicted.slice(0, NAMED_MAX),
        unknownKeys: unknownKeys.slice(0, NAMED_MAX),
      });
  }
}

/** Null while endpoints do not agree. */
async function orNull<T>(answer: Promise<T>): Promise<T | null> {
  try {
    return await answer;
  } catch (error) {
    if (error instanceof ChainError && error.code === "RPC_DISAGREE") return null;
    throw error;
  }
}
