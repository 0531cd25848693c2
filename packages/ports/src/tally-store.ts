import type {
  Ban,
  BanLift,
  Epoch,
  EvidenceGrade,
  FinalDecision,
  NodeId,
  PeerId,
  Receipt,
  SignedVote,
  TrusteeSet,
  TxId,
  TxRecord,
  TxSnapshot,
  TxStatus,
  TxWrites,
  Value,
  Violation,
} from "@quorate/core";
import type { AbortOptions, Lifecycle } from "./lifecycle.ts";

/** A snapshot and the guard that goes with it. */
export interface VersionedSnapshot {
  readonly snapshot: TxSnapshot;
  /** Modification revision of the transaction's status key; 0 while it does not exist. */
  readonly version: bigint;
  /** The store's revision at which all of it was read. */
  readonly revision: bigint;
}

/** One transaction's commit: `writes` as decided on a snapshot of this version. */
export interface TxCommit {
  readonly version: bigint;
  readonly writes: TxWrites;
}

export type CommitOutcome =
  | { readonly kind: "committed"; readonly revision: bigint }
  /** A guard failed (another writer was first, a voter was banned): nothing of it was written. Decide again on `fresh`. */
  | {
      readonly kind: "conflict";
      readonly fresh: VersionedSnapshot;
      /** Which of this commit's voters are banned now. */
      readonly bans: ReadonlyMap<PeerId, EvidenceGrade>;
    };

/** A violation outside any transaction's vote set: a bad signature under a valid envelope. */
export interface StandaloneViolation {
  readonly violation: Omit<Violation, "nodeId"> & { readonly nodeId: NodeId | null };
  readonly ban: BanEntry;
}

/** A live node, as its lease says. */
export interface Presence {
  readonly peerId: PeerId;
  readonly nodeId: NodeId;
  readonly addresses: readonly string[];
  readonly apiUrl: string | null;
  readonly version: string;
  readonly startedAtMs: number;
}

export type Change =
  | {
      readonly kind: "status";
      readonly txId: TxId;
      readonly status: TxStatus | null;
      /** True when this revision brought the key into being (its version is 1): the transaction opens here. */
      readonly created: boolean;
    }
  | { readonly kind: "record"; readonly txId: TxId; readonly record: TxRecord }
  | {
      readonly kind: "vote";
      readonly txId: TxId;
      readonly vote: SignedVote;
      readonly peerId: PeerId;
    }
  | { readonly kind: "count"; readonly txId: TxId; readonly value: Value; readonly count: number }
  | { readonly kind: "decision"; readonly txId: TxId; readonly decision: FinalDecision }
  /** Votes of a decided transaction were purged: it takes none any more. May come more than once in a set. */
  | { readonly kind: "archived"; readonly txId: TxId }
  | { readonly kind: "violation"; readonly violation: StandaloneViolation["violation"] }
  | {
      readonly kind: "ban";
      readonly peerId: PeerId;
      /** Null when the ban has ended. */
      readonly ban: StandaloneViolation["ban"] | null;
    }
  | { readonly kind: "lift"; readonly lift: BanLift }
  | { readonly kind: "receipts"; readonly receipts: readonly Receipt[] }
  | { readonly kind: "presence"; readonly peerId: PeerId; readonly presence: Presence | null }
  | { readonly kind: "config" }
  /** A key under the cluster that is not readable: forged or from a newer version. */
  | { readonly kind: "unreadable"; readonly key: string; readonly problem: string };

/** All that one revision changed; never split over two sets. */
export interface ChangeSet {
  readonly revision: bigint;
  readonly changes: readonly Change[];
}

export interface ClusterConfig {
  /** The set in force: transactions open under it. */
  readonly set: TrusteeSet;
  /** Modification revision of the epoch key: the guard of every vote commit. */
  readonly epochVersion: bigint;
  /** The set in force and the ones before it, the newest `LIMITS.epochsKept`: a transaction keeps the set it opened under. */
  readonly sets: ReadonlyMap<Epoch, TrusteeSet>;
}

/** A ban, also of a peer whose name is not known. */
export type BanEntry = Omit<Ban, "nodeId"> & { readonly nodeId: NodeId | null };

export interface ViolationsPage {
  readonly violations: readonly StandaloneViolation["violation"][];
  /** Where the next page begins; null at the end. */
  readonly next: string | null;
}

export interface OpenTransaction {
  readonly txId: TxId;
  readonly status: TxStatus;
  readonly record: TxRecord;
}

