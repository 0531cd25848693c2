import { compactionTarget, type RetentionOptions } from "@quorate/core";
import {
  type AbortOptions,
  type AuditLog,
  type Clock,
  type Election,
  type FaultPoint,
  type Logger,
  type MetricsFactory,
  noFault,
  type PurgeLevel,
  type PurgeOutcome,
  type Random,
  type RetentionStore,
  type TallyMaintenance,
  type TallyStorage,
  type TallyStore,
} from "@quorate/ports";
import { type GarbageKind, type GarbageMetrics, garbageMetrics } from "./garbage-metrics.ts";

export interface CollectorOptions {
  readonly retention: RetentionOptions;
  /** Names this process among candidates; must differ between processes. */
  readonly candidate: string;
  readonly leaseTtlSeconds: number;
  /** How often sizes and alarms are looked at between two runs, in ms: at full load an etcd of 2 GiB fills in minutes. */
  readonly watchIntervalMs: number;
  /** Transactions in one page. Default 300: as many as a second or so purges. */
  readonly pageMax?: number;
}

export interface CollectorDependencies {
  readonly store: TallyMaintenance & Pick<TallyStore, "revision" | "lineage">;
  readonly election: Election;
  readonly retention: RetentionStore;
  readonly audit: Pick<AuditLog, "position" | "lineage">;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: MetricsFactory;
  /** Keeps collectors that see the same alarm from taking the same members away at once. */
  readonly random: Pick<Random, "next">;
  /** Passed at `gc.purged`, `gc.noted`, `gc.archived`, `gc.retired`, `gc.compacted` and `gc.defragmented`, each time. */
  readonly fault?: FaultPoint | undefined;
}

/** What one collection did. */
export interface GcReport {
  readonly startedAtMs: number;
  readonly durationMs: number;
  /** Transactions whose votes, or whose status and record, were purged from the tally because of their age. */
  readonly purgedVotes: number;
  readonly purgedRecords: number;
  /** The same, before their time, because the tally was full. */
  readonly earlyVotes: number;
  readonly earlyRecords: number;
  /** Due, but changed after what history has seen: left for the next collection. */
  readonly kept: number;
  readonly archivedSubmissions: number;
  readonly retiredVotes: number;
  /** Before which the tally's history was forgotten; null when it was not. */
  readonly compactedRevision: bigint | null;
  readonly defragmented: boolean;
  /** Alarms that were ended. */
  readonly disarmed: number;
  readonly before: TallyStorage;
  readonly after: TallyStorage;
  /** Why nothing was taken from the tally; null when it was looked through. */
  readonly skipped: string | null;
}

/** A report while it is being put together. */
interface Counts {
  purgedVotes: number;
  purgedRecords: number;
  earlyVotes: number;
  earlyRecords: number;
  kept: number;
  archivedSubmissions: number;
  retiredVotes: number;
  compactedRevision: bigint | null;
  defragmented: boolean;
  disarmed: number;
}

const PAGE_MAX = 300;
/** Rows in one transaction of PostgreSQL, so that nobody waits long for their locks. */
const ROWS_MAX = 1_000;
/** Pages between two looks at the size, while the tally is full: each look costs the grace of watchers. */
const PAGES_PER_PASS = 16;
/** How long a compaction that is urgent waits for the projector to have seen the purge, in ms. */
const PROJECTION_WAIT_MS = 10_000;
const PROJECTION_POLL_MS = 100;
/** What watchers have, in ms, to follow up to what an early compaction forgets: one that is further behind ends its node. */
const WATCHERS_GRACE_MS = 15_000;
/** The same while the tally takes no writes, and so nothing new is to be followed. */
const NOSPACE_GRACE_MS = 1_000;
/** Within which, in ms, a collector that sees the alarm begins: every submitter has one, and sees it too. */
const TURN_MS = 10_000;
/** A file is rewritten when so much of it is free: below that it is not worth a member's absence. */
const FREE_SHARE_MIN = 0.2;
const NOSPACE = "NOSPACE";

