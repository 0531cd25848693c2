import {
  backing,
  decideClaim,
  decideConfirm,
  type Epoch,
  type TrusteeSet,
  type TxId,
  type TxRecord,
  type TxSnapshot,
  type TxStatus,
  type TxWrites,
  type Value,
  type Verify,
} from "@quorate/core";
import type {
  Chain,
  Clock,
  ClusterConfig,
  CommitOutcome,
  Logger,
  NewSubmission,
  OpenTransaction,
  SenderLease,
  Submission,
  SubmissionStore,
  TallyStore,
  TxCommit,
  VersionedSnapshot,
} from "@quorate/ports";
import type { SubmitterMetrics } from "./catalogue.ts";
import { FencedError } from "./fenced-error.ts";
import type { LockOutcome, SubmissionSpans } from "./submission-spans.ts";
import type { TallyView } from "./tally-view.ts";

export interface ClaimsOptions {
  /** How long a threshold that is not unanimous stays open for dissent, in ms. */
  readonly settleMs: number;
  /** How long decided transactions gather into one claim, in ms. */
  readonly windowMs: number;
  readonly batchMax: number;
}

export interface ClaimsDependencies {
  readonly config: () => ClusterConfig;
  readonly verify: Verify;
  readonly store: TallyStore;
  readonly view: TallyView;
  readonly submissions: SubmissionStore;
  readonly chain: Pick<Chain, "keyOf">;
  readonly lease: SenderLease;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: SubmitterMetrics;
  /** New rows are in the queue. */
  readonly onQueued: (txIds: readonly TxId[]) => void;
  readonly spans?: SubmissionSpans | undefined;
}

/**
 * Takes decided transactions: waits out the settle window, verifies the votes,
 * writes the claim (status SUBMITTED and the write-once decision), and queues it
 * in PostgreSQL, in this order. A crash in between is made good at the next start,
 * by queueing every SUBMITTED transaction again, which is harmless.
 *
 * The settle window is timed by this process from when it saw the threshold, so
 * that no other node's clock can shorten it (R5).
 */
export class SubmissionClaims {
  readonly #options: ClaimsOptions;
  readonly #deps: ClaimsDependencies;
  /** When each may be claimed, by the monotonic clock. */
  readonly #due = new Map<TxId, number>();
  /** SUBMITTED by an earlier run or another process: to be verified and queued. */
  readonly #recover = new Set<TxId>();
  readonly #queued = new Set<TxId>();
  /** Not in view, which is bounded: to be read. */
  readonly #unknown = new Set<TxId>();
  /** ABORTED_BYZANTINE in etcd: should one be queued all the same, it must not be sent (I3). */
  readonly #aborted = new Set<TxId>();
  #wake: (() => void) | null = null;
  /** Something came while nobody was waiting for it. */
  #news = false;

  constructor(options: ClaimsOptions, dependencies: ClaimsDependencies) {
    this.#options = options;
    this.#deps = dependencies;
  }

  get waiting(): number {
    return this.#due.size + this.#recover.size + this.#unknown.size;
  }

  onView(touched: Iterable<TxId>): void {
    for (const txId of touched) this.#look(txId);
    this.#news = true;
    this.#wake?.();
  }

  /** What was listed from the store itself: more than a view holds. */
  onListed(open: Iterable<OpenTransaction>): void {
    for (const { txId, status, record } of open) this.#consider(txId, status, record);
    this.#news = true;
    this.#wake?.();
  }

