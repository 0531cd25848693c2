import {
  type Decision,
  decide,
  LIMITS,
  type NodeId,
  type TrusteeSet,
  type TxId,
  type TxRecord,
  type TxWrites,
  type VerifiedVote,
} from "@quorate/core";
import {
  type ClusterConfig,
  type CommitOutcome,
  StoreError,
  type TxCommit,
  type VersionedSnapshot,
} from "@quorate/ports";
import { DueQueue } from "./due-queue.ts";
import { MovingAverage } from "./moving-average.ts";
import { rendezvousRank } from "./rendezvous.ts";
import type {
  PipelineDependencies,
  PipelineOptions,
  RecordOutcome,
} from "./vote-pipeline-options.ts";
import type { VoteTurn } from "./vote-turn.ts";

interface PendingVote {
  readonly vote: VerifiedVote;
  readonly sinceMs: number;
  readonly waiters: ((outcome: RecordOutcome) => void)[];
}

interface PendingTx {
  readonly txId: TxId;
  readonly rank: number;
  readonly votes: PendingVote[];
  dueMs: number;
  inFlight: boolean;
  attempts: number;
  deadlinePassed: boolean;
  /** Since when this node has seen it open, by its monotonic clock; told with the deadline. */
  openSinceMs: number;
  /** The last commit left something to be judged. */
  more: boolean;
}

/** A slow store must not make votes wait for ever to meet. */
const WINDOW_MS_MAX = 100;
/** Beyond it an owner counts as gone, however slow everything is: the last of five ranks writes after 4 s. */
const STAGGER_MS_MAX = 1_000;

/** One transaction's part in one round trip. */
interface Turn {
  readonly tx: PendingTx;
  readonly base: VersionedSnapshot;
  readonly decision: Decision;
  readonly votes: readonly PendingVote[];
  /** Whether this decision judged the deadline. */
  readonly judged: boolean;
  /** Null unless one of the votes is traced. */
  readonly spanned: VoteTurn | null;
}

/**
 * Brings votes into etcd: waits a moment so that a transaction's votes meet, decides
 * on the snapshot in view, commits with guards, decides again where a guard failed.
 *
 * Every node holds every vote until it sees it recorded; the owner writes first and
 * the others follow in order of rank if it does not (R4). So a vote is lost only
 * when all nodes that hold it die before one of them has written it.
 *
 * Effects (bans, metrics) come after the commit that justifies them.
 */
export class VotePipeline {
  readonly #options: PipelineOptions;
  readonly #deps: PipelineDependencies;
  readonly #pending = new Map<TxId, PendingTx>();
  readonly #queue = new DueQueue<PendingTx>();
  readonly #stopping = new AbortController();
  readonly #retries = new Set<() => void>();
  #config: ClusterConfig;
  #streaks: ReadonlyMap<NodeId, number> = new Map();
  /** Somebody else has changed them since they were read. */
  #streaksStale = false;
  /** When the tally could last not be written, by the monotonic clock: the record's times are by another node's clock. */
  #troubleAtMs = Number.NEGATIVE_INFINITY;
  #votes = 0;
  #batches = 0;
  #cancelTimer: (() => void) | null = null;
  #timerAtMs = Number.POSITIVE_INFINITY;
  #idle: (() => void)[] = [];
  #failingSinceMs: number | null = null;
  /** Moving averages: of own commit calls, and of how long others took to record what was pending here. */
  readonly #commitMs = new MovingAverage();
  readonly #othersMs = new MovingAverage();

  constructor(config: ClusterConfig, options: PipelineOptions, dependencies: PipelineDependencies) {
    this.#config = config;
    this.#options = options;
    this.#deps = dependencies;
  }

  /** Votes that wait to be recorded. */
  get pendingVotes(): number {
    return this.#votes;
  }

  /** Since when commits have been failing, by the monotonic clock; null while they succeed. */
  get failingSinceMs(): number | null {
    return this.#failingSinceMs;
  }

  setConfig(config: ClusterConfig): void {
    this.#config = config;
  }

  /** Takes a verified vote. Resolves when its fate is known; repeating it is harmless. */
  record(vote: VerifiedVote): Promise<RecordOutcome> {
    return new Promise((resolve) => this.#take(vote, resolve));
  }

  /** Takes a verified vote whose fate nobody here waits for. @returns false when the queue is full. */
  offer(vote: VerifiedVote): boolean {
    return this.#take(vote, null);
  }