/**
 * Takes away what the retention rules let go, and more when the tally is full. Of the tally only what is settled, in
 * history, and beyond being submitted again; and never the decisions, by which a used id is known for ever.
 *
 * Every step is idempotent and bounded, and may be cut off anywhere: the next run goes on from what is there. Two at
 * once harm nothing; the election only saves work. @see spec §9.2 Algorithm 7
 */
export class GarbageCollector {
  readonly #options: CollectorOptions;
  readonly #deps: CollectorDependencies;
  readonly #metrics: GarbageMetrics;
  #collecting: Promise<GcReport> | null = null;

  constructor(options: CollectorOptions, dependencies: CollectorDependencies) {
    this.#options = options;
    this.#deps = dependencies;
    this.#metrics = garbageMetrics(dependencies.metrics);
  }

  /** Runs until aborted: by the interval while it leads, and at once when the tally raises an alarm, leader or not, for a full tally elects nobody. */
  async run(options: { readonly signal: AbortSignal }): Promise<void> {
    await Promise.all([this.#campaign(options), this.#watchAlarms(options)]);
  }

  /** One collection. A call while another is under way gets that one's report. */
  async runOnce(options: AbortOptions = {}): Promise<GcReport> {
    this.#collecting ??= this.#collect(options).finally(() => {
      this.#collecting = null;
    });
    return this.#collecting;
  }

