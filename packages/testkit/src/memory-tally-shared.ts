import {
  assert,
  type BanLift,
  type FinalDecision,
  LIMITS,
  type NodeId,
  type PeerId,
  type Receipt,
  type TrusteeSet,
  type TxId,
  type TxRecord,
  type TxStatus,
  type VerifiedVote,
} from "@quorate/core";
import {
  type BanEntry,
  type Change,
  type ChangeSet,
  type Clock,
  type ClusterConfig,
  type Presence,
  type StandaloneViolation,
  StoreError,
  type TallyStorage,
} from "@quorate/ports";

export type OpenViolation = StandaloneViolation["violation"];

/** One transaction as the server holds it. */
export interface TxState {
  created: bigint;
  version: bigint;
  status: TxStatus;
  record: TxRecord | null;
  readonly votes: Map<NodeId, VerifiedVote>;
  readonly violations: Map<string, OpenViolation>;
  decision: FinalDecision | null;
}

interface Lease {
  readonly ttlSeconds: number;
  cancelExpiry: () => void;
  readonly onEnd: (() => void)[];
}

/** What all clients of one in-memory tally share: the "server". Synchronous; each mutation is one revision. */
export class SharedTally {
  readonly #clock: Clock;
  /** As etcd's cluster id: a restored snapshot has another. */
  readonly lineage: string;
  #revision = 1n;
  #compacted = 0n;
  readonly #history: ChangeSet[] = [];
  readonly #waiting = new Set<() => void>();
  readonly #leases = new Map<number, Lease>();
  #leaseCount = 0;
  readonly transactions: Map<TxId, TxState> = new Map();
  /** Decisions of transactions that are purged to the last; they stand for ever. */
  readonly tombstones: Map<TxId, FinalDecision> = new Map();
  /** What the files would take, and the quota: set by tests. Writes are refused while an alarm is raised. */
  storage: TallyStorage = { dbSizeBytes: 0, dbSizeInUseBytes: 0, quotaBytes: null, alarms: [] };
  readonly strayViolations: Map<string, OpenViolation> = new Map();
  readonly bans: Map<PeerId, { readonly ban: BanEntry; readonly version: bigint }> = new Map();
  /** By peer and time. */
  readonly lifts: Map<string, BanLift> = new Map();
  /** What was put together, by node, run and first sequence number; the last written is the last. */
  readonly receipts: Map<
    string,
    { readonly receipts: readonly Receipt[]; readonly untilMs: number }
  > = new Map();
  readonly streaks: Map<NodeId, number> = new Map();
  readonly presences: Map<PeerId, { readonly presence: Presence; readonly leaseId: number }> =
    new Map();
  /** Candidates by leadership, oldest first. */
  readonly queues: Map<string, { readonly candidate: string; readonly leaseId: number }[]> =
    new Map();
  config: ClusterConfig | null = null;
  readonly #observers: ((set: ChangeSet) => void)[] = [];

  constructor(dependencies: { readonly clock: Clock }, lineage = "memory") {
    this.#clock = dependencies.clock;
    this.lineage = lineage;
  }

  get compacted(): bigint {
    return this.#compacted;
  }

  get revision(): bigint {
    return this.#revision;
  }

  /** The revision that the mutation under way will have. */
  get nextRevision(): bigint {
    return this.#revision + 1n;
  }

  /** Ends a mutation: all of it is one revision. */
  publish(changes: readonly Change[]): void {
    this.#revision++;
    const set = { revision: this.#revision, changes };
    this.#history.push(set);
    for (const observer of this.#observers) observer(set);
    this.#wake();
  }

  /** Calls back with each revision in the moment in which it comes to be, before any client knows of it. */
  observe(observer: (set: ChangeSet) => void): void {
    this.#observers.push(observer);
  }

  /** Writes what no store would: forged or unreadable keys, as watchers see them. */
  inject(changes: readonly Change[]): void {
    this.publish(changes);
  }

  /** Forgets history before `revision`; watchers that need it get CORRUPT. */
  compact(revision: bigint): void {
    assert(revision <= this.#revision, "only the past can be compacted");
    while (this.#history[0] !== undefined && this.#history[0].revision < revision)
      this.#history.shift();
    this.#compacted = revision;
    this.#wake();
  }

  /** Moves the epoch on, as an operator's change of the trustee set does. */
  setConfig(set: TrusteeSet): void {
    const kept = [...(this.config?.sets ?? []), [set.epoch, set] as const]
      .sort(([a], [b]) => a - b)
      .slice(-LIMITS.epochsKept);
    this.config = { set, epochVersion: this.nextRevision, sets: new Map(kept) };
    this.publish([{ kind: "config" }]);
  }

  keepReceipts(key: string, receipts: readonly Receipt[]): void {
    const untilMs = this.#clock.monotonicMs() + LIMITS.receiptsTtlSeconds * 1_000;
    this.receipts.set(key, { receipts, untilMs });
  }

  /** Without a timer, which would keep a simulated clock from ever being idle. */
  expireReceipts(): void {
    const nowMs = this.#clock.monotonicMs();
    for (const [key, { untilMs }] of this.receipts) if (untilMs <= nowMs) this.receipts.delete(key);
  }

  /** The first change set after a revision, or null while there is none. */
  changesAfter(after: bigint): ChangeSet | null {
    if (after + 1n < this.#compacted)
      throw new StoreError("CORRUPT", `revisions after ${after} are compacted away`, {
        retryable: false,
      });
    const first = this.#history[0];
    if (first === undefined) return null;
    return (
      this.#history[Number(after >= first.revision ? after - first.revision + 1n : 0n)] ?? null
    );
  }

  /** Resolves at the next publication, or when aborted. */
  async nextPublication(signal: AbortSignal): Promise<void> {
    if (signal.aborted) return;
    await new Promise<void>((resolve) => {
      const done = (): void => {
        this.#waiting.delete(done);
        signal.removeEventListener("abort", done);
        resolve();
      };
      this.#waiting.add(done);
      signal.addEventListener("abort", done);
    });
  }

  grantLease(ttlSeconds: number): number {
    const id = ++this.#leaseCount;
    const cancelExpiry = this.#scheduleExpiry(id, ttlSeconds);
    this.#leases.set(id, { ttlSeconds, cancelExpiry, onEnd: [] });
    return id;
  }

  /** @returns false when the lease is gone. */
  renewLease(id: number): boolean {
    const lease = this.#leases.get(id);
    if (lease === undefined) return false;
    lease.cancelExpiry();
    lease.cancelExpiry = this.#scheduleExpiry(id, lease.ttlSeconds);
    return true;
  }

  /** What to do when the lease ends, revoked or expired. */
  onLeaseEnd(id: number, callback: () => void): void {
    const lease = this.#leases.get(id);
    if (lease === undefined) callback();
    else lease.onEnd.push(callback);
  }

  /** Ends one of the leases, as an operator or a lost heartbeat would. @returns false when there is none */
  endSomeLease(place: number): boolean {
    const id = [...this.#leases.keys()].at(place % Math.max(1, this.#leases.size));
    if (id === undefined) return false;
    this.endLease(id);
    return true;
  }

  endLease(id: number): void {
    const lease = this.#leases.get(id);
    if (lease === undefined) return;
    this.#leases.delete(id);
    lease.cancelExpiry();
    for (const callback of lease.onEnd) callback();
  }

  #scheduleExpiry(id: number, ttlSeconds: number): () => void {
    return this.#clock.schedule(ttlSeconds * 1_000, () => this.endLease(id));
  }

  #wake(): void {
    for (const waiter of this.#waiting) waiter();
  }
}
