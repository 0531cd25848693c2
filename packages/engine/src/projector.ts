import { type TxId, voteToJson } from "@quorate/core";
import type {
  AbortOptions,
  AuditBatch,
  AuditLog,
  AuditRow,
  Change,
  ChangeSet,
  Clock,
  Logger,
  TallyStore,
} from "@quorate/ports";
import type { SubmitterMetrics } from "./catalogue.ts";

type Row = AuditRow & { readonly revision: bigint };

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
  readonly #deps: {
    readonly store: TallyStore;
    readonly audit: AuditLog;
    readonly clock: Clock;
    readonly logger: Logger;
    readonly metrics: SubmitterMetrics;
  };
  #waiting: ChangeSet[] = [];
  #wake: (() => void) | null = null;
  #room: (() => void) | null = null;
  #position: bigint | null = null;

  constructor(dependencies: {
    readonly store: TallyStore;
    readonly audit: AuditLog;
    readonly clock: Clock;
    readonly logger: Logger;
    readonly metrics: SubmitterMetrics;
  }) {
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
    const watch = this.#deps.store.watch(this.#position ?? 0n, (set) => this.#take(set), {
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

  async #take(set: ChangeSet): Promise<void> {
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
      const { batch, taken } = this.#nextBatch();
      const expected = this.#position;
      const outcome = await this.#retrying(
        () => this.#deps.audit.append(expected, batch, options),
        options,
      );
      if (outcome === "stale") {
        const position = await this.#retrying(() => this.#deps.audit.position(options), options);
        // A reply that was lost: the batch is there. Anything else is another projector at work.
        if (position !== batch.revision)
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

  #nextBatch(): { readonly batch: AuditBatch; readonly taken: number } {
    const rows: Row[] = [];
    let taken = 0;
    let revision = 0n;
    for (const set of this.#waiting) {
      if (taken > 0 && rows.length >= ROWS_MAX) break;
      rows.push(...rowsOf(set));
      revision = set.revision;
      taken++;
    }
    return { batch: { revision, rows }, taken };
  }

  async #retrying<T>(call: () => Promise<T>, options: AbortOptions): Promise<T> {
    for (let attempt = 0; ; attempt++) {
      try {
        return await call();
      } catch (error) {
        if (options.signal?.aborted === true) throw error;
        this.#deps.logger.warn("projection waits for PostgreSQL", { error, attempt });
        await this.#deps.clock.sleep(Math.min(5_000, 100 * 2 ** Math.min(attempt, 6)), options);
      }
    }
  }
}

function rowsOf(set: ChangeSet): readonly Row[] {
  const statuses = new Map<TxId, Extract<Change, { kind: "status" }>>();
  for (const change of set.changes) if (change.kind === "status") statuses.set(change.txId, change);
  const rows: Row[] = [];
  const add = (row: AuditRow): void => {
    rows.push({ ...row, revision: set.revision });
  };
  for (const change of set.changes) {
    if (change.kind === "vote") add(voteRow(change));
    else if (change.kind === "violation") {
      const { txId, peerId, nodeId, type, grade, evidence, detectedAtMs } = change.violation;
      const evidenceJson = JSON.stringify(evidence);
      add({ kind: "violation", txId, peerId, nodeId, type, grade, evidenceJson, detectedAtMs });
    } else if (change.kind === "ban" && change.ban !== null) {
      const { peerId, nodeId, reason, grade, bannedAtMs } = change.ban;
      add({ kind: "ban", peerId, nodeId, reason, grade, bannedAtMs });
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