  async #campaign(options: { readonly signal: AbortSignal }): Promise<void> {
    const { election, logger } = this.#deps;
    const { candidate, leaseTtlSeconds } = this.#options;
    while (!options.signal.aborted) {
      try {
        await election.campaign(
          "garbage-collector",
          candidate,
          leaseTtlSeconds,
          (lost) => this.#lead({ signal: AbortSignal.any([lost, options.signal]) }),
          options,
        );
      } catch (error) {
        if (options.signal.aborted) return;
        logger.warn("no collector leads, standing again", { error });
      }
      await this.#pause(options);
    }
  }

  async #lead(options: { readonly signal: AbortSignal }): Promise<void> {
    const { clock } = this.#deps;
    const { intervalMs } = this.#options.retention;
    let dueMs = clock.monotonicMs();
    while (!options.signal.aborted) {
      if (clock.monotonicMs() >= dueMs || (await this.#isFull(options))) {
        await this.#guardedRun(options);
        dueMs = clock.monotonicMs() + intervalMs;
      }
      await this.#pause(options);
    }
  }

  async #watchAlarms(options: { readonly signal: AbortSignal }): Promise<void> {
    while (!options.signal.aborted) {
      await this.#pause(options);
      const storage = await this.#deps.store.storage(options).catch(() => null);
      if (storage === null || options.signal.aborted) continue;
      this.#gauge(storage);
      if (storage.alarms.includes(NOSPACE)) await this.#guardedRun(options);
    }
  }

  async #pause(options: { readonly signal: AbortSignal }): Promise<void> {
    const { watchIntervalMs, retention } = this.#options;
    // An abort ends the sleep early, and then the caller's loop.
    await this.#deps.clock
      .sleep(Math.min(watchIntervalMs, retention.intervalMs), options)
      .catch(() => {});
  }

  async #isFull(options: AbortOptions): Promise<boolean> {
    const storage = await this.#deps.store.storage(options).catch(() => null);
    return storage !== null && this.#isAbove(storage, this.#options.retention.highMark);
  }

  async #guardedRun(options: { readonly signal: AbortSignal }): Promise<void> {
    try {
      await this.runOnce(options);
    } catch (error) {
      if (options.signal.aborted) return;
      this.#deps.logger.error("a collection failed, the next one goes on from where it ended", {
        error,
      });
    }
  }

  async #collect(options: AbortOptions): Promise<GcReport> {
    const { clock, store } = this.#deps;
    const startedAtMs = clock.nowMs();
    const sinceMs = clock.monotonicMs();
    const counts: Counts = {
      purgedVotes: 0,
      purgedRecords: 0,
      earlyVotes: 0,
      earlyRecords: 0,
      kept: 0,
      archivedSubmissions: 0,
      retiredVotes: 0,
      disarmed: 0,
      compactedRevision: null,
      defragmented: false,
    };
    try {
      const before = await this.#awaitTurn(options);
      const full = before.alarms.includes(NOSPACE);
      const pace = { sinceMs, graceMs: full ? NOSPACE_GRACE_MS : WATCHERS_GRACE_MS };
      this.#gauge(before);
      const skipped = await this.#whyNot(options);
      if (skipped === null) {
        if (full) await this.#makeRoom(counts, options);
        await this.#purgeDue(counts, sinceMs, options);
        await this.#purgeEarly(counts, pace, options);
        await this.#compact(counts, options);
      }
      await this.#retireHistory(counts, sinceMs, options);
      await this.#shrink(counts, options);
      const after = await store.storage(options);
      this.#gauge(after);
      await this.#count(options);
      const durationMs = clock.monotonicMs() - sinceMs;
      const report: GcReport = { startedAtMs, durationMs, ...counts, before, after, skipped };
      this.#tell(report);
      return report;
    } catch (error) {
      this.#metrics.runs.inc({ outcome: "failed" });
      throw error;
    }
  }

  /** A member that defragments answers nothing, so that only one collector should go from one to the next; the others find the alarm ended. */
  async #awaitTurn(options: AbortOptions): Promise<TallyStorage> {
    const { store, clock, random } = this.#deps;
    const storage = await store.storage(options);
    if (!storage.alarms.includes(NOSPACE)) return storage;
    await clock.sleep(random.next() * TURN_MS, options);
    return await store.storage(options);
  }

  /** The age of what had this age when the collection began, so that it has an end. */
  #grown(ageMs: number, sinceMs: number): number {
    return ageMs + this.#deps.clock.monotonicMs() - sinceMs;
  }

  /** While history is not of this etcd, what it has seen of it is not known. */
  async #whyNot(options: AbortOptions): Promise<string | null> {
    const { audit, store } = this.#deps;
    const [position, known, lineage] = await Promise.all([
      audit.position(options),
      audit.lineage(options),
      store.lineage(options),
    ]);
    if (position === null) return "history has not begun";
    if (known.id !== null && known.id !== lineage.id) return "history is of another etcd";
    if (position > lineage.revision) return "history is ahead of etcd, which was restored";
    return null;
  }

  /** What is due by age. @see spec §9.1 */
  async #purgeDue(counts: Counts, sinceMs: number, options: AbortOptions): Promise<void> {
    const { votesMs, recordsMs } = this.#options.retention;
    const votes = { ageMs: votesMs, sinceMs };
    counts.purgedVotes += await this.#purgeAll("votes", votes, counts, options);
    const records = { ageMs: recordsMs, sinceMs };
    counts.purgedRecords += await this.#purgeAll("all", records, counts, options);
  }

  async #purgeAll(
    level: PurgeLevel,
    due: { readonly ageMs: number; readonly sinceMs: number },
    counts: Counts,
    options: AbortOptions,
  ): Promise<number> {
    let purged = 0;
    let after: string | null = null;
    do {
      const page = await this.#purgePage(level, due, after, options);
      purged += page.purged;
      counts.kept += page.kept;
      after = page.next;
    } while (after !== null);
    return purged;
  }

  async #purgePage(
    level: PurgeLevel,
    { ageMs, sinceMs }: { readonly ageMs: number; readonly sinceMs: number },
    after: string | null,
    options: AbortOptions,
  ): Promise<{ readonly purged: number; readonly kept: number; readonly next: string | null }> {
    const { store, retention, audit, fault = noFault } = this.#deps;
    const settledForMs = this.#grown(ageMs, sinceMs);
    const query = { level, settledForMs, after, limit: this.#options.pageMax ?? PAGE_MAX };
    const { txIds, next } = await retention.purgeable(query, options);
    if (txIds.length === 0) return { purged: 0, kept: 0, next };
    const throughRevision = (await audit.position(options)) ?? 0n;
    const requests = txIds.map((txId) => ({ txId, level, throughRevision }));
    const outcomes = await store.purge(requests, options);
    fault("gc.purged");
    const done = txIds.filter((_, i) => outcomes[i] === "purged" || outcomes[i] === "gone");
    // Noted after it is done: a purge that is not noted is repeated, and finds nothing.
    if (done.length > 0) await retention.notePurged(done, level, options);
    fault("gc.noted");
    const count = (...words: readonly PurgeOutcome[]): number =>
      outcomes.filter((outcome) => words.includes(outcome)).length;
    return { purged: count("purged", "freed"), kept: count("kept"), next };
  }

  /** Bounded by size: oldest first, until the tally is below the low mark or nothing more may go. */
  async #purgeEarly(
    counts: Counts,
    { sinceMs, graceMs }: { readonly sinceMs: number; readonly graceMs: number },
    options: AbortOptions,
  ): Promise<void> {
    const { store, logger } = this.#deps;
    const { highMark, lowMark, earlyAfterMs } = this.#options.retention;
    if (!this.#isAbove(await store.storage(options), highMark)) return;
    // What is in use may be history that nobody needs.
    await this.#compact(counts, options);
    if (!this.#isAbove(await store.storage(options), lowMark)) return;
    const due = { ageMs: earlyAfterMs, sinceMs };
    for (const level of ["votes", "all"] as const) {
      let after: string | null = null;
      let pages = 0;
      do {
        const page = await this.#purgePage(level, due, after, options);
        if (level === "votes") counts.earlyVotes += page.purged;
        else counts.earlyRecords += page.purged;
        after = page.next;
        if (after !== null && ++pages % PAGES_PER_PASS > 0) continue;
        await this.#compactUrgently(counts, graceMs, options);
        if (!this.#isAbove(await store.storage(options), lowMark)) return;
      } while (after !== null);
    }
    logger.error("etcd is fuller than it should be, and nothing more in it may go yet", {
      ...sizesOf(await store.storage(options)),
      earlyAfterMs,
    });
  }

  async #compact(counts: Counts, options: AbortOptions): Promise<void> {
    const { store, audit } = this.#deps;
    const position = await audit.position(options);
    const revision = await store.revision(options);
    const margin = this.#options.retention.compactionMarginRevisions;
    await this.#compactTo(compactionTarget({ revision, position }, margin), counts, options);
  }

  /** Forgets what was just purged, as soon as the projector and watchers have seen that it is. */
  async #compactUrgently(counts: Counts, graceMs: number, options: AbortOptions): Promise<void> {
    const { store, audit, clock } = this.#deps;
    const revision = await store.revision(options);
    const untilMs = clock.monotonicMs() + PROJECTION_WAIT_MS;
    let position = await audit.position(options);
    while ((position ?? 0n) < revision && clock.monotonicMs() < untilMs) {
      await clock.sleep(PROJECTION_POLL_MS, options);
      position = await audit.position(options);
    }
    await clock.sleep(graceMs, options);
    await this.#compactTo(compactionTarget({ revision, position }, 0), counts, options);
  }

  async #compactTo(target: bigint | null, counts: Counts, options: AbortOptions): Promise<void> {
    if (target === null || target <= (counts.compactedRevision ?? 0n)) return;
    const fresh = await this.#deps.store.compact(target, options);
    this.#deps.fault?.("gc.compacted");
    if (fresh) counts.compactedRevision = target;
  }

  /** A full tally takes no writes, so the first room comes from what history and free pages take. */
  async #makeRoom(counts: Counts, options: AbortOptions): Promise<void> {
    const { store, logger, fault = noFault } = this.#deps;
    logger.error("etcd is full and takes no writes; making room", {
      ...sizesOf(await store.storage(options)),
    });
    await this.#compactUrgently(counts, NOSPACE_GRACE_MS, options);
    // Another one may have been quicker.
    if (!(await store.storage(options)).alarms.includes(NOSPACE)) return;
    await this.#defragment(counts, options);
    counts.disarmed += await store.disarm(options);
    fault("gc.disarmed");
  }

  async #defragment(counts: Counts, options: AbortOptions): Promise<void> {
    await this.#deps.store.defragment(options);
    counts.defragmented = true;
    this.#deps.fault?.("gc.defragmented");
  }

  /** The quota is on the file, free pages included, and a file that once grew stays so large. */
  async #shrink(counts: Counts, options: AbortOptions): Promise<void> {
    const { store } = this.#deps;
    const { quotaBytes, dbSizeBytes, dbSizeInUseBytes, alarms } = await store.storage(options);
    const free = 1 - dbSizeInUseBytes / Math.max(1, dbSizeBytes);
    const large =
      quotaBytes !== null && dbSizeBytes > quotaBytes * this.#options.retention.highMark;
    const full = alarms.includes(NOSPACE);
    if ((large && free > FREE_SHARE_MIN) || full) await this.#defragment(counts, options);
    if (full) counts.disarmed += await store.disarm(options);
  }

  /** What PostgreSQL itself lets go, in bounded transactions. */
  async #retireHistory(counts: Counts, sinceMs: number, options: AbortOptions): Promise<void> {
    const { retention, fault = noFault } = this.#deps;
    const { submissionsMs, voteHistoryMs, voteHistory } = this.#options.retention;
    const limit = ROWS_MAX;
    for (let moved = limit; moved === limit; ) {
      const query = { confirmedForMs: this.#grown(submissionsMs, sinceMs), limit };
      moved = await retention.archiveSubmissions(query, options);
      fault("gc.archived");
      counts.archivedSubmissions += moved;
    }
    for (let gone = limit; gone === limit; ) {
      const recordedForMs = this.#grown(voteHistoryMs, sinceMs);
      const query = { recordedForMs, limit, to: voteHistory };
      gone = await retention.retireVotes(query, options);
      fault("gc.retired");
      counts.retiredVotes += gone;
    }
  }

  #isAbove({ quotaBytes, dbSizeInUseBytes }: TallyStorage, share: number): boolean {
    return quotaBytes !== null && dbSizeInUseBytes > quotaBytes * share;
  }

  #gauge(storage: TallyStorage): void {
    this.#metrics.dbSize.set({}, storage.dbSizeBytes);
    this.#metrics.dbSizeInUse.set({}, storage.dbSizeInUseBytes);
    this.#metrics.quota.set({}, storage.quotaBytes ?? 0);
    this.#metrics.alarms.set({}, storage.alarms.length);
  }

  async #count(options: AbortOptions): Promise<void> {
    const { store, retention } = this.#deps;
    this.#metrics.activeTransactions.set({}, await store.countTransactions(options));
    const { active, archived } = await retention.submissionCounts(options);
    this.#metrics.activeSubmissions.set({}, active);
    this.#metrics.archivedSubmissions.set({}, archived);
  }

  #tell(report: GcReport): void {
    const { clock, logger } = this.#deps;
    const { before, after, compactedRevision, ...rest } = report;
    const add = (kind: GarbageKind, by: number): void => {
      if (by > 0) this.#metrics.purged.inc({ kind }, by);
    };
    add("votes", report.purgedVotes);
    add("records", report.purgedRecords);
    add("early_votes", report.earlyVotes);
    add("early_records", report.earlyRecords);
    add("submissions", report.archivedSubmissions);
    add("vote_history", report.retiredVotes);
    this.#metrics.kept.set({}, report.kept);
    this.#metrics.duration.observe({}, report.durationMs / 1_000);
    this.#metrics.runs.inc({ outcome: report.skipped === null ? "done" : "skipped" });
    if (report.skipped === null) this.#metrics.lastSuccess.set({}, clock.nowMs() / 1_000);
    const fields = {
      ...rest,
      compactedRevision: compactedRevision?.toString() ?? null,
      dbSizeBeforeBytes: before.dbSizeBytes,
      dbSizeAfterBytes: after.dbSizeBytes,
      inUseBeforeBytes: before.dbSizeInUseBytes,
      inUseAfterBytes: after.dbSizeInUseBytes,
    };
    if (report.skipped === null) logger.info("collection done", fields);
    else logger.warn("nothing was taken from etcd", fields);
  }
}

function sizesOf(storage: TallyStorage): Record<string, number | null> {
  const { dbSizeBytes, dbSizeInUseBytes, quotaBytes } = storage;
  return { dbSizeBytes, dbSizeInUseBytes, quotaBytes };
}