  #look(txId: TxId): void {
    const { view } = this.#deps;
    const status = view.status(txId);
    if (status === null) this.#unknown.add(txId);
    else this.#consider(txId, status, view.record(txId));
  }

  #consider(txId: TxId, status: TxStatus | null, record: TxRecord | null): void {
    const { clock } = this.#deps;
    if (status === "SUBMITTED") {
      this.#due.delete(txId);
      if (!this.#queued.has(txId)) this.#recover.add(txId);
      return;
    }
    if (status !== "THRESHOLD_REACHED") {
      this.#due.delete(txId);
      if (status === "CONFIRMED") this.#queued.delete(txId);
      if (status === "ABORTED_BYZANTINE") this.#aborted.add(txId);
      return;
    }
    const now = clock.monotonicMs();
    const waitMs = record?.unanimous === true ? 0 : this.#options.settleMs;
    const before = this.#due.get(txId);
    this.#due.set(txId, before === undefined ? now + waitMs : Math.min(before, now + waitMs));
  }

  /** Runs until aborted. Failures of a store are waited out. */
  async run(options: { readonly signal: AbortSignal }): Promise<void> {
    const { clock, logger } = this.#deps;
    options.signal.addEventListener("abort", () => this.#wake?.(), { once: true });
    for (let failures = 0; !options.signal.aborted; ) {
      try {
        this.#news = false;
        await this.#readUnknown(options);
        await this.#recoverOnce(options);
        await this.#abortOnce(options);
        const waitMs = await this.#claimOnce(options);
        failures = 0;
        await this.#idle(waitMs, options);
      } catch (error) {
        if (options.signal.aborted) return;
        if (error instanceof FencedError) throw error;
        logger.warn("claiming failed, it is tried again", { error });
        // An abort ends the wait early, and then the loop.
        await clock
          .sleep(Math.min(5_000, 100 * 2 ** Math.min(failures++, 6)), options)
          .catch(() => {});
      }
    }
  }

  async #idle(waitMs: number | null, options: { readonly signal: AbortSignal }): Promise<void> {
    if (options.signal.aborted) return;
    const { clock } = this.#deps;
    if (!this.#news)
      await new Promise<void>((resolve) => {
        const cancel = waitMs === null ? () => {} : clock.schedule(waitMs, resolve);
        this.#wake = () => {
          cancel();
          resolve();
        };
      });
    this.#wake = null;
    // A moment for more of them to meet in one commit.
    await clock.sleep(this.#options.windowMs, options);
  }

  /** @returns how long until the next is due, in ms; null when none waits. */
  async #claimOnce(options: { readonly signal: AbortSignal }): Promise<number | null> {
    const { clock, store, view, spans } = this.#deps;
    const now = clock.monotonicMs();
    const ready: TxId[] = [];
    for (const [txId, atMs] of this.#due) {
      if (ready.length === this.#options.batchMax) break;
      if (atMs <= now) ready.push(txId);
    }
    if (ready.length > 0) {
      const turns: { txId: TxId; base: VersionedSnapshot; writes: TxWrites; value: Value }[] = [];
      for (const base of await this.#bases(ready, options)) {
        const { txId } = base.snapshot;
        const claim = decideClaim(base.snapshot, this.#setOf(base.snapshot), this.#deps.verify);
        if (claim.kind === "claim")
          turns.push({ txId, base, writes: claim.writes, value: claim.value });
        else {
          if (claim.kind !== "not-ready") spans?.locked(base.snapshot, now, claim.kind);
          this.#refuse(txId, claim);
        }
      }
      const commits: TxCommit[] = turns.map((t) => ({ version: t.base.version, writes: t.writes }));
      const outcomes =
        commits.length === 0
          ? []
          : await store
              .commit(commits, this.#deps.config().epochVersion, options)
              .catch((error: unknown) => {
                for (const { base } of turns) spans?.locked(base.snapshot, now, "unknown");
                throw error;
              });
      const claimed: { txId: TxId; value: Value; revision: bigint; epoch: Epoch }[] = [];
      for (const [i, turn] of turns.entries()) {
        const outcome = outcomes[i];
        spans?.locked(turn.base.snapshot, now, lockOutcomeOf(outcome));
        if (outcome?.kind === "committed") {
          view.adoptCommit(turn.base, turn.writes, outcome.revision);
          this.#due.delete(turn.txId);
          this.#recover.add(turn.txId);
          const { epoch } = this.#setOf(turn.base.snapshot);
          claimed.push({ txId: turn.txId, value: turn.value, revision: outcome.revision, epoch });
          this.#deps.metrics.claims.inc({ outcome: "claim" });
        } else if (outcome !== undefined) {
          this.#deps.metrics.claims.inc({ outcome: "conflict" });
          view.adopt(outcome.fresh);
          this.#look(turn.txId);
        }
      }
      await this.#queue(claimed, options);
    }
    if (this.#due.size === 0) return null;
    let nextMs = Number.POSITIVE_INFINITY;
    for (const atMs of this.#due.values()) nextMs = Math.min(nextMs, atMs);
    return Math.max(0, nextMs - clock.monotonicMs());
  }

  async #readUnknown(options: { readonly signal: AbortSignal }): Promise<void> {
    while (this.#unknown.size > 0) {
      const some = firstOf(this.#unknown, this.#options.batchMax);
      const reads = await Promise.all(some.map((txId) => this.#deps.store.read(txId, options)));
      for (const { snapshot } of reads) {
        this.#unknown.delete(snapshot.txId);
        this.#consider(snapshot.txId, snapshot.status, snapshot.record);
      }
    }
  }

  #refuse(txId: TxId, claim: { readonly kind: "not-ready" | "unbacked" | "dissent" }): void {
    this.#due.delete(txId);
    if (claim.kind === "not-ready") return;
    this.#deps.metrics.claims.inc({ outcome: claim.kind });
    this.#deps.logger.error("a status in etcd is not backed by votes; it is not submitted", {
      txId,
      ...claim,
    });
  }

  /** Queues what is SUBMITTED in etcd and perhaps not in PostgreSQL. Verifies the votes again: the status alone proves nothing. */
  async #recoverOnce(options: { readonly signal: AbortSignal }): Promise<void> {
    while (this.#recover.size > 0) {
      const some = firstOf(this.#recover, this.#options.batchMax);
      const rows: { txId: TxId; value: Value; revision: bigint; epoch: Epoch }[] = [];
      for (const base of await this.#bases(some, options)) {
        const { txId, status, record } = base.snapshot;
        this.#deps.spans?.resumed(txId, record);
        const backed = backing(base.snapshot, this.#setOf(base.snapshot), this.#deps.verify);
        if (status !== "SUBMITTED") this.#recover.delete(txId);
        else if (backed.kind === "backed")
          rows.push({
            txId,
            value: backed.value,
            revision: base.version,
            epoch: this.#setOf(base.snapshot).epoch,
          });
        // Dissent after the claim: the submission stands (R5); the claim itself was made on verified votes.
        else this.#queueStanding(base, rows);
      }
      await this.#queue(rows, options);
    }
  }

  /** Takes back from the queue what etcd has aborted: it can only be there when etcd was restored to before the claim. */
  async #abortOnce(options: { readonly signal: AbortSignal }): Promise<void> {
    const { submissions, lease, logger } = this.#deps;
    while (this.#aborted.size > 0) {
      const some = firstOf(this.#aborted, this.#options.batchMax);
      const reason = "etcd holds the decision ABORT";
      const outcome = await submissions.abortQueued(lease, some, reason, options);
      if (outcome.kind === "fenced") throw new FencedError();
      for (const txId of some) this.#aborted.delete(txId);
      if (outcome.aborted.length > 0)
        logger.error("a queued result was aborted in etcd and is not sent", {
          txIds: outcome.aborted.slice(0, 20),
          count: outcome.aborted.length,
        });
    }
  }

  /**
   * A late dissenter can't take back a claim, nor can one who voted for the value and then signs another; but t valid
   * votes must stand behind the value all the same, whatever became of those who cast them.
   */
  #queueStanding(
    base: VersionedSnapshot,
    rows: { txId: TxId; value: Value; revision: bigint; epoch: Epoch }[],
  ): void {
    const { snapshot } = base;
    const { record } = snapshot;
    if (record === null) {
      this.#recover.delete(snapshot.txId);
      return;
    }
    const lenient = {
      ...snapshot,
      violations: new Map(),
      record: { ...record, policy: "quarantine-and-continue" as const },
    };
    const backed = backing(lenient, this.#setOf(snapshot), this.#deps.verify);
    if (backed.kind === "backed")
      rows.push({
        txId: snapshot.txId,
        value: backed.value,
        revision: base.version,
        epoch: this.#setOf(snapshot).epoch,
      });
    else {
      this.#recover.delete(snapshot.txId);
      this.#refuse(snapshot.txId, backed);
    }
  }

  async #queue(
    claimed: readonly {
      readonly txId: TxId;
      readonly value: Value;
      readonly revision: bigint;
      readonly epoch: Epoch;
    }[],
    options: { readonly signal: AbortSignal },
  ): Promise<void> {
    if (claimed.length === 0) return;
    const { submissions, lease, chain, logger, metrics } = this.#deps;
    const rows: NewSubmission[] = claimed.map(({ txId, value, revision, epoch }) => ({
      txId,
      key: chain.keyOf(txId),
      value,
      epoch,
      decisionRevision: revision,
    }));
    const outcomes = await submissions.enqueue(rows, lease, options);
    const finalBefore: Submission[] = [];
    for (const [i, outcome] of outcomes.entries()) {
      const row = rows[i];
      if (row === undefined) continue;
      this.#recover.delete(row.txId);
      this.#queued.add(row.txId);
      if (outcome.kind === "conflict")
        logger.error("the same transaction id was submitted before with another value", {
          txId: row.txId,
          storedValue: outcome.storedValue.toString(),
          value: row.value.toString(),
        });
      if (outcome.kind === "archived") {
        metrics.claims.inc({ outcome: "archived" });
        logger.error("this transaction id was submitted long ago and is archived; it is refused", {
          txId: row.txId,
          storedValue: outcome.storedValue.toString(),
          value: row.value.toString(),
        });
      }
      const done =
        outcome.kind === "archived"
          ? outcome.storedValue === row.value
          : outcome.kind === "exists" && outcome.state === "FINALIZED";
      const found = done ? await submissions.get(row.txId, options) : null;
      if (found !== null) finalBefore.push(found);
    }
    // etcd has forgotten what the database knows to be final (an older snapshot was restored): told again.
    await this.#confirm(finalBefore, options);
    this.#deps.onQueued(rows.map((r) => r.txId));
  }

  /** Writes CONFIRMED to etcd for what is final in PostgreSQL. Idempotent. @returns how many were confirmed. */
  async confirmOnce(options: { readonly signal: AbortSignal }): Promise<number> {
    return this.#confirm(
      await this.#deps.submissions.unconfirmed(this.#options.batchMax, options),
      options,
    );
  }

  async #confirm(
    final: readonly Submission[],
    options: { readonly signal: AbortSignal },
  ): Promise<number> {
    const { submissions, store, view } = this.#deps;
    if (final.length === 0) return 0;
    const bases = await this.#bases(
      final.map((s) => s.txId),
      options,
    );
    const done: TxId[] = [];
    const turns: { base: VersionedSnapshot; writes: TxWrites }[] = [];
    for (const [i, seen] of bases.entries()) {
      const submission = final[i];
      const chain = {
        txHash: submission?.txHash ?? "",
        blockNumber: (submission?.blockNumber ?? 0n).toString(),
      };
      // The view may lag behind the claim: what it does not show as SUBMITTED is read again.
      const inView = decideConfirm(seen.snapshot, chain);
      const base = inView === null ? await store.read(seen.snapshot.txId, options) : seen;
      const writes = inView ?? decideConfirm(base.snapshot, chain);
      if (writes !== null) turns.push({ base, writes });
      else {
        done.push(base.snapshot.txId);
        if (base.snapshot.status !== "CONFIRMED")
          this.#deps.logger.error("a value is final on the chain, but etcd says otherwise", {
            txId: base.snapshot.txId,
            status: base.snapshot.status,
          });
      }
    }
    if (turns.length > 0) {
      const commits = turns.map((t) => ({ version: t.base.version, writes: t.writes }));
      const outcomes = await store.commit(commits, this.#deps.config().epochVersion, options);
      for (const [i, turn] of turns.entries()) {
        const outcome = outcomes[i];
        if (outcome?.kind === "committed") {
          view.adoptCommit(turn.base, turn.writes, outcome.revision);
          done.push(turn.writes.txId);
        } else if (outcome !== undefined) view.adopt(outcome.fresh);
      }
    }
    await submissions.markConfirmed(done, options);
    for (const txId of done) this.#queued.delete(txId);
    return done.length;
  }

  /** A transaction keeps the trustees and the threshold under which it opened; votes of another set back nothing. */
  #setOf({ record }: TxSnapshot): TrusteeSet {
    const { set, sets } = this.#deps.config();
    return (record === null ? undefined : sets.get(record.epoch)) ?? set;
  }

  async #bases(
    txIds: readonly TxId[],
    options: { readonly signal: AbortSignal },
  ): Promise<readonly VersionedSnapshot[]> {
    const { view, store } = this.#deps;
    return Promise.all(
      txIds.map(async (txId) => {
        const known = view.snapshot(txId);
        if (known !== null && known.version > 0n) return known;
        const read = await store.read(txId, options);
        view.adopt(read);
        return read;
      }),
    );
  }
}

const lockOutcomeOf = (outcome: CommitOutcome | undefined): LockOutcome =>
  outcome?.kind === "committed" ? "claimed" : "conflict";

function firstOf<T>(items: Iterable<T>, count: number): readonly T[] {
  const first: T[] = [];
  for (const item of items) {
    if (first.length === count) break;
    first.push(item);
  }
  return first;
}