  #take(vote: VerifiedVote, waiter: ((outcome: RecordOutcome) => void) | null): boolean {
    const { txId, nodeId, value } = vote.vote;
    if (this.#deps.view.votes(txId).get(nodeId)?.vote.value === value) {
      waiter?.({ kind: "RECORDED" });
      return true;
    }
    const same = this.#pending
      .get(txId)
      ?.votes.find((p) => p.vote.vote.nodeId === nodeId && p.vote.vote.value === value);
    if (same !== undefined) {
      if (waiter !== null) same.waiters.push(waiter);
      return true;
    }
    if (this.#stopping.signal.aborted || this.#votes >= LIMITS.pendingVotesMax) {
      waiter?.({ kind: "REFUSED", code: this.#stopping.signal.aborted ? "STOPPED" : "QUEUE_FULL" });
      return false;
    }
    this.#lookForConflict(vote);
    if (this.#isTwiceOtherwise(vote)) {
      // As a decision would say it: after the message was judged.
      queueMicrotask(() => this.#deps.onRefused(vote, "EQUIVOCATION"));
      waiter?.({ kind: "EQUIVOCATION" });
      return true;
    }
    const tx = this.#pendingTx(txId);
    const sinceMs = this.#deps.clock.monotonicMs();
    // A backup gives each trustee's vote its time: the owner may be at work on the earlier ones.
    // A second value of the same trustee gets none, or an equivocator could put it off for ever.
    const first = !tx.votes.some((p) => p.vote.vote.nodeId === nodeId);
    if (tx.rank > 0 && first) tx.dueMs = sinceMs + this.#windowMs() + tx.rank * this.#staggerMs();
    tx.votes.push({ vote, sinceMs, waiters: waiter === null ? [] : [waiter] });
    this.#count(1);
    if (tx.rank === 0 && !tx.inFlight && this.#hasAllVotes(tx)) {
      // It waits for nothing more.
      this.#queue.pushUrgent(tx);
      this.#arm(sinceMs);
    }
    return true;
  }

  #lookForConflict(vote: VerifiedVote): void {
    const { txId, nodeId, value } = vote.vote;
    const recorded = this.#deps.view.votes(txId).get(nodeId);
    if (recorded !== undefined) return this.#deps.onConflict(recorded, vote);
    const pending = this.#pending.get(txId)?.votes;
    const other = pending?.find(
      (p) => p.vote.peerId === vote.peerId && p.vote.vote.value !== value,
    );
    if (other !== undefined) this.#deps.onConflict(other.vote, vote);
  }

  /** Two values of one trustee are the proof; any more of them would only fill the queue. */
  #isTwiceOtherwise({ vote, peerId }: VerifiedVote): boolean {
    const pending = this.#pending.get(vote.txId)?.votes ?? [];
    return pending.filter((p) => p.vote.peerId === peerId).length >= 2;
  }

  #hasAllVotes(tx: PendingTx): boolean {
    const { view } = this.#deps;
    const set = this.#setOf(view.record(tx.txId));
    const missing = (set?.trustees.length ?? 0) - view.votes(tx.txId).size;
    return tx.votes.length >= missing;
  }

