import {
  assertNever,
  LIMITS,
  type NodeId,
  type PeerId,
  type ReputationEvent,
  type ReputationState,
  reputationAfter,
  SPOTLESS,
  scoreAt,
  type TxId,
} from "@quorate/core";
import {
  type AbortOptions,
  type AuditBatch,
  type AuditLog,
  type AuditRow,
  type BanEntry,
  type BanRow,
  type Contradiction,
  type HistoryLineage,
  type LiftRow,
  type ReceiptRow,
  type ReceiptsPage,
  type ReputationRow,
  StoreError,
  type TransactionRow,
  type ViolationRow,
  type ViolationSummary,
  type VoteRow,
} from "@quorate/ports";

/** What the projection holds of one peer. @see spec §7.3 node_reputation */
export interface ReputationRecord {
  readonly peerId: PeerId;
  /** The score as it was at the last penalty. */
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
  /** Bans that stand. */
  readonly bans: readonly Recorded<BanRow>[];
  readonly lifts: readonly Recorded<LiftRow>[];
  readonly receipts: readonly Recorded<ReceiptRow>[];
  readonly transactions: readonly Recorded<TransactionRow>[];
  readonly reputations: readonly ReputationRecord[];
}

export interface MemoryAuditLog extends AuditLog {
  /** The position, without a call. */
  positionNow(): bigint | null;
  records(): AuditRecords;
}

export interface MemoryAuditLogOptions {
  /** Faults, for simulations: `before` may throw (nothing has happened), `after` may throw (it has, and the reply is lost). */
  readonly faults?: {
    readonly before?: (operation: keyof AuditLog) => void;
    readonly after?: (operation: keyof AuditLog) => void;
  };
}

