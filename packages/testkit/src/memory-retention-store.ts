import type { TxId } from "@quorate/core";
import type {
  AbortOptions,
  Clock,
  PurgeablePage,
  PurgeLevel,
  RetentionStore,
} from "@quorate/ports";

interface Settled {
  readonly status: "CONFIRMED" | "ABORTED_BYZANTINE";
  readonly settledAtMs: number;
  purged: PurgeLevel | null;
}

export interface MemorySubmissionRow {
  readonly txId: TxId;
  /** Null while it is not confirmed. */
  readonly confirmedAtMs: number | null;
}

/** What history is told of, and what it holds: for tests, which play the projector and the submitter. */
export interface MemoryRetentionStore extends RetentionStore {
  settle(txId: TxId, status: Settled["status"], atMs: number): void;
  submit(row: MemorySubmissionRow): void;
  recordVote(txId: TxId, atMs: number): void;
  purgedOf(txId: TxId): PurgeLevel | null;
  readonly active: readonly TxId[];
  readonly archived: readonly TxId[];
  readonly votes: readonly TxId[];
  readonly archivedVotes: readonly TxId[];
}

export interface MemoryRetentionStoreOptions {
  /** The store's own, which tells how old what is. */
  readonly clock: Pick<Clock, "nowMs">;
  /** Faults: `before` may throw (nothing has happened), `after` may throw (it has, and the reply is lost). */
  readonly faults?: {
    readonly before?: (operation: keyof RetentionStore) => void;
    readonly after?: (operation: keyof RetentionStore) => void;
  };
}

/** A RetentionStore in memory, with the semantics of the one in PostgreSQL. */
export function createMemoryRetentionStore(
  options: MemoryRetentionStoreOptions,
): MemoryRetentionStore {
  return new Memory(options);
}

class Memory implements MemoryRetentionStore {
  readonly #options: MemoryRetentionStoreOptions;
  readonly #settled = new Map<TxId, Settled>();
  readonly #active = new Map<TxId, number | null>();
  readonly #archived = new Set<TxId>();
  #votes: { readonly txId: TxId; readonly atMs: number }[] = [];
  readonly #archivedVotes: TxId[] = [];

  constructor(options: MemoryRetentionStoreOptions) {
    this.#options = options;
  }

  get active(): readonly TxId[] {
    return [...this.#active.keys()];
  }

  get archived(): readonly TxId[] {
    return [...this.#archived];
  }

  get votes(): readonly TxId[] {
    return this.#votes.map(({ txId }) => txId);
  }

  get archivedVotes(): readonly TxId[] {
    return [...this.#archivedVotes];
  }

  settle(txId: TxId, status: Settled["status"], atMs: number): void {
    if (!this.#settled.has(txId))
      this.#settled.set(txId, { status, settledAtMs: atMs, purged: null });
  }

  submit({ txId, confirmedAtMs }: MemorySubmissionRow): void {
    this.#active.set(txId, confirmedAtMs);
  }

  recordVote(txId: TxId, atMs: number): void {
    this.#votes.push({ txId, atMs });
  }

  purgedOf(txId: TxId): PurgeLevel | null {
    return this.#settled.get(txId)?.purged ?? null;
  }

  purgeable(
    query: Parameters<RetentionStore["purgeable"]>[0],
    options: AbortOptions = {},
  ): Promise<PurgeablePage> {
    return this.#call("purgeable", options, () => {
      const { level, settledForMs, after, limit } = query;
      const beforeMs = this.#options.clock.nowMs() - settledForMs;
      const place = ([txId, { settledAtMs }]: readonly [TxId, Settled]): string =>
        `${String(settledAtMs).padStart(16, "0")} ${txId}`;
      const rest = [...this.#settled]
        .filter(([txId, row]) => row.settledAtMs < beforeMs && this.#isFinal(txId, row))
        .filter(([, row]) => (level === "votes" ? row.purged === null : row.purged !== "all"))
        .map((entry) => [place(entry), entry[0]] as const)
        .filter(([at]) => after === null || at > after)
        .sort(([a], [b]) => (a < b ? -1 : 1));
      const page = rest.slice(0, limit);
      return {
        txIds: page.map(([, txId]) => txId),
        next: rest.length > limit ? (page.at(-1)?.[0] ?? null) : null,
      };
    });
  }

  notePurged(txIds: readonly TxId[], level: PurgeLevel, options: AbortOptions = {}): Promise<void> {
    return this.#call("notePurged", options, () => {
      for (const txId of txIds) {
        const row = this.#settled.get(txId);
        if (row !== undefined && row.purged !== "all") row.purged = level;
      }
    });
  }

  archiveSubmissions(
    { confirmedForMs, limit }: Parameters<RetentionStore["archiveSubmissions"]>[0],
    options: AbortOptions = {},
  ): Promise<number> {
    return this.#call("archiveSubmissions", options, () => {
      const beforeMs = this.#options.clock.nowMs() - confirmedForMs;
      const old = [...this.#active]
        .filter(([, atMs]) => atMs !== null && atMs < beforeMs)
        .sort(([, a], [, b]) => (a ?? 0) - (b ?? 0))
        .slice(0, limit);
      for (const [txId] of old) {
        this.#active.delete(txId);
        this.#archived.add(txId);
      }
      return old.length;
    });
  }

  retireVotes(
    { recordedForMs, limit, to }: Parameters<RetentionStore["retireVotes"]>[0],
    options: AbortOptions = {},
  ): Promise<number> {
    return this.#call("retireVotes", options, () => {
      const beforeMs = this.#options.clock.nowMs() - recordedForMs;
      const old = this.#votes
        .filter(({ atMs }) => atMs < beforeMs)
        .sort((a, b) => a.atMs - b.atMs)
        .slice(0, limit);
      this.#votes = this.#votes.filter((vote) => !old.includes(vote));
      if (to === "archive") this.#archivedVotes.push(...old.map(({ txId }) => txId));
      return old.length;
    });
  }

  submissionCounts(
    options: AbortOptions = {},
  ): Promise<{ readonly active: number; readonly archived: number }> {
    return this.#call("submissionCounts", options, () => ({
      active: this.#active.size,
      archived: this.#archived.size,
    }));
  }

  #isFinal(txId: TxId, { status }: Settled): boolean {
    const confirmed = (this.#active.get(txId) ?? null) !== null || this.#archived.has(txId);
    return status === "CONFIRMED" ? confirmed : !confirmed && !this.#active.has(txId);
  }

  async #call<T>(
    operation: keyof RetentionStore,
    { signal }: AbortOptions,
    effect: () => T,
  ): Promise<T> {
    signal?.throwIfAborted();
    await Promise.resolve();
    this.#options.faults?.before?.(operation);
    const result = effect();
    this.#options.faults?.after?.(operation);
    return result;
  }
}