/**
 * The shared tally. Decisions on one transaction are totally ordered by its
 * status key (R3); vote, counter, status, record, violations and bans of a commit
 * are written together or not at all.
 *
 * An unknown result (lost reply) rejects with a retryable StoreError: commit the
 * same again, or read and decide again; the guards make a repetition harmless.
 * @see spec §4.2, §7.1
 */
export interface TallyStore extends Lifecycle {
  /** Writes the trustee set if the cluster has none. @returns "exists" when there is one, which then stands. */
  initCluster(set: TrusteeSet, options?: AbortOptions): Promise<"created" | "exists">;
  /** The trustee set in force; rejects with StoreError REFUSED when the cluster was never initialised. */
  readConfig(options?: AbortOptions): Promise<ClusterConfig>;
  /**
   * Puts the next epoch's set in force, in one step. Commits decided under the epoch before become conflicts.
   * @param next its epoch is one more than the one in force
   * @param epochVersion from the `readConfig` that `next` was made from
   * @returns "conflict" when the set has been changed meanwhile: read and make the change again
   */
  changeTrustees(
    next: TrusteeSet,
    epochVersion: bigint,
    options?: AbortOptions,
  ): Promise<"changed" | "conflict">;
  /** Linearizable read of one transaction, at one revision. */
  read(txId: TxId, options?: AbortOptions): Promise<VersionedSnapshot>;
  /**
   * Commits many transactions in as few round trips as the store allows, each
   * with its own guards and its own outcome, in order. Transactions must differ.
   * @param epochVersion from `readConfig`; when the epoch has moved on every commit is a conflict.
   */
  commit(
    commits: readonly TxCommit[],
    epochVersion: bigint,
    options?: AbortOptions,
  ): Promise<readonly CommitOutcome[]>;
  /** Records a violation and its ban once. @returns false when that violation is recorded already. */
  recordViolation(entry: StandaloneViolation, options?: AbortOptions): Promise<boolean>;
  /**
   * Bans a peer for what is no single violation (LOW_REPUTATION) or again after etcd lost its ban, unless it is banned
   * already. A PROOF replaces an OPINION.
   * @returns false when nothing was written.
   */
  recordBan(ban: BanEntry, options?: AbortOptions): Promise<boolean>;
  /**
   * Ends an OPINION ban for good, records who did it and why, and ends the peer's silent run, in one step. Idempotent.
   * @returns "permanent" for a PROOF ban, which stands.
   */
  liftBan(lift: BanLift, options?: AbortOptions): Promise<"lifted" | "not-banned" | "permanent">;
  /**
   * Removes a ban of either grade that its own evidence does not bear out (somebody with access to the store
   * forged it), if it is still the one of this version, and records that.
   * @returns false when it has changed or gone.
   */
  strikeBan(lift: BanLift, version: bigint, options?: AbortOptions): Promise<boolean>;
  /** Recorded ends of bans, oldest first. */
  readLifts(options?: AbortOptions): Promise<readonly BanLift[]>;
  /** All bans, with the revision of the read. */
  readBans(options?: AbortOptions): Promise<{
    readonly revision: bigint;
    readonly bans: ReadonlyMap<PeerId, BanEntry>;
    /** Modification revision of each ban's key. */
    readonly versions: ReadonlyMap<PeerId, bigint>;
  }>;
  /** Keeps a node's receipts for `LIMITS.receiptsTtlSeconds`; at most `LIMITS.receiptsPerWriteMax`, all of one node's run. Idempotent by their sequence numbers. */
  recordReceipts(receipts: readonly Receipt[], options?: AbortOptions): Promise<void>;
  /** The newest receipts of all nodes that are still kept, newest first. */
  readReceipts(limit: number, options?: AbortOptions): Promise<readonly Receipt[]>;
  /** Recorded violations of all transactions, in order of transaction id. @param page `after` is the `next` of the page before. */
  listViolations(
    page: { readonly after: string | null; readonly limit: number },
    options?: AbortOptions,
  ): Promise<ViolationsPage>;
  /** Transactions that have a status, in the order in which they opened; `after` continues. A page may be shorter than `limit`: only an empty one is the end. */
  listTransactions(
    page: { readonly after: TxId | null; readonly limit: number },
    options?: AbortOptions,
  ): Promise<readonly OpenTransaction[]>;
  readPresence(options?: AbortOptions): Promise<readonly Presence[]>;
  readSilenceStreaks(options?: AbortOptions): Promise<ReadonlyMap<NodeId, number>>;
  /** Recorded violations of one transaction. */
  readViolations(
    txId: TxId,
    options?: AbortOptions,
  ): Promise<readonly StandaloneViolation["violation"][]>;
  /** The store's current revision. */
  revision(options?: AbortOptions): Promise<bigint>;
  /**
   * Which store it is, and its current revision. The id is another one after a snapshot was restored under a token of its
   * own: then revisions from before mean nothing any more.
   */
  lineage(options?: AbortOptions): Promise<{ readonly id: string; readonly revision: bigint }>;
  /**
   * Calls back with every change set after `after`, in revision order, none missing and none twice,
   * over reconnects; resolves when aborted. Calls are sequential: the next waits for the callback's promise.
   * Rejects with StoreError CORRUPT when `after` was compacted away, or lies beyond the end of history: a snapshot was restored.
   */
  watch(
    after: bigint,
    onChanges: (set: ChangeSet) => void | Promise<void>,
    options: AbortOptions,
  ): Promise<void>;
  /** Announces this node on a lease until aborted; keeps it alive, and makes a new lease when one is lost. */
  announce(presence: Presence, ttlSeconds: number, options: AbortOptions): Promise<void>;
}

