import { assertNever, type PeerId, type TxId } from "@quorate/core";
import {
  type AbortOptions,
  type AuditBatch,
  type AuditLog,
  type AuditRow,
  type BanRow,
  StoreError,
  type TransactionRow,
  type ViolationRow,
  type VoteRow,
} from "@quorate/ports";

/** What the projection holds of one peer. @see spec §7.3 node_reputation */
export interface ReputationRecord {
  readonly peerId: PeerId;
  readonly score: number;
  readonly totalVotes: number;
  readonly violationsCount: number;
  readonly lastSeenMs: number;
}

/** A row with the etcd revision that made it. */
export type Recorded<R extends AuditRow> = R & { readonly revision: bigint };

/** All that an audit log holds, to be looked at in a test. Lists in order of recording. */
export interface AuditRecords {
  readonly votes: readonly Recorded<VoteRow>[];
  readonly violations: readonly Recorded<ViolationRow>[];
  readonly bans: readonly Recorded<BanRow>[];
  readonly transactions: readonly Recorded<TransactionRow>[];
  readonly reputations: readonly ReputationRecord[];
}

export interface MemoryAuditLog extends AuditLog {
  records(): AuditRecords;
}

export interface MemoryAuditLogOptions {
  /** Faults, for simulations: `before` may throw (nothing has happened), `after` may throw (it has, and the reply is lost). */
  readonly faults?: {
    readonly before?: (operation: keyof AuditLog) => void;
    readonly after?: (operation: keyof AuditLog) => void;
  };
}

/** Kind by kind, as the projection in PostgreSQL works; a ban is the last word on a score. */
const ORDER: Readonly<Record<AuditRow["kind"], number>> = {
  vote: 0,
  violation: 1,
  ban: 2,
  transaction: 3,
};

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

/** An AuditLog in memory, with the semantics of the one in PostgreSQL, reputation included. */
export function createMemoryAuditLog(options: MemoryAuditLogOptions = {}): MemoryAuditLog {
  return new Memory(options);
}

class Memory implements MemoryAuditLog {
  readonly #options: MemoryAuditLogOptions;
  readonly #votes = new Map<string, Recorded<VoteRow>>();
  readonly #violations = new Map<string, Recorded<ViolationRow>>();
  readonly #bans = new Map<PeerId, Recorded<BanRow>>();
  readonly #transactions = new Map<TxId, Recorded<TransactionRow>>();
  readonly #reputations = new Map<PeerId, Mutable<ReputationRecord>>();
  #position: bigint | null = null;

  constructor(options: MemoryAuditLogOptions) {
    this.#options = options;
  }

  async position({ signal }: AbortOptions = {}): Promise<bigint | null> {
    signal?.throwIfAborted();
    this.#options.faults?.before?.("position");
    return this.#position;
  }

  async append(
    expected: bigint | null,
    batch: AuditBatch,
    { signal }: AbortOptions = {},
  ): Promise<"appended" | "stale"> {
    signal?.throwIfAborted();
    this.#options.faults?.before?.("append");
    const startsBack = expected !== null && batch.revision < expected;
    if (startsBack || batch.rows.some(({ revision }) => revision > batch.revision)) {
      throw new StoreError("REFUSED", "a batch must cover its rows and follow the position", {
        retryable: false,
      });
    }
    if (this.#position !== expected) return "stale";
    const rows = batch.rows.toSorted(
      (a, b) => ORDER[a.kind] - ORDER[b.kind] || Number(a.revision - b.revision),
    );
    for (const row of rows) this.#record(row);
    this.#position = batch.revision;
    this.#options.faults?.after?.("append");
    return "appended";
  }

  #record(row: AuditBatch["rows"][number]): void {
    switch (row.kind) {
      case "vote":
        return this.#vote(row);
      case "violation":
        return this.#violation(row);
      case "ban":
        return this.#ban(row);
      case "transaction":
        return this.#transaction(row);
      default:
        return assertNever(row);
    }
  }

  #vote(row: Recorded<VoteRow>): void {
    const key = `${row.txId}/${row.nodeId}`;
    if (this.#votes.has(key)) return;
    this.#votes.set(key, row);
    const reputation = this.#reputation(row.peerId, row.issuedAtMs);
    reputation.totalVotes += 1;
    reputation.lastSeenMs = Math.max(reputation.lastSeenMs, row.issuedAtMs);
  }

  #violation(row: Recorded<ViolationRow>): void {
    const key = `${row.txId}/${row.peerId}/${row.type}`;
    if (this.#violations.has(key)) return;
    this.#violations.set(key, row);
    const reputation = this.#reputation(row.peerId, row.detectedAtMs);
    reputation.violationsCount += 1;
    if (row.grade === "PROOF") reputation.score = 0;
    else if (row.type === "MINORITY_VOTE") reputation.score *= 0.5;
    else if (row.type === "SILENT_FAILURE") {
      reputation.score = Math.max(0, reputation.score - 0.1);
    }
  }

  #ban(row: Recorded<BanRow>): void {
    const old = this.#bans.get(row.peerId);
    if (old !== undefined && !replaces(row, old)) return;
    this.#bans.set(row.peerId, row);
    this.#reputation(row.peerId, row.bannedAtMs).score = 0;
  }

  #transaction(row: Recorded<TransactionRow>): void {
    const old = this.#transactions.get(row.txId);
    if (old !== undefined && old.revision >= row.revision) return;
    this.#transactions.set(row.txId, row);
  }

  #reputation(peerId: PeerId, firstSeenMs: number): Mutable<ReputationRecord> {
    const known = this.#reputations.get(peerId);
    if (known !== undefined) return known;
    const fresh = { peerId, score: 1, totalVotes: 0, violationsCount: 0, lastSeenMs: firstSeenMs };
    this.#reputations.set(peerId, fresh);
    return fresh;
  }

  records(): AuditRecords {
    return {
      votes: [...this.#votes.values()],
      violations: [...this.#violations.values()],
      bans: [...this.#bans.values()],
      transactions: [...this.#transactions.values()],
      reputations: [...this.#reputations.values()].map((row) => ({ ...row })),
    };
  }
}

/** A newer ban stands in for an older one, but an OPINION never for a PROOF. */
function replaces(row: Recorded<BanRow>, old: Recorded<BanRow>): boolean {
  return row.revision > old.revision && (row.grade === "PROOF" || old.grade === "OPINION");
}
