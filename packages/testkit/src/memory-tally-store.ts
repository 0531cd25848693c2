import { isDeepStrictEqual } from "node:util";
import {
  assert,
  type BanLift,
  type EvidenceGrade,
  guardedPeers,
  type NodeId,
  type PeerId,
  type Receipt,
  type TrusteeSet,
  type TxId,
  type ViolationType,
} from "@quorate/core";
import {
  type AbortOptions,
  type BanEntry,
  type Change,
  type ChangeSet,
  type Clock,
  type ClusterConfig,
  type CommitOutcome,
  type Election,
  type OpenTransaction,
  type Presence,
  type PurgeOutcome,
  type PurgeRequest,
  type StandaloneViolation,
  StoreError,
  type TallyMaintenance,
  type TallyStorage,
  type TallyStore,
  type TxCommit,
  type VersionedSnapshot,
  type ViolationsPage,
} from "@quorate/ports";
import {
  liftBan,
  liftsOldestFirst,
  pageOfViolations,
  recordBan,
  recordViolation,
  setBan,
  strikeBan,
  violationKey,
} from "./memory-tally-bans.ts";
import { purgeAll } from "./memory-tally-purge.ts";
import { newestReceipts, recordReceipts } from "./memory-tally-receipts.ts";
import type { OpenViolation, SharedTally, TxState } from "./memory-tally-shared.ts";

export type TallyOperation =
  | "start"
  | "config"
  | "read"
  | "commit"
  | "violation"
  | "bans"
  | "receipts"
  | "list"
  | "presence"
  | "silence"
  | "revision"
  | "watch"
  | "purge"
  | "storage"
  | "lease"
  | "election";

/** What happens to one call. Different delays on calls in flight together reorder them. */
export interface TallyFault {
  /** Before it takes effect, in ms. For "watch": before a change set is delivered. */
  readonly delayMs?: number;
  /** It never reaches the store: UNAVAILABLE. */
  readonly failBefore?: boolean;
  /** It takes effect, and the caller gets TIMEOUT. */
  readonly loseReply?: boolean;
}

/** What a commit is guarded by. */
export type TallyGuard = "epoch" | "status" | "vote" | "ban" | "decision" | "silence";

export interface MemoryTallyStoreOptions {
  /** Guards that commits go without, for tests of tests: what breaks then must be noticed. */
  readonly forgets?: ReadonlySet<TallyGuard>;
  /** The client's name, for the fault hook. */
  readonly name?: string;
  /** Asked at each call, and by watches at each delivery; null for no fault. */
  readonly fault?: (call: {
    readonly client: string;
    readonly operation: TallyOperation;
  }) => TallyFault | null;
}

/**
 * The tally in memory: the twin of the one in etcd, with the same guards, one
 * revision a Txn, leases and elections, and faults on demand. Deterministic under
 * a simulated clock. Any number of clients share one `SharedTally`.
 */
export class MemoryTallyStore implements TallyStore, Election, TallyMaintenance {
  readonly #shared: SharedTally;
  readonly #clock: Clock;
  readonly #options: MemoryTallyStoreOptions;
  readonly #over = new AbortController();
  readonly #running = new Set<Promise<unknown>>();
  #crashed = false;

  constructor(
    shared: SharedTally,
    dependencies: { readonly clock: Clock },
    options: MemoryTallyStoreOptions = {},
  ) {
    this.#shared = shared;
    this.#clock = dependencies.clock;
    this.#options = options;
  }

  async start(options: AbortOptions = {}): Promise<void> {
    await this.#call("start", options, () => undefined);
  }

  async stop(): Promise<void> {
    this.#over.abort(new Error("the store is stopping"));
    await Promise.allSettled(this.#running);
  }

  /** Ends this client as a crash would: nothing is revoked, every call fails, its leases run out. */
  crash(): void {
    this.#crashed = true;
    this.#over.abort(new Error("the client has crashed"));
  }

  initCluster(set: TrusteeSet, options: AbortOptions = {}): Promise<"created" | "exists"> {
    return this.#call("config", options, () => {
      if (this.#shared.config !== null) return "exists";
      this.#shared.setConfig(set);
      return "created";
    });
  }

