import type { Epoch, NodeId, TrusteeSet, TxId, TxRecord } from "@quorate/core";
import type { Clock, Logger, TallyStore } from "@quorate/ports";
import { rendezvousRank } from "./rendezvous.ts";
import type { TallyView } from "./tally-view.ts";
import type { VotePipeline } from "./vote-pipeline.ts";

export interface DeadlineOptions {
  readonly nodeId: NodeId;
  /** How long each further rank waits for the owner to judge, in ms. */
  readonly staggerMs: number;
  /** How often the list of open transactions is looked through, in ms. */
  readonly intervalMs: number;
}

interface OpenTransaction {
  /** Since when this node has seen it open, by its monotonic clock. */
  readonly sinceMs: number;
  /** When it is to be judged, or judged once more, by the same clock. */
  dueMs: number;
  readonly epoch: Epoch;
}

/** What was judged and is still open after so long is judged once more, in ms: no state may have every sweep ask again. */
const REJUDGE_MS = 5_000;

/**
 * Has silence judged when a transaction's deadline passes, which for this node is when it has itself seen the transaction
 * open for as long as the record allows it. No wall clock is asked: whoever opened it may have a wrong one, and this node
 * too, and either would have honest trustees called silent before they could vote [spec §14.2, clock skew]. A node that
 * starts counts from its start; the others have counted on. The transaction's owner
 * does it, the others after it in order of rank; the record's `absent` field,
 * written once under the status guard, makes it happen once.
 */
export class DeadlineMonitor {
  readonly #options: DeadlineOptions;
  readonly #deps: {
    readonly sets: () => ReadonlyMap<Epoch, TrusteeSet>;
    readonly store: TallyStore;
    readonly view: TallyView;
    readonly pipeline: VotePipeline;
    readonly clock: Clock;
    readonly logger: Logger;
  };
  /** Deadlines of open transactions: kept here, for the view may drop a transaction. */
  readonly #open = new Map<TxId, OpenTransaction>();
  #streaks: ReadonlyMap<NodeId, number> = new Map();

  constructor(
    options: DeadlineOptions,
    dependencies: {
      readonly sets: () => ReadonlyMap<Epoch, TrusteeSet>;
      readonly store: TallyStore;
      readonly view: TallyView;
      readonly pipeline: VotePipeline;
      readonly clock: Clock;
      readonly logger: Logger;
    },
  ) {
    this.#options = options;
    this.#deps = dependencies;
  }

  get openTransactions(): number {
    return this.#open.size;
  }

  /** Epochs of the transactions that are open: their trustees still have a say. */
  openEpochs(): ReadonlySet<Epoch> {
    return new Set([...this.#open.values()].map(({ epoch }) => epoch));
  }

  onView(touched: Iterable<TxId>): void {
    const { view } = this.#deps;
    for (const txId of touched) {
      const record = view.record(txId);
      if (record !== null && this.#needsJudging(txId)) {
        if (!this.#open.has(txId)) this.#open.set(txId, this.#opened(record));
      }
      // A transaction that was dropped from view comes back without its record when somebody votes on it: its deadline stands.
      else if (record !== null || view.status(txId) === null) this.#open.delete(txId);
    }
  }

  #opened({ openedAtMs, deadlineAtMs, epoch }: TxRecord): OpenTransaction {
    const lengthMs = Math.max(0, deadlineAtMs - openedAtMs);
    const sinceMs = this.#deps.clock.monotonicMs();
    return { sinceMs, dueMs: sinceMs + lengthMs, epoch };
  }

  async run(options: { readonly signal: AbortSignal }): Promise<void> {
    const { clock, logger } = this.#deps;
    while (!options.signal.aborted) {
      try {
        await clock.sleep(this.#options.intervalMs, options);
        await this.#sweep(options);
      } catch (error) {
        if (options.signal.aborted) return;
        logger.warn("deadline sweep failed, it is tried again", { error });
      }
    }
  }

  async #sweep(options: { readonly signal: AbortSignal }): Promise<void> {
    const { store, view, pipeline, clock } = this.#deps;
    const due: TxId[] = [];
    const nowMs = clock.monotonicMs();
    const live = [...view.presence.values()].map((p) => p.nodeId);
    for (const [txId, { dueMs }] of this.#open) {
      // A rank costs hashes, and most open transactions are not due.
      if (nowMs < dueMs) continue;
      const rank = rendezvousRank(txId, this.#options.nodeId, live);
      if (nowMs >= dueMs + rank * this.#options.staggerMs) due.push(txId);
    }
    if (due.length === 0) return;
    this.#streaks = await store.readSilenceStreaks(options);
    for (const txId of due) {
      const open = this.#open.get(txId);
      if (open === undefined) continue;
      // The pipeline reads what the view has dropped; it comes back into view by that, and is then known to be judged.
      if (view.record(txId) === null || this.#needsJudging(txId)) {
        open.dueMs = nowMs + REJUDGE_MS;
        pipeline.judgeDeadline(txId, this.#streaks, open.sinceMs);
      } else this.#open.delete(txId);
    }
  }

  #needsJudging(txId: TxId): boolean {
    const { view } = this.#deps;
    const record = view.record(txId);
    const status = view.status(txId);
    if (record === null || status === null || status === "ABORTED_BYZANTINE") return false;
    // Of what is archived the votes are gone: everybody would look silent.
    if (view.isArchived(txId)) return false;
    const set = this.#deps.sets().get(record.epoch);
    // So old an epoch's set is gone, and with it who was expected.
    if (set === undefined) return false;
    // Also when silence was judged before and the threshold was lost since: nothing else would end it.
    if (status === "COLLECTING") return true;
    // Not read in full since this node started: an equivocation that was recorded by itself is not known here yet.
    if (
      status === "THRESHOLD_REACHED" &&
      (view.snapshot(txId) === null || this.#isForbidden(txId, record, set.threshold))
    )
      return true;
    if (record.absent !== null) return false;
    // All who are waited for have voted and none of them has a run of silence to end: there is nothing to judge. Whoever is
    // out keeps the run that put him out, and it is nobody's business here.
    const votes = view.votes(txId);
    return set.trustees.some(
      ({ nodeId, peerId }) =>
        !record.excluded.includes(nodeId) &&
        !view.bans.has(peerId) &&
        (!votes.has(nodeId) || (this.#streaks.get(nodeId) ?? 0) > 0),
    );
  }

  /** Whether equivocations that were recorded by themselves keep the submitter from claiming it: only a decision ends it then. */
  #isForbidden(txId: TxId, { policy, value }: TxRecord, threshold: number): boolean {
    const { view } = this.#deps;
    const guilty = new Set(
      [...view.violations(txId)].flatMap(([node, types]) =>
        types.has("DOUBLE_VOTING") ? [node] : [],
      ),
    );
    if (guilty.size === 0) return false;
    if (policy === "strict-abort") return true;
    const backing = [...view.votes(txId).values()].filter(
      ({ vote }) => vote.value === value && !guilty.has(vote.nodeId),
    );
    return backing.length < threshold;
  }
}
