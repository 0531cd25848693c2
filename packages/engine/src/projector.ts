import type { TrusteeSets, Verify } from "@quorate/core";
import {
  type AbortOptions,
  type AuditBatch,
  type AuditLog,
  type ChangeSet,
  type Clock,
  type FaultPoint,
  type Logger,
  noFault,
  StoreError,
  type TallyStore,
} from "@quorate/ports";
import { isBorneOut } from "./borne-out.ts";
import type { SubmitterMetrics } from "./catalogue.ts";
import { isViolation, rowsOf, type ViolationChange } from "./history-rows.ts";
import { presentState } from "./present-state.ts";

export interface ProjectorDependencies {
  readonly store: TallyStore;
  readonly audit: AuditLog;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: SubmitterMetrics;
  /** Checks the signatures behind violations, which anybody with access to etcd could have written. */
  readonly verify: Verify;
  /** Passed at `projector.before-append` and `projector.after-append`, in each batch. */
  readonly fault?: FaultPoint | undefined;
}

/** Change sets that may wait for PostgreSQL before the watch is held back. */
const WAITING_MAX = 1_000;
/** Rows in one PostgreSQL transaction. */
const ROWS_MAX = 2_000;

/**
 * Folds etcd's history into PostgreSQL: each revision once, in order, the position
 * in the same database transaction as the rows. While PostgreSQL is away it waits;
 * etcd keeps the history (compaction stays behind the position).
 * One runs in a cluster, by election; a second one would only be refused as stale.
 *
 * When etcd is not the one that the position is of (a snapshot was restored), history is folded again from the
 * oldest revision there is: what is recorded already adds nothing, and nothing decided is undone.
 */
export class Projector {
  readonly #deps: ProjectorDependencies;
  #waiting: ChangeSet[] = [];
  #wake: (() => void) | null = null;
  #room: (() => void) | null = null;
  #position: bigint | null = null;
  /** Where the etcd stood that history began again with: from there on it is known which bans it does not have. */
  #bansDueAt: bigint | null = null;
  /** As last read; violations of an epoch that is not in it yet are judged by a fresh one. */
  #sets: TrusteeSets = new Map();

  constructor(dependencies: ProjectorDependencies) {
    this.#deps = dependencies;
  }

  /** The last revision in PostgreSQL; null before the first. */
  get position(): bigint | null {
    return this.#position;
  }