  readConfig(options: AbortOptions = {}): Promise<ClusterConfig> {
    return this.#call("config", options, () => {
      const { config } = this.#shared;
      if (config === null)
        throw new StoreError("REFUSED", "the cluster is not initialised", { retryable: false });
      return config;
    });
  }

  changeTrustees(
    next: TrusteeSet,
    epochVersion: bigint,
    options: AbortOptions = {},
  ): Promise<"changed" | "conflict"> {
    return this.#call("config", options, () => {
      const { config } = this.#shared;
      if (config === null)
        throw new StoreError("REFUSED", "the cluster is not initialised", { retryable: false });
      // Of a lost reply, repeated: the set in force is the one that is asked for.
      if (config.epochVersion !== epochVersion)
        return isDeepStrictEqual(config.set, next) ? "changed" : "conflict";
      if (next.epoch !== config.set.epoch + 1)
        throw new StoreError(
          "REFUSED",
          `epoch ${config.set.epoch} is followed by the next number, not by ${next.epoch}`,
          { retryable: false },
        );
      this.#shared.setConfig(next);
      return "changed";
    });
  }

  read(txId: TxId, options: AbortOptions = {}): Promise<VersionedSnapshot> {
    return this.#call("read", options, () => this.#snapshot(txId));
  }

  commit(
    commits: readonly TxCommit[],
    epochVersion: bigint,
    options: AbortOptions = {},
  ): Promise<readonly CommitOutcome[]> {
    const distinct = new Set(commits.map(({ writes }) => writes.txId));
    assert(distinct.size === commits.length, "the transactions of one call differ");
    return this.#call("commit", options, () => this.#commitAll(commits, epochVersion));
  }

  recordViolation(entry: StandaloneViolation, options: AbortOptions = {}): Promise<boolean> {
    return this.#call("violation", options, () => recordViolation(this.#shared, entry));
  }

  recordBan(ban: BanEntry, options: AbortOptions = {}): Promise<boolean> {
    return this.#call("bans", options, () => recordBan(this.#shared, ban));
  }

  liftBan(
    lift: BanLift,
    options: AbortOptions = {},
  ): Promise<"lifted" | "not-banned" | "permanent"> {
    return this.#call("bans", options, () => liftBan(this.#shared, lift));
  }

  strikeBan(lift: BanLift, version: bigint, options: AbortOptions = {}): Promise<boolean> {
    return this.#call("bans", options, () => strikeBan(this.#shared, lift, version));
  }

  readLifts(options: AbortOptions = {}): Promise<readonly BanLift[]> {
    return this.#call("bans", options, () => liftsOldestFirst(this.#shared));
  }

  readBans(options: AbortOptions = {}): ReturnType<TallyStore["readBans"]> {
    return this.#call("bans", options, () => {
      const { revision, bans } = this.#shared;
      return {
        revision,
        bans: new Map([...bans].map(([peerId, { ban }]) => [peerId, ban])),
        versions: new Map([...bans].map(([peerId, { version }]) => [peerId, version])),
      };
    });
  }

  recordReceipts(receipts: readonly Receipt[], options: AbortOptions = {}): Promise<void> {
    return this.#call("receipts", options, () => recordReceipts(this.#shared, receipts));
  }

  readReceipts(limit: number, options: AbortOptions = {}): Promise<readonly Receipt[]> {
    return this.#call("receipts", options, () => newestReceipts(this.#shared, limit));
  }

  listViolations(
    page: { readonly after: string | null; readonly limit: number },
    options: AbortOptions = {},
  ): Promise<ViolationsPage> {
    return this.#call("violation", options, () => pageOfViolations(this.#shared, page));
  }

  listTransactions(
    { after, limit }: { readonly after: TxId | null; readonly limit: number },
    options: AbortOptions = {},
  ): Promise<readonly OpenTransaction[]> {
    return this.#call("list", options, () => {
      const all = [...this.#shared.transactions].sort(([a, x], [b, y]) =>
        x.created === y.created ? (a < b ? -1 : 1) : x.created < y.created ? -1 : 1,
      );
      const from = after === null ? 0 : all.findIndex(([txId]) => txId === after) + 1;
      // Cut after what is not listed is left out: a page of nothing else would look like the end.
      return all
        .slice(from)
        .flatMap(([txId, { status, record }]) =>
          record === null ? [] : [{ txId, status, record }],
        )
        .slice(0, limit);
    });
  }

  readPresence(options: AbortOptions = {}): Promise<readonly Presence[]> {
    return this.#call("presence", options, () =>
      [...this.#shared.presences.values()].map(({ presence }) => presence),
    );
  }

  readSilenceStreaks(options: AbortOptions = {}): Promise<ReadonlyMap<NodeId, number>> {
    return this.#call("silence", options, () => new Map(this.#shared.streaks));
  }

  readViolations(txId: TxId, options: AbortOptions = {}): Promise<readonly OpenViolation[]> {
    return this.#call("violation", options, () => this.#violationsOf(txId));
  }

  purge(
    requests: readonly PurgeRequest[],
    options: AbortOptions = {},
  ): Promise<readonly PurgeOutcome[]> {
    return this.#call("purge", options, () => purgeAll(this.#shared, requests));
  }

  countTransactions(options: AbortOptions = {}): Promise<number> {
    return this.#call("list", options, () => this.#shared.transactions.size);
  }

  storage(options: AbortOptions = {}): Promise<TallyStorage> {
    return this.#call("storage", options, () => this.#shared.storage);
  }

  compact(revision: bigint, options: AbortOptions = {}): Promise<boolean> {
    return this.#call("storage", options, () => {
      if (revision <= this.#shared.compacted) return false;
      this.#shared.compact(revision);
      return true;
    });
  }

  defragment(options: AbortOptions = {}): Promise<void> {
    return this.#call("storage", options, () => {
      const { storage } = this.#shared;
      this.#shared.storage = { ...storage, dbSizeBytes: storage.dbSizeInUseBytes };
    });
  }

  disarm(options: AbortOptions = {}): Promise<number> {
    return this.#call("storage", options, () => {
      const { storage } = this.#shared;
      this.#shared.storage = { ...storage, alarms: [] };
      return storage.alarms.length;
    });
  }

  revision(options: AbortOptions = {}): Promise<bigint> {
    return this.#call("revision", options, () => this.#shared.revision);
  }

  lineage(options: AbortOptions = {}): Promise<{ readonly id: string; readonly revision: bigint }> {
    return this.#call("revision", options, () => ({
      id: this.#shared.lineage,
      revision: this.#shared.revision,
    }));
  }

  async watch(
    after: bigint,
    onChanges: (set: ChangeSet) => void | Promise<void>,
    options: AbortOptions,
  ): Promise<void> {
    const signal = this.#untilOver(options);
    await this.#track(this.#watch(after, onChanges, signal));
  }

  async #watch(
    after: bigint,
    onChanges: (set: ChangeSet) => void | Promise<void>,
    signal: AbortSignal,
  ): Promise<void> {
    let last = after;
    if (after > this.#shared.revision)
      throw new StoreError("CORRUPT", `history ends before ${after}: a snapshot was restored`, {
        retryable: false,
      });
    while (!signal.aborted) {
      const set = this.#shared.changesAfter(last);
      if (set === null) {
        await this.#shared.nextPublication(signal);
        continue;
      }
      const delayMs = this.#faultOf("watch").delayMs ?? 0;
      // An abort ends the sleep early, and then the loop.
      if (delayMs > 0) await this.#clock.sleep(delayMs, { signal }).catch(() => {});
      if (signal.aborted) return;
      await onChanges(set);
      last = set.revision;
    }
  }

  async announce(presence: Presence, ttlSeconds: number, options: AbortOptions): Promise<void> {
    await this.#track(this.#announce(presence, ttlSeconds, this.#untilOver(options)));
  }

  async #announce(presence: Presence, ttlSeconds: number, signal: AbortSignal): Promise<void> {
    const shared = this.#shared;
    const { peerId } = presence;
    while (!signal.aborted) {
      const leaseId = shared.grantLease(ttlSeconds);
      shared.onLeaseEnd(leaseId, () => {
        if (shared.presences.get(peerId)?.leaseId !== leaseId) return;
        shared.presences.delete(peerId);
        shared.publish([{ kind: "presence", peerId, presence: null }]);
      });
      shared.presences.set(peerId, { presence, leaseId });
      shared.publish([{ kind: "presence", peerId, presence }]);
      await this.#keepLease(leaseId, ttlSeconds, signal);
      if (!this.#crashed) shared.endLease(leaseId);
    }
  }

  async campaign<T>(
    name: string,
    candidate: string,
    ttlSeconds: number,
    lead: (lost: AbortSignal) => Promise<T>,
    options: AbortOptions = {},
  ): Promise<T> {
    const signal = this.#untilOver(options);
    return await this.#track(this.#campaign({ name, candidate, ttlSeconds, signal }, lead));
  }

  async #campaign<T>(
    {
      name,
      candidate,
      ttlSeconds,
      signal,
    }: {
      readonly name: string;
      readonly candidate: string;
      readonly ttlSeconds: number;
      readonly signal: AbortSignal;
    },
    lead: (lost: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const shared = this.#shared;
    for (;;) {
      signal.throwIfAborted();
      const leaseId = shared.grantLease(ttlSeconds);
      const queue = shared.queues.get(name) ?? [];
      shared.queues.set(name, queue);
      queue.push({ candidate, leaseId });
      const lost = new AbortController();
      const over = new AbortController();
      shared.onLeaseEnd(leaseId, () => {
        queue.splice(
          queue.findIndex((entry) => entry.leaseId === leaseId),
          1,
        );
        shared.publish([]);
      });
      const kept = this.#keepLease(
        leaseId,
        ttlSeconds,
        AbortSignal.any([over.signal, this.#over.signal]),
      ).finally(() => lost.abort(new Error("the lease was lost")));
      try {
        const either = AbortSignal.any([signal, lost.signal]);
        while (!either.aborted && queue[0]?.leaseId !== leaseId)
          await shared.nextPublication(either);
        signal.throwIfAborted();
        if (!lost.signal.aborted) return await lead(lost.signal);
      } finally {
        over.abort();
        await kept;
        if (!this.#crashed) shared.endLease(leaseId);
      }
    }
  }

  leader(name: string, options: AbortOptions = {}): Promise<string | null> {
    return this.#call(
      "election",
      options,
      () => this.#shared.queues.get(name)?.[0]?.candidate ?? null,
    );
  }

  /** Resolves when the lease is lost or the signal aborts. */
  async #keepLease(leaseId: number, ttlSeconds: number, signal: AbortSignal): Promise<void> {
    const ended = new AbortController();
    this.#shared.onLeaseEnd(leaseId, () => ended.abort());
    const either = AbortSignal.any([signal, ended.signal]);
    while (!either.aborted) {
      await this.#clock.sleep((ttlSeconds * 1_000) / 3, { signal: either }).catch(() => {});
      if (either.aborted) return;
      const { failBefore = false } = this.#faultOf("lease");
      if (!failBefore) this.#shared.renewLease(leaseId);
    }
  }

  #commitAll(commits: readonly TxCommit[], epochVersion: bigint): readonly CommitOutcome[] {
    const shared = this.#shared;
    // As in etcd: commits that write keys of several transactions go in Txns of their own.
    const alone = ({ writes }: TxCommit): boolean =>
      writes.bans.length > 0 || writes.silenceStreaks.size > 0;
    const together = commits.filter((commit) => !alone(commit));
    const outcomes = new Map<TxCommit, CommitOutcome>();
    for (const txn of [together, ...commits.filter(alone).map((commit) => [commit])]) {
      const good = txn.filter((commit) => this.#guardsHold(commit, epochVersion));
      const changes = good.flatMap((commit) => this.#apply(commit));
      if (good.length > 0) shared.publish(changes);
      for (const commit of txn) {
        const committed = good.includes(commit);
        outcomes.set(
          commit,
          committed ? { kind: "committed", revision: shared.revision } : this.#conflict(commit),
        );
      }
    }
    return commits.map((commit) => {
      const outcome = outcomes.get(commit);
      assert(outcome !== undefined, "every commit has its outcome");
      return outcome;
    });
  }

  #guardsHold({ version, writes }: TxCommit, epochVersion: bigint): boolean {
    const shared = this.#shared;
    const tx = shared.transactions.get(writes.txId);
    const guards: readonly (readonly [TallyGuard, boolean])[] = [
      ["epoch", shared.config?.epochVersion === epochVersion],
      ["status", (tx?.version ?? 0n) === version],
      ["decision", tx !== undefined || !shared.tombstones.has(writes.txId)],
      ["decision", writes.decision === null || (tx?.decision ?? null) === null],
      ["vote", writes.newVotes.every(({ vote }) => tx?.votes.has(vote.nodeId) !== true)],
      ["ban", guardedPeers(writes).every((peerId) => !shared.bans.has(peerId))],
      [
        "silence",
        [...writes.silenceStreaks].every(
          ([nodeId, { before }]) => (shared.streaks.get(nodeId) ?? 0) === before,
        ),
      ],
    ];
    const forgotten = this.#options.forgets;
    return guards.every(([guard, holds]) => holds || forgotten?.has(guard) === true);
  }

  #apply({ writes }: TxCommit): readonly Change[] {
    const shared = this.#shared;
    const { txId } = writes;
    const revision = shared.nextRevision;
    const before = shared.transactions.get(txId);
    const tx: TxState = before ?? {
      created: revision,
      version: revision,
      status: writes.status,
      record: null,
      votes: new Map(),
      violations: new Map(),
      decision: null,
    };
    shared.transactions.set(txId, tx);
    const changes: Change[] = [];
    for (const vote of writes.newVotes) {
      tx.votes.set(vote.vote.nodeId, vote);
      const { peerId, ...signed } = vote;
      changes.push({ kind: "vote", txId, vote: signed, peerId });
    }
    for (const [value, count] of writes.counts) changes.push({ kind: "count", txId, value, count });
    tx.version = revision;
    tx.status = writes.status;
    changes.push({ kind: "status", txId, status: tx.status, created: before === undefined });
    if (writes.record !== null) {
      tx.record = writes.record;
      changes.push({ kind: "record", txId, record: writes.record });
    }
    if (writes.decision !== null) {
      tx.decision = writes.decision;
      changes.push({ kind: "decision", txId, decision: writes.decision });
    }
    for (const violation of writes.violations) {
      const key = violationKey(violation);
      tx.violations.set(key, violation);
      // One key, also when it was recorded before anybody voted.
      shared.strayViolations.delete(key);
      changes.push({ kind: "violation", violation });
    }
    for (const ban of writes.bans) {
      setBan(shared, ban);
      changes.push({ kind: "ban", peerId: ban.peerId, ban });
    }
    for (const [nodeId, { after }] of writes.silenceStreaks) shared.streaks.set(nodeId, after);
    return changes;
  }

  #conflict({ writes }: TxCommit): CommitOutcome {
    const bans = new Map<PeerId, EvidenceGrade>();
    for (const peerId of guardedPeers(writes)) {
      const ban = this.#shared.bans.get(peerId)?.ban;
      if (ban !== undefined) bans.set(peerId, ban.grade);
    }
    return { kind: "conflict", fresh: this.#snapshot(writes.txId), bans };
  }

  #snapshot(txId: TxId): VersionedSnapshot {
    const { revision, transactions } = this.#shared;
    const tx = transactions.get(txId);
    const violations = new Map<NodeId, Set<ViolationType>>();
    for (const { nodeId, type } of this.#violationsOf(txId)) {
      if (nodeId === null) continue;
      violations.set(nodeId, (violations.get(nodeId) ?? new Set()).add(type));
    }
    const snapshot = {
      txId,
      status: tx?.status ?? null,
      record: tx?.record ?? null,
      votes: new Map(tx?.votes),
      violations,
      decision: tx?.decision ?? this.#shared.tombstones.get(txId) ?? null,
    };
    return { snapshot, version: tx?.version ?? 0n, revision };
  }

  #violationsOf(txId: TxId): readonly OpenViolation[] {
    const { transactions, strayViolations } = this.#shared;
    const stray = [...strayViolations.values()].filter((v) => v.txId === txId);
    return [...(transactions.get(txId)?.violations.values() ?? []), ...stray];
  }

  /** Carries out one call with its fault. The effect itself is synchronous, and so atomic. */
  async #call<T>(operation: TallyOperation, { signal }: AbortOptions, effect: () => T): Promise<T> {
    signal?.throwIfAborted();
    const fault = this.#faultOf(operation);
    if (fault.delayMs !== undefined) await this.#clock.sleep(fault.delayMs, { signal });
    // Even without a delay a call is never done before the caller has gone on.
    else await Promise.resolve();
    signal?.throwIfAborted();
    if (this.#over.signal.aborted)
      throw new StoreError("REFUSED", "the memory store has been stopped", { retryable: false });
    if (fault.failBefore === true)
      throw new StoreError("UNAVAILABLE", `${operation} failed by order`, { retryable: true });
    const result = effect();
    if (fault.loseReply === true)
      throw new StoreError("TIMEOUT", `${operation} lost its reply by order`, { retryable: true });
    return result;
  }

  #faultOf(operation: TallyOperation): TallyFault {
    const client = this.#options.name ?? "client";
    return this.#options.fault?.({ client, operation }) ?? {};
  }

  #untilOver({ signal }: AbortOptions): AbortSignal {
    return signal === undefined ? this.#over.signal : AbortSignal.any([signal, this.#over.signal]);
  }

  async #track<T>(task: Promise<T>): Promise<T> {
    this.#running.add(task);
    try {
      return await task;
    } finally {
      this.#running.delete(task);
    }
  }
}