/** Within one revision, as the projection in PostgreSQL works. */
const ORDER: Readonly<Record<AuditRow["kind"], number>> = {
  vote: 0,
  violation: 1,
  lift: 2,
  ban: 3,
  transaction: 4,
  receipt: 5,
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
  readonly #lifts = new Map<string, Recorded<LiftRow>>();
  readonly #receipts = new Map<string, Recorded<ReceiptRow>>();
  readonly #transactions = new Map<TxId, Recorded<TransactionRow>>();
  readonly #decided = new Set<TxId>();
  readonly #reputations = new Map<PeerId, Mutable<ReputationRow>>();
  readonly #contradictions = new Map<string, Contradiction>();
  /** As recorded: etcd's own revision and the offset. */
  #position: bigint | null = null;
  #offset = 0n;
  #lineage: HistoryLineage = { id: null, restarts: 0 };

  constructor(options: MemoryAuditLogOptions) {
    this.#options = options;
  }

  async position({ signal }: AbortOptions = {}): Promise<bigint | null> {
    signal?.throwIfAborted();
    this.#options.faults?.before?.("position");
    return this.#raw();
  }

  positionNow(): bigint | null {
    return this.#raw();
  }

  async lineage({ signal }: AbortOptions = {}): Promise<HistoryLineage> {
    signal?.throwIfAborted();
    this.#options.faults?.before?.("lineage");
    return this.#lineage;
  }

  async beginLineage(
    expected: { readonly position: bigint | null; readonly restarts: number },
    { id, reason }: { readonly id: string; readonly reason: string | null },
    { signal }: AbortOptions = {},
  ): Promise<"begun" | "stale"> {
    signal?.throwIfAborted();
    this.#options.faults?.before?.("beginLineage");
    const { restarts } = this.#lineage;
    if (this.#raw() !== expected.position || restarts !== expected.restarts) return "stale";
    if (reason !== null) this.#offset = this.#position ?? 0n;
    this.#lineage = { id, restarts: reason === null ? restarts : restarts + 1 };
    this.#options.faults?.after?.("beginLineage");
    return "begun";
  }

  async lostBans({ signal }: AbortOptions = {}): Promise<readonly BanEntry[]> {
    signal?.throwIfAborted();
    this.#options.faults?.before?.("lostBans");
    if (this.#lineage.restarts === 0) return [];
    return [...this.#bans.values()]
      .filter(({ revision }) => revision <= this.#offset)
      .map(({ peerId, nodeId, reason, grade, bannedAtMs, evidenceJson }) => ({
        peerId,
        nodeId,
        reason: reason as BanEntry["reason"],
        grade,
        bannedAtMs,
        evidence: JSON.parse(evidenceJson) as BanEntry["evidence"],
      }));
  }

  async contradictions(
    limit: number,
    { signal }: AbortOptions = {},
  ): Promise<readonly Contradiction[]> {
    signal?.throwIfAborted();
    return [...this.#contradictions.values()].reverse().slice(0, limit);
  }

  /** The position in etcd's own revisions. */
  #raw(): bigint | null {
    if (this.#position === null) return null;
    const fresh = this.#lineage.restarts > 0 && this.#position === this.#offset;
    return fresh ? null : this.#position - this.#offset;
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
    if (this.#raw() !== expected) return "stale";
    const rows = batch.rows
      .map((row) => ({ ...row, revision: row.revision + this.#offset }))
      .sort((a, b) => Number(a.revision - b.revision) || ORDER[a.kind] - ORDER[b.kind]);
    for (const row of rows) this.#record(row);
    if (batch.partial !== true) this.#position = batch.revision + this.#offset;
    this.#options.faults?.after?.("append");
    return "appended";
  }

  async reputations({ signal }: AbortOptions = {}): Promise<readonly ReputationRow[]> {
    signal?.throwIfAborted();
    this.#options.faults?.before?.("reputations");
    return [...this.#reputations.values()]
      .map((row) => ({ ...row }))
      .sort((a, b) => scoreOf(a) - scoreOf(b))
      .slice(0, LIMITS.reputationsMax)
      .sort((a, b) => (a.peerId < b.peerId ? -1 : 1));
  }

  async violationsOf(
    peerId: PeerId,
    limit: number,
    { signal }: AbortOptions = {},
  ): Promise<readonly ViolationSummary[]> {
    signal?.throwIfAborted();
    this.#options.faults?.before?.("violationsOf");
    return [...this.#violations.values()]
      .filter((row) => row.peerId === peerId && row.borneOut)
      .reverse()
      .slice(0, limit)
      .map(({ txId, type, detectedAtMs }) => ({ txId, type, detectedAtMs }));
  }

  async receipts(
    page: { readonly before: string | null; readonly limit: number },
    { signal }: AbortOptions = {},
  ): Promise<ReceiptsPage> {
    signal?.throwIfAborted();
    this.#options.faults?.before?.("receipts");
    const all = [...this.#receipts.values()].map(({ receipt }) => receipt);
    const end = page.before === null ? all.length : Number(page.before);
    const start = Math.max(0, end - page.limit);
    const receipts = all.slice(start, end).reverse();
    return { receipts, next: receipts.length === page.limit ? String(start) : null };
  }

  #record(row: AuditBatch["rows"][number]): void {
    switch (row.kind) {
      case "vote":
        return this.#vote(row);
      case "violation":
        return this.#violation(row);
      case "ban":
        return this.#ban(row);
      case "lift":
        return this.#lift(row);
      case "receipt":
        return this.#receipt(row);
      case "transaction":
        return this.#transaction(row);
      default:
        return assertNever(row);
    }
  }

  #vote(row: Recorded<VoteRow>): void {
    const key = `${row.txId}/${row.nodeId}`;
    const old = this.#votes.get(key);
    if (old !== undefined) {
      if (old.revision <= this.#offset && old.value !== row.value)
        this.#contradict({
          kind: "vote",
          txId: row.txId,
          nodeId: row.nodeId,
          recordedJson: old.proofJson,
          foundJson: row.proofJson,
        });
      return;
    }
    this.#votes.set(key, row);
    const reputation = this.#reputation(row.peerId, row.nodeId, row.issuedAtMs);
    reputation.lastSeenMs =
      reputation.totalVotes === 0
        ? row.issuedAtMs
        : Math.max(reputation.lastSeenMs, row.issuedAtMs);
    reputation.totalVotes += 1;
  }

  #violation(row: Recorded<ViolationRow>): void {
    const key = `${row.txId}/${row.peerId}/${row.type}`;
    if (this.#violations.has(key)) return;
    this.#violations.set(key, row);
    const reputation = this.#reputation(row.peerId, row.nodeId, row.detectedAtMs);
    if (!row.borneOut) return;
    reputation.violationsCount += 1;
    fold(reputation, { kind: "violation", type: row.type, atMs: row.detectedAtMs });
  }

  #ban(row: Recorded<BanRow>): void {
    const old = this.#bans.get(row.peerId);
    if (old !== undefined && !replaces(row, old, this.#offset)) return;
    const lifted = [...this.#lifts.values()].some(
      ({ peerId, revision }) => peerId === row.peerId && revision > row.revision,
    );
    if (lifted) return;
    this.#bans.set(row.peerId, row);
    fold(this.#reputation(row.peerId, row.nodeId, row.bannedAtMs), { kind: "ban" });
  }

  #lift(row: Recorded<LiftRow>): void {
    // Its key in etcd, whichever etcd it is.
    const key = `${row.peerId}/${row.liftedAtMs}`;
    const ban = this.#bans.get(row.peerId);
    const isNew = !this.#lifts.has(key);
    if (ban !== undefined && ends(row, ban, { isNew, offset: this.#offset }))
      this.#bans.delete(row.peerId);
    const { peerId, nodeId, liftKind, liftedAtMs: atMs } = row;
    const reputation = this.#reputation(peerId, nodeId, atMs);
    // Known of an earlier etcd: nothing is forgiven twice.
    if (isNew) {
      this.#lifts.set(key, row);
      fold(reputation, { kind: "lift", liftKind, atMs });
    }
    reputation.state = { ...reputation.state, banned: this.#bans.has(peerId) };
  }

  #receipt(row: Recorded<ReceiptRow>): void {
    const { nodeId, runStartedAtMs, sequence } = row.receipt;
    const key = `${nodeId}/${runStartedAtMs}/${sequence}`;
    if (!this.#receipts.has(key)) this.#receipts.set(key, row);
  }

  #transaction(row: Recorded<TransactionRow>): void {
    const old = this.#transactions.get(row.txId);
    if (old !== undefined && old.revision >= row.revision) return;
    if (old !== undefined && old.revision <= this.#offset && !mayFollow(row, old)) {
      if (
        isClosed(row) &&
        !(row.status === "SUBMITTED" && row.value === old.value && old.status === "CONFIRMED")
      )
        this.#contradict({
          kind: "transaction",
          txId: row.txId,
          nodeId: null,
          recordedJson: withStatus(old),
          foundJson: withStatus(row),
        });
      return;
    }
    this.#transactions.set(row.txId, row);
    const isDecided = row.status === "SUBMITTED" || row.status === "CONFIRMED";
    if (!isDecided || row.value === null || this.#decided.has(row.txId)) return;
    this.#decided.add(row.txId);
    for (const vote of this.#votes.values()) {
      const reputation = this.#reputations.get(vote.peerId);
      const counts = vote.txId === row.txId && vote.value === row.value;
      if (reputation !== undefined && counts && vote.revision <= row.revision)
        fold(reputation, { kind: "good-conduct" });
    }
  }

  #contradict(found: Contradiction): void {
    const key = `${found.kind}/${found.txId}/${found.nodeId ?? ""}/${found.foundJson}`;
    if (!this.#contradictions.has(key)) this.#contradictions.set(key, found);
  }

  #reputation(peerId: PeerId, nodeId: NodeId | null, noticedAtMs: number): Mutable<ReputationRow> {
    const known = this.#reputations.get(peerId);
    if (known !== undefined) {
      known.nodeId = nodeId ?? known.nodeId;
      if (known.totalVotes === 0) known.lastSeenMs = Math.min(known.lastSeenMs, noticedAtMs);
      return known;
    }
    const fresh: Mutable<ReputationRow> = {
      peerId,
      nodeId,
      state: SPOTLESS,
      totalVotes: 0,
      violationsCount: 0,
      lastSeenMs: noticedAtMs,
    };
    this.#reputations.set(peerId, fresh);
    return fresh;
  }

  records(): AuditRecords {
    return {
      votes: [...this.#votes.values()],
      violations: [...this.#violations.values()],
      bans: [...this.#bans.values()],
      lifts: [...this.#lifts.values()],
      receipts: [...this.#receipts.values()],
      transactions: [...this.#transactions.values()],
      reputations: [...this.#reputations.values()].map((row) => ({
        peerId: row.peerId,
        score: scoreOf(row),
        totalVotes: row.totalVotes,
        violationsCount: row.violationsCount,
        lastSeenMs: row.lastSeenMs,
      })),
    };
  }
}

function fold(reputation: Mutable<ReputationRow>, event: ReputationEvent): void {
  reputation.state = reputationAfter(reputation.state, event);
}

/** As PostgreSQL's column has it. */
function scoreOf({ state }: { readonly state: ReputationState }): number {
  return scoreAt(state, state.penaltyAtMs);
}

/**
 * A newer ban stands in for an older one, but an OPINION never for a PROOF; and what is told again
 * of an earlier etcd (up to revision `offset`) not for what was later than it.
 */
function replaces(row: Recorded<BanRow>, old: Recorded<BanRow>, offset: bigint): boolean {
  if (row.revision <= old.revision || (row.grade === "OPINION" && old.grade === "PROOF"))
    return false;
  return old.revision > offset || row.bannedAtMs >= old.bannedAtMs || row.grade !== old.grade;
}

/** Revisions tell within one etcd. Of an earlier one a ban ends by a lift that is new, later, and of its grade. */
function ends(
  lift: Recorded<LiftRow>,
  ban: Recorded<BanRow>,
  { isNew, offset }: { readonly isNew: boolean; readonly offset: bigint },
): boolean {
  if (ban.revision > offset) return ban.revision < lift.revision;
  const isOfGrade = ban.grade === "OPINION" || lift.liftKind === "UNPROVEN";
  return isNew && ban.bannedAtMs <= lift.liftedAtMs && isOfGrade;
}

function isClosed({ status }: TransactionRow): boolean {
  return status === "SUBMITTED" || status === "CONFIRMED" || status === "ABORTED_BYZANTINE";
}

/** Whether what this etcd says may take the place of what an earlier one said: what was decided stays so. */
function mayFollow(row: TransactionRow, old: TransactionRow): boolean {
  if (!isClosed(old)) return true;
  if (row.value !== old.value) return false;
  return row.status === old.status || (row.status === "CONFIRMED" && old.status === "SUBMITTED");
}

function withStatus({ recordJson, status }: TransactionRow): string {
  return JSON.stringify({ ...JSON.parse(recordJson), status });
}