  /** Runs until aborted. Rejects when etcd is replaced meanwhile. What was compacted away before it was projected is left out, loudly. */
  async run(options: { readonly signal: AbortSignal }): Promise<void> {
    this.#waiting = [];
    await this.#retrying(() => this.#settleLineage(options), options);
    try {
      await this.#follow(options);
    } catch (error) {
      const compacted = error instanceof StoreError && error.code === "CORRUPT";
      if (!compacted || options.signal.aborted) throw error;
      const gap = this.#position;
      if (gap !== null && (await this.#retrying(() => this.#isReplaced(gap, options), options)))
        throw error;
      this.#waiting = [];
      if (gap !== null) await this.#retrying(() => this.#settleLineage(options, gap), options);
      // The whole state counts, for what led to it is there already, or is lost.
      if (this.#position === null) await this.#retrying(() => this.#recordState(options), options);
      await this.#follow(options);
    }
  }

  async #isReplaced(position: bigint, options: AbortOptions): Promise<boolean> {
    const { id: known } = await this.#deps.audit.lineage(options);
    const present = await this.#deps.store.lineage(options);
    return replacedBy({ position, known }, present) !== null;
  }

  /**
   * Finds the place to go on from, in the etcd that is there.
   * @param gap a position after which etcd's history is compacted away
   */
  async #settleLineage(options: AbortOptions, gap: bigint | null = null): Promise<void> {
    const { audit, store, logger, metrics } = this.#deps;
    for (;;) {
      const position = await audit.position(options);
      const known = await audit.lineage(options);
      this.#position = position;
      const { id, revision } = await store.lineage(options);
      const isGap = position !== null && position === gap;
      const reason =
        replacedBy({ position, known: known.id }, { id, revision }) ??
        (isGap ? `its history after revision ${position} is compacted away` : null);
      this.#bansDueAt = known.restarts > 0 ? revision : null;
      if (reason === null && known.id === id) return;
      const at = { position, restarts: known.restarts };
      if ((await audit.beginLineage(at, { id, reason }, options)) === "stale") continue;
      if (reason === null) continue;
      metrics.historyRestarts.inc({});
      logger.error(
        isGap
          ? "etcd's history was compacted away before it was projected: history begins again with the present state, and what was only between is lost (docs/RETENTION.md, docs/BACKUP.md)"
          : "etcd is not the one that history was projected from, it is folded again",
        { reason, position: position?.toString() ?? null, revision: revision.toString() },
      );
    }
  }

  /** A restored snapshot knows nothing of later bans, and would let in who was caught: they are put back, with their evidence. */
  async #restoreBans(options: AbortOptions): Promise<void> {
    const { audit, store, logger } = this.#deps;
    if (this.#bansDueAt === null || (this.#position ?? -1n) < this.#bansDueAt) return;
    for (const ban of await audit.lostBans(options)) {
      if (!(await store.recordBan(ban, options))) continue;
      const { peerId: peer, nodeId: node, reason } = ban;
      logger.warn("a ban that was lost with etcd is put back", { peer, node, reason });
    }
    this.#bansDueAt = null;
  }

  async #follow(options: { readonly signal: AbortSignal }): Promise<void> {
    await this.#retrying(() => this.#restoreBans(options), options);
    const stop = new AbortController();
    const signal = AbortSignal.any([options.signal, stop.signal]);
    const drain = this.#drain({ signal });
    const watch = this.#deps.store.watch(this.#position ?? 0n, (set) => this.#take(set, signal), {
      signal,
    });
    try {
      await Promise.race([drain, watch]);
    } finally {
      stop.abort(new Error("the projector stops"));
      this.#wake?.();
      this.#room?.();
      await Promise.allSettled([drain, watch]);
    }
  }

  /** Records all that etcd holds now, where its history no longer tells how that came to be. */
  async #recordState(options: AbortOptions): Promise<void> {
    const { audit, store, logger } = this.#deps;
    const reached = await audit.position(options);
    if (reached !== null) {
      // Recorded by an attempt whose reply was lost.
      this.#position = reached;
      return;
    }
    const { revision } = await store.lineage(options);
    const expected = null;
    for await (const changes of presentState(store, options)) {
      const rows = await this.#rowsOf([{ revision, changes }], options);
      const outcome = await audit.append(expected, { revision, rows, partial: true }, options);
      if (outcome === "stale") throw new Error("another projector records the present state");
    }
    const outcome = await audit.append(expected, { revision, rows: [] }, options);
    const position = outcome === "stale" ? await audit.position(options) : revision;
    if (position !== revision) throw new Error("another projector moved the position");
    this.#position = revision;
    logger.warn(
      "the beginning of etcd's history is compacted away: its present state was recorded",
      {
        revision: revision.toString(),
      },
    );
  }

  async #take(set: ChangeSet, signal: AbortSignal): Promise<void> {
    // What the watch still has in hand when this ends must not wait for room that nobody makes any more.
    if (signal.aborted) return;
    this.#waiting.push(set);
    this.#wake?.();
    if (this.#waiting.length < WAITING_MAX) return;
    await new Promise<void>((resolve) => {
      this.#room = resolve;
    });
  }

  async #drain(options: { readonly signal: AbortSignal }): Promise<void> {
    while (!options.signal.aborted) {
      if (this.#waiting.length === 0) {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
        this.#wake = null;
        continue;
      }
      const { batch, taken } = await this.#nextBatch(options);
      const { fault = noFault } = this.#deps;
      const expected = this.#position;
      fault("projector.before-append");
      let attempts = 0;
      const outcome = await this.#retrying(() => {
        attempts++;
        return this.#deps.audit.append(expected, batch, options);
      }, options);
      fault("projector.after-append");
      if (outcome === "stale") {
        const position = await this.#retrying(() => this.#deps.audit.position(options), options);
        // After a reply that was lost the batch is there. Anything else is another projector at work.
        if (attempts === 1 || position !== batch.revision)
          throw new Error(`another projector moved the position to ${String(position)}`);
      }
      this.#waiting.splice(0, taken);
      this.#position = batch.revision;
      this.#deps.metrics.projectorRevision.set({}, Number(batch.revision));
      this.#deps.metrics.projectorLag.set({}, this.#waiting.length);
      this.#room?.();
      this.#room = null;
      await this.#retrying(() => this.#restoreBans(options), options);
    }
  }

  async #nextBatch(
    options: AbortOptions,
  ): Promise<{ readonly batch: AuditBatch; readonly taken: number }> {
    const sets: ChangeSet[] = [];
    let size = 0;
    for (const set of this.#waiting) {
      if (sets.length > 0 && size >= ROWS_MAX) break;
      sets.push(set);
      size += set.changes.length;
    }
    const rows = await this.#rowsOf(sets, options);
    const revision = sets.at(-1)?.revision ?? 0n;
    return { batch: { revision, rows }, taken: sets.length };
  }

  async #rowsOf(sets: readonly ChangeSet[], options: AbortOptions): Promise<AuditBatch["rows"]> {
    const changes = sets.flatMap((set) => set.changes);
    const borneOut = await this.#borneOut(changes.filter(isViolation), options);
    return sets.flatMap((set) => rowsOf(set, borneOut));
  }

  /** Which of these violations their own evidence backs. */
  async #borneOut(
    violations: readonly ViolationChange[],
    options: AbortOptions,
  ): Promise<ReadonlySet<ViolationChange>> {
    const { verify, logger } = this.#deps;
    const judge = (): readonly ViolationChange[] =>
      violations.filter(({ violation }) => !isBorneOut(violation, this.#sets, verify));
    let unproven = judge();
    if (unproven.length > 0) {
      // At most once a batch, for a forger could ask for it at will.
      this.#sets = await this.#retrying(() => this.#readSets(options), options);
      unproven = judge();
    }
    for (const { violation } of unproven)
      logger.error("a violation in etcd is not borne out by its evidence, it lowers no score", {
        txId: violation.txId,
        peer: violation.peerId,
        type: violation.type,
      });
    return new Set(violations.filter((change) => !unproven.includes(change)));
  }

  async #readSets(options: AbortOptions): Promise<TrusteeSets> {
    try {
      return (await this.#deps.store.readConfig(options)).sets;
    } catch (error) {
      // Never initialised: then nobody is a trustee.
      if (error instanceof StoreError && error.code === "REFUSED") return new Map();
      throw error;
    }
  }

  async #retrying<T>(call: () => Promise<T>, options: AbortOptions): Promise<T> {
    for (let attempt = 0; ; attempt++) {
      try {
        return await call();
      } catch (error) {
        if (options.signal?.aborted === true) throw error;
        this.#deps.logger.warn("projection waits for a server", { error, attempt });
        await this.#deps.clock.sleep(Math.min(5_000, 100 * 2 ** Math.min(attempt, 6)), options);
      }
    }
  }
}

/** Why the etcd that is there is not the one that the position is of; null when it is. */
function replacedBy(
  { position, known }: { readonly position: bigint | null; readonly known: string | null },
  { id, revision }: { readonly id: string; readonly revision: bigint },
): string | null {
  if (known !== null && known !== id) return `it is the cluster ${id}, and history is of ${known}`;
  if (position !== null && position > revision)
    return `it ends at revision ${revision}, and history is at ${position}`;
  return null;
}
