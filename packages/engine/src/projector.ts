import { type TrusteeSets, type TxId, type Verify, voteToJson } from "@quorate/core";
import {
  type AbortOptions,
  type AuditBatch,
  type AuditLog,
  type AuditRow,
  type Change,
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

type Row = AuditRow & { readonly revision: bigint };

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
 */
export class Projector {
  readonly #deps: ProjectorDependencies;
  #waiting: ChangeSet[] = [];
  #wake: (() => void) | null = null;
  #room: (() => void) | null = null;
  #position: bigint | null = null;
  /** As last read; violations of an epoch that is not in it yet are judged by a fresh one. */
  #sets: TrusteeSets = new Map();

  constructor(dependencies: ProjectorDependencies) {
    this.#deps = dependencies;
  }

  /** The last revision in PostgreSQL; null before the first. */
  get position(): bigint | null {
    return this.#position;
  }

  /** Runs until aborted. Rejects when history was compacted away before it was projected. */
  async run(options: { readonly signal: AbortSignal }): Promise<void> {
    this.#waiting = [];
    this.#position = await this.#retrying(() => this.#deps.audit.position(options), options);
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
    const changes = sets.flatMap((set) => set.changes);
    const borneOut = await this.#borneOut(changes.filter(isViolation), options);
    const rows = sets.flatMap((set) => rowsOf(set, borneOut));
    const revision = sets.at(-1)?.revision ?? 0n;
    return { batch: { revision, rows }, taken: sets.length };
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

type ViolationChange = Extract<Change, { kind: "violation" }>;

function isViolation(change: Change): change is ViolationChange {
  return change.kind === "violation";
}

function rowsOf(set: ChangeSet, borneOut: ReadonlySet<ViolationChange>): readonly Row[] {
  const statuses = new Map<TxId, Extract<Change, { kind: "status" }>>();
  for (const change of set.changes) if (change.kind === "status") statuses.set(change.txId, change);
  const rows: Row[] = [];
  const add = (row: AuditRow): void => {
    rows.push({ ...row, revision: set.revision });
  };
  for (const change of set.changes) {
    if (change.kind === "vote") add(voteRow(change));
    else if (change.kind === "violation") {
      const { evidence, ...rest } = change.violation;
      const evidenceJson = JSON.stringify(evidence);
      add({ kind: "violation", ...rest, evidenceJson, borneOut: borneOut.has(change) });
    } else if (change.kind === "ban") {
      // That a ban ended is told by its lift.
      if (change.ban === null) continue;
      const { evidence, ...rest } = change.ban;
      add({ kind: "ban", ...rest, evidenceJson: JSON.stringify(evidence) });
    } else if (change.kind === "lift") {
      const { kind: liftKind, ...rest } = change.lift;
      add({ kind: "lift", liftKind, ...rest });
    } else if (change.kind === "receipts") {
      for (const receipt of change.receipts) add({ kind: "receipt", receipt });
    } else if (change.kind === "record") {
      const { record, txId } = change;
      add({
        kind: "transaction",
        txId,
        status: statuses.get(txId)?.status ?? "COLLECTING",
        reason: record.reason,
        value: record.value,
        epoch: record.epoch,
        openedAtMs: record.openedAtMs,
        recordJson: JSON.stringify(record, (_key, v: unknown) =>
          typeof v === "bigint" ? v.toString() : v,
        ),
      });
      statuses.delete(txId);
    }
  }
  return rows;
}

function voteRow(change: Extract<Change, { kind: "vote" }>): AuditRow {
  const { vote, peerId, txId } = change;
  return {
    kind: "vote",
    txId,
    nodeId: vote.vote.nodeId,
    peerId,
    epoch: vote.vote.epoch,
    value: vote.vote.value,
    signature: vote.proof.signature,
    proofJson: JSON.stringify(voteToJson(vote, peerId)),
    issuedAtMs: vote.vote.issuedAtMs,
  };
}