/** How much of a transaction is purged: its votes and counters, or its status and record too. The decision, violations and bans never are. */
export type PurgeLevel = "votes" | "all";

export interface PurgeRequest {
  readonly txId: TxId;
  readonly level: PurgeLevel;
  /** Everything up to this revision is in history: what was written to the transaction after it is not lost by a purge. */
  readonly throughRevision: bigint;
}

export type PurgeOutcome =
  | "purged"
  /** There was nothing of it any more. */
  | "gone"
  /** Not CONFIRMED or ABORTED_BYZANTINE, changed after `throughRevision`, or changed just now: nothing was done. */
  | "kept"
  /** The store is full and takes no guarded writes: the votes are gone, and the purge is to be repeated when it takes them again. */
  | "freed";

export interface TallyStorage {
  /** What the database files take, of the largest member. */
  readonly dbSizeBytes: number;
  /** What of it is in use; the rest is free for new data. */
  readonly dbSizeInUseBytes: number;
  /** At what size of the files writes are refused; null when it is not known. */
  readonly quotaBytes: number | null;
  /** Alarms that are raised, such as NOSPACE. */
  readonly alarms: readonly string[];
}

/**
 * What an operator's collector does to the tally. Needs no more than the tally's own
 * rights, but `storage`, `compact`, `defragment` and `disarm` concern the whole store, whoever else uses it.
 * @see spec §9
 */
export interface TallyMaintenance {
  /**
   * Purges settled transactions, each in one guarded step: a commit that comes first wins and the transaction is kept,
   * one that comes later finds its guard void. Writes the decision if it is missing. Idempotent. One outcome per request, in order.
   */
  purge(
    requests: readonly PurgeRequest[],
    options?: AbortOptions,
  ): Promise<readonly PurgeOutcome[]>;
  /** Transactions that have a status. Linear in their number. */
  countTransactions(options?: AbortOptions): Promise<number>;
  /** Of the members that answer; rejects when none does. */
  storage(options?: AbortOptions): Promise<TallyStorage>;
  /** Forgets all history before this revision. @returns false when it was forgotten before. */
  compact(revision: bigint, options?: AbortOptions): Promise<boolean>;
  /** Gives free pages back to the file system, one member after the other, the leader last. A member answers nothing meanwhile; one that is down is passed over. */
  defragment(options?: AbortOptions): Promise<void>;
  /** Ends NOSPACE alarms; a store that is still full raises them again. @returns how many there were */
  disarm(options?: AbortOptions): Promise<number>;
}

/**
 * Leadership over a name, for as long as a lease lives. For efficiency only:
 * a paused leader may believe in it a little longer than is true.
 */
export interface Election {
  /**
   * Waits until this process leads, then runs `lead` with a signal that is aborted when the lease is lost.
   * Resolves when `lead` does. Rejects when `options.signal` aborts while waiting.
   */
  campaign<T>(
    name: string,
    candidate: string,
    ttlSeconds: number,
    lead: (lost: AbortSignal) => Promise<T>,
    options?: AbortOptions,
  ): Promise<T>;
  /** Who leads now. */
  leader(name: string, options?: AbortOptions): Promise<string | null>;
}