  /**
   * Has the silence of an overdue transaction judged, in the same turn as its votes.
   * @param sinceMs since when this node has seen it open, by its monotonic clock
   */
  judgeDeadline(txId: TxId, streaks: ReadonlyMap<NodeId, number>, sinceMs: number): void {
    if (this.#stopping.signal.aborted) return;
    this.#streaks = streaks;
    this.#streaksStale = false;
    const tx = this.#pendingTx(txId);
    tx.deadlinePassed = true;
    tx.openSinceMs = sinceMs;
  }

  /** Tells that the view moved: what is recorded need not be written any more. */
  onView(touched: Iterable<TxId>): void {
    for (const txId of touched) {
      const tx = this.#pending.get(txId);
      if (tx !== undefined && !tx.inFlight) this.#dropRecorded(tx);
    }
  }

  /** Waits until nothing is pending. */
  async drain(): Promise<void> {
    if (this.#pending.size === 0) return;
    await new Promise<void>((resolve) => this.#idle.push(resolve));
  }

  /** Refuses what still waits. Commits under way are cut off: their votes are with the other nodes too. */
  stop(): void {
    this.#stopping.abort(new Error("the vote pipeline stops"));
    this.#cancelTimer?.();
    for (const cancel of this.#retries) cancel();
    for (const tx of this.#pending.values())
      for (const p of tx.votes.slice()) this.#settle(tx, p, { kind: "REFUSED", code: "STOPPED" });
    this.#pending.clear();
    this.#wakeIdle();
  }

  #pendingTx(txId: TxId): PendingTx {
    const existing = this.#pending.get(txId);
    if (existing !== undefined) return existing;
    const rank = this.#rank(txId);
    const dueMs = this.#deps.clock.monotonicMs() + this.#windowMs() + rank * this.#staggerMs();
    const tx = {
      txId,
      rank,
      votes: [],
      dueMs,
      inFlight: false,
      attempts: 0,
      deadlinePassed: false,
      openSinceMs: Number.POSITIVE_INFINITY,
      more: false,
    };
    this.#pending.set(txId, tx);
    this.#queue.push(tx);
    this.#arm(dueMs);
    return tx;
  }

  #windowMs(): number {
    return Math.max(this.#options.windowMs, Math.min(this.#commitMs.value, WINDOW_MS_MAX));
  }

  #staggerMs(): number {
    return Math.max(this.#options.staggerMs, Math.min(3 * this.#othersMs.value, STAGGER_MS_MAX));
  }

  #rank(txId: TxId): number {
    const { view } = this.#deps;
    const live: NodeId[] = [];
    for (const p of view.presence.values())
      if (this.#config.set.byPeerId.has(p.peerId) && !view.bans.has(p.peerId)) live.push(p.nodeId);
    return rendezvousRank(txId, this.#options.nodeId, live);
  }

  #arm(atMs: number): void {
    if (atMs >= this.#timerAtMs || this.#stopping.signal.aborted) return;
    this.#cancelTimer?.();
    this.#timerAtMs = atMs;
    const { clock } = this.#deps;
    this.#cancelTimer = clock.schedule(Math.max(0, atMs - clock.monotonicMs()), () => {
      this.#timerAtMs = Number.POSITIVE_INFINITY;
      this.#cancelTimer = null;
      this.#flush();
    });
  }

  #flush(): void {
    const now = this.#deps.clock.monotonicMs();
    while (this.#batches < this.#options.batchesInFlightMax) {
      const batch = this.#queue.take(now, this.#options.batchMax, (tx) => this.#accept(tx));
      if (batch.length === 0) break;
      this.#batches++;
      void this.#run(batch).finally(() => {
        this.#batches--;
        this.#flush();
      });
    }
    // When all places are taken, the batch that ends flushes again.
    if (this.#batches >= this.#options.batchesInFlightMax) return;
    const nextMs = this.#queue.nextMs();
    if (nextMs < Number.POSITIVE_INFINITY) this.#arm(Math.max(nextMs, now));
  }

  /** A transaction may wait in two places, and a place is stale when somebody else has recorded it. */
  #accept(tx: PendingTx): boolean {
    if (this.#pending.get(tx.txId) !== tx || tx.inFlight) return false;
    tx.inFlight = true;
    return true;
  }

  async #run(batch: readonly PendingTx[]): Promise<void> {
    this.#deps.metrics.commitTransactions.observe({}, batch.length);
    let open = batch;
    try {
      // A lost race comes back with the fresh state, so a few turns settle it even when all nodes write at once.
      for (let turn = 0; open.length > 0 && turn < 8; turn++) open = await this.#commitOnce(open);
      this.#failingSinceMs = null;
      for (const tx of open) this.#later(tx, "too many conflicts");
    } catch (error) {
      if (this.#stopping.signal.aborted) return;
      this.#failingSinceMs ??= this.#deps.clock.monotonicMs();
      this.#troubleAtMs = this.#deps.clock.monotonicMs();
      const retryable = error instanceof StoreError ? error.retryable : false;
      const fields = { error, transactions: open.length };
      if (retryable) this.#deps.logger.warn("commit failed, its result is unknown", fields);
      else this.#deps.logger.error("commit failed", fields);
      for (const tx of open) {
        // Those that needed no commit are done, whatever became of the others.
        if (!tx.inFlight) continue;
        this.#deps.view.distrust(tx.txId);
        this.#later(tx, "commit failed");
      }
    }
  }

  /** One round trip. @returns the transactions that must be decided again. */
  async #commitOnce(batch: readonly PendingTx[]): Promise<readonly PendingTx[]> {
    const { store, view, metrics, spans } = this.#deps;
    const commits: TxCommit[] = [];
    const sent: Turn[] = [];
    const signal = this.#stopping.signal;
    const startMs = spans?.now() ?? 0;
    if (this.#streaksStale && batch.some((tx) => tx.deadlinePassed)) {
      this.#streaks = await store.readSilenceStreaks({ signal });
      this.#streaksStale = false;
    }
    const bases = await Promise.all(batch.map((tx) => this.#base(tx)));
    for (const [i, tx] of batch.entries()) {
      const base = bases[i] as VersionedSnapshot;
      const votes = [...tx.votes];
      const judged = tx.deadlinePassed;
      const spanned = spans?.turn(votes, startMs, batch.length) ?? null;
      const decided = this.#tryDecide(tx, base, votes, spanned);
      if (decided === null) continue;
      const decision = spanned?.decided(decided, base.snapshot) ?? decided;
      const entry = { tx, base, decision, votes, judged, spanned };
      if (decision.writes === null) {
        spanned?.ended("nothing_to_write");
        this.#finish(entry);
      } else {
        commits.push({ version: base.version, writes: decision.writes });
        sent.push(entry);
      }
    }
    if (commits.length === 0) return [];
    const sentMs = this.#deps.clock.monotonicMs();
    this.#deps.fault?.("commit.before");
    const committing = store.commit(commits, this.#config.epochVersion, { signal });
    const outcomes = await committing.catch((error: unknown) => {
      for (const { spanned } of sent) spanned?.ended("unknown");
      throw error;
    });
    this.#deps.fault?.("commit.after");
    this.#commitMs.add(this.#deps.clock.monotonicMs() - sentMs);
    const again: PendingTx[] = [];
    for (const [i, entry] of sent.entries()) {
      const outcome = outcomes[i] as CommitOutcome;
      if (outcome.kind === "committed") {
        const writes = entry.decision.writes as TxWrites;
        view.adoptCommit(entry.base, writes, outcome.revision);
        entry.spanned?.ended("committed", outcome.revision);
        this.#effects(writes, entry.base);
        this.#finish(entry);
      } else {
        metrics.commitConflicts.inc({});
        entry.spanned?.ended("conflict");
        view.adopt(outcome.fresh);
        if (entry.judged) this.#streaksStale = true;
        // A ban counts here once the watch has brought it and its evidence has been looked at: it may be forged.
        const unseen = [...outcome.bans.keys()].some((peer) => !view.bans.has(peer));
        if (unseen) this.#later(entry.tx, "a voter is banned in the store and not yet here");
        else again.push(entry.tx);
      }
    }
    return again;
  }

  /** @returns null when what is stored breaks the rules' own assumptions: that transaction waits, its batch goes on. */
  #tryDecide(
    tx: PendingTx,
    base: VersionedSnapshot,
    votes: readonly PendingVote[],
    spanned: VoteTurn | null,
  ): Decision | null {
    try {
      return this.#decide(tx, base, votes, spanned);
    } catch (error) {
      spanned?.ended("undecidable");
      this.#deps.logger.error("transaction can't be decided", { txId: tx.txId, error });
      this.#later(tx, "undecidable");
      return null;
    }
  }

  #decide(
    tx: PendingTx,
    base: VersionedSnapshot,
    votes: readonly PendingVote[],
    spanned: VoteTurn | null,
  ): Decision {
    const { clock, view, verify } = this.#deps;
    const { record } = base.snapshot;
    const set = this.#setOf(record);
    if (set === undefined)
      return {
        outcomes: votes.map(() => ({ kind: "REFUSED", code: "WRONG_EPOCH" }) as const),
        writes: null,
        outage: false,
        more: false,
      };
    const storeTrouble = tx.deadlinePassed && this.#troubleAtMs >= tx.openSinceMs;
    const nowMs = clock.nowMs();
    return decide(
      base.snapshot,
      {
        votes: votes.map((p) => p.vote),
        nowMs,
        deadlinePassed: tx.deadlinePassed,
        storeTrouble,
      },
      {
        set,
        config: this.#options.protocol,
        bans: view.bans,
        silenceStreaks: this.#streaks,
        verify,
        onStep: spanned?.onStep,
      },
    );
  }

  /** A transaction keeps the trustees and the threshold under which it opened. */
  #setOf(record: TxRecord | null): TrusteeSet | undefined {
    return record === null ? this.#config.set : this.#config.sets.get(record.epoch);
  }

  #effects(writes: TxWrites, base: VersionedSnapshot): void {
    const { metrics, clock } = this.#deps;
    const committedAtMs = clock.monotonicMs();
    for (const ban of writes.bans) this.#deps.onBan(ban, committedAtMs);
    for (const v of writes.violations) metrics.votesRejectedByzantine.inc({ type: v.type });
    const before = base.snapshot.status;
    if (writes.status === "THRESHOLD_REACHED" && before !== "THRESHOLD_REACHED")
      metrics.thresholdReached.inc({});
    if (writes.decision?.kind === "ABORT")
      metrics.transactionsAborted.inc({ reason: writes.decision.reason });
  }

  async #base({ txId, deadlinePassed }: PendingTx): Promise<VersionedSnapshot> {
    const { store, view } = this.#deps;
    const known = view.snapshot(txId);
    // Out of view may mean dropped from view. A commit's guard notices that, but a deadline
    // judged on the empty snapshot would commit nothing, and so never be judged.
    if (known !== null && (known.version > 0n || !deadlinePassed)) return known;
    const read = await store.read(txId, { signal: this.#stopping.signal });
    view.adopt(read);
    return read;
  }

  #finish({ tx, votes, decision, judged }: Turn): void {
    const { clock, metrics } = this.#deps;
    for (const [i, pending] of votes.entries()) {
      const outcome = decision.outcomes[i];
      if (outcome === undefined) continue;
      if (outcome.kind === "RECORDED")
        metrics.recordLatency.observe({}, (clock.monotonicMs() - pending.sinceMs) / 1_000);
      // This backup's turn came too early: the vote was being recorded by another.
      else if (outcome.kind === "DUPLICATE" && tx.rank > 0)
        this.#othersMs.add(clock.monotonicMs() - pending.sinceMs);
      if (outcome.kind === "REFUSED") this.#deps.onRefused(pending.vote, outcome.code);
      else if (outcome.kind === "EQUIVOCATION") this.#deps.onRefused(pending.vote, "EQUIVOCATION");
      this.#settle(tx, pending, outcome.kind === "DUPLICATE" ? { kind: "RECORDED" } : outcome);
    }
    if (judged && decision.outage && decision.writes !== null) {
      metrics.outages.inc({});
      this.#deps.logger.error("too many are absent at once, which is held against nobody", {
        txId: tx.txId,
        absent: decision.writes.record?.absent ?? [],
      });
    }
    if (judged) tx.deadlinePassed = false;
    tx.more = decision.more;
    tx.inFlight = false;
    tx.attempts = 0;
    if (tx.votes.length === 0 && !tx.deadlinePassed && !tx.more) this.#forget(tx);
    // Votes came in while the commit was under way: they have their own turn.
    else this.#requeue(tx, this.#windowMs());
  }

  #later(tx: PendingTx, why: string): void {
    tx.inFlight = false;
    if (this.#stopping.signal.aborted) return;
    tx.attempts++;
    const delayMs = Math.min(2_000, 25 * 2 ** Math.min(tx.attempts, 7));
    this.#deps.logger.debug("transaction waits to be committed again", {
      txId: tx.txId,
      why,
      delayMs,
    });
    this.#requeue(tx, delayMs);
  }

  #requeue(tx: PendingTx, delayMs: number): void {
    tx.dueMs = this.#deps.clock.monotonicMs() + delayMs;
    // Retries have delays of their own, so they must not block a rank's queue: each goes by its own timer.
    const cancel = this.#deps.clock.schedule(delayMs, () => {
      this.#retries.delete(cancel);
      if (this.#pending.get(tx.txId) !== tx) return;
      this.#queue.pushFirst(tx, this.#deps.clock.monotonicMs());
      this.#flush();
    });
    this.#retries.add(cancel);
  }

  #dropRecorded(tx: PendingTx): void {
    const recorded = this.#deps.view.votes(tx.txId);
    for (const pending of tx.votes.slice()) {
      const { nodeId, value } = pending.vote.vote;
      if (recorded.get(nodeId)?.vote.value !== value) continue;
      if (tx.rank > 0) this.#othersMs.add(this.#deps.clock.monotonicMs() - pending.sinceMs);
      this.#settle(tx, pending, { kind: "RECORDED" });
    }
    if (tx.votes.length === 0 && !tx.deadlinePassed && !tx.more) this.#forget(tx);
  }

  #settle(tx: PendingTx, pending: PendingVote, outcome: RecordOutcome): void {
    const at = tx.votes.indexOf(pending);
    if (at < 0) return;
    tx.votes.splice(at, 1);
    this.#count(-1);
    for (const waiter of pending.waiters) waiter(outcome);
  }

  #forget(tx: PendingTx): void {
    if (this.#pending.get(tx.txId) === tx) this.#pending.delete(tx.txId);
    if (this.#pending.size > 0) return;
    // Others have written what this node could not: nothing is failing any more.
    this.#failingSinceMs = null;
    this.#wakeIdle();
  }

  #wakeIdle(): void {
    const idle = this.#idle;
    this.#idle = [];
    for (const wake of idle) wake();
  }

  #count(by: number): void {
    this.#votes += by;
    this.#deps.metrics.pendingVotes.set({}, this.#votes);
  }
}
