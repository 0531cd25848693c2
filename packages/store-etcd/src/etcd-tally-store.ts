import {
  assert,
  type BanLift,
  type ClusterId,
  type NodeId,
  type Receipt,
  type TrusteeSet,
  type TxId,
} from "@quorate/core";
import {
  type AbortOptions,
  type BanEntry,
  type ChangeSet,
  type Clock,
  type ClusterConfig,
  type CommitOutcome,
  type Election,
  type Logger,
  type MetricsFactory,
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
import type { IResponseHeader } from "etcd3";
import { announcePresence } from "./announce.ts";
import { liftBanOnce, readLiftList, recordBanOnce, strikeBanOnce } from "./ban-lifts.ts";
import { changeOf } from "./changes.ts";
import { changeTrusteesOnce, initRequest, readClusterConfig } from "./cluster-config.ts";
import { commitAll, readTransaction } from "./commit.ts";
import { campaign, type ElectionDependencies, leaderOf } from "./election.ts";
import { type CallOptions, EtcdHosts, type EtcdSecurity } from "./etcd-hosts.ts";
import { etcdMetrics } from "./etcd-metrics.ts";
import { keysOf } from "./keys.ts";
import { readPresences, readStreaksAt, TransactionList } from "./listing.ts";
import {
  compactBefore,
  countStatuses,
  defragmentAll,
  disarmAll,
  readStorage,
} from "./maintenance.ts";
import { keyBytes } from "./ops.ts";
import { purgeAll } from "./purge.ts";
import { ReceiptShelf } from "./receipts.ts";
import type { Reading } from "./snapshot.ts";
import { storeErrorOf } from "./store-error.ts";
import {
  readBanList,
  readViolationsOf,
  readViolationsPage,
  recordViolationOnce,
} from "./violations.ts";
import { type LineagePin, watchRevisions } from "./watch.ts";

export interface EtcdTallyStoreOptions {
  /** Client URLs of the members, all http or all https. */
  readonly hosts: readonly string[];
  readonly clusterId: ClusterId;
  /** How long one call may take, in ms, before it rejects with TIMEOUT. */
  readonly requestTimeoutMs: number;
  /** How long `start` looks for a member that answers, in ms. */
  readonly dialTimeoutMs: number;
  /** The members' `--quota-backend-bytes`, which etcd tells nobody; purging early goes by it. */
  readonly quotaBytes?: number | undefined;
  readonly security?: EtcdSecurity;
}

export interface EtcdTallyStoreDependencies {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics?: MetricsFactory;
}

export type EtcdTallyStore = TallyStore & Election & TallyMaintenance;

const REDIAL_MS = 100;

/**
 * The tally in etcd, behind the ports `TallyStore` and `Election`.
 * Nothing is retried that may have had an effect: an unknown outcome is a retryable
 * StoreError. Reads are asked of each other member once when one can't be reached.
 * @see spec §7.1
 */
export function createEtcdTallyStore(
  options: EtcdTallyStoreOptions,
  dependencies: EtcdTallyStoreDependencies,
): EtcdTallyStore {
  return new EtcdStore(options, dependencies);
}

class EtcdStore implements EtcdTallyStore {
  readonly #options: EtcdTallyStoreOptions;
  readonly #clock: Clock;
  readonly #hosts: EtcdHosts;
  readonly #reading: Reading;
  readonly #list: TransactionList;
  readonly #receipts: ReceiptShelf;
  readonly #election: ElectionDependencies;
  readonly #lineage: LineagePin = { id: null };
  readonly #stopping = new AbortController();
  /** Watches, announcements and campaigns that `stop` has to see end. */
  readonly #running = new Set<Promise<unknown>>();

  constructor(
    options: EtcdTallyStoreOptions,
    { clock, logger, metrics }: EtcdTallyStoreDependencies,
  ) {
    this.#options = options;
    this.#clock = clock;
    const durations = metrics === undefined ? null : etcdMetrics(metrics).durations;
    this.#hosts = new EtcdHosts(options, { clock, logger, durations });
    const keys = keysOf(options.clusterId);
    this.#reading = { clusterId: options.clusterId, keys, logger };
    this.#list = new TransactionList(this.#hosts, this.#reading);
    this.#receipts = new ReceiptShelf(this.#hosts, this.#reading, clock);
    const { requestTimeoutMs } = options;
    this.#election = { hosts: this.#hosts, keys, clock, logger, requestTimeoutMs };
  }

  /** Resolves once a member with a quorum behind it answers; rejects after `dialTimeoutMs` and names the hosts. */
  async start({ signal }: AbortOptions = {}): Promise<void> {
    this.#assertRunning();
    const { hosts, dialTimeoutMs, requestTimeoutMs } = this.#options;
    const untilMs = this.#clock.monotonicMs() + dialTimeoutMs;
    for (;;) {
      const leftMs = untilMs - this.#clock.monotonicMs();
      try {
        await this.#readRevision({ signal, timeoutMs: Math.min(leftMs, requestTimeoutMs) });
        return;
      } catch (error) {
        signal?.throwIfAborted();
        const failure = storeErrorOf(error, "status");
        if (!failure.retryable) throw failure;
        if (this.#clock.monotonicMs() + REDIAL_MS >= untilMs)
          throw new StoreError(
            "UNAVAILABLE",
            `no etcd answers at ${hosts.join(", ")} within ${dialTimeoutMs} ms: ${failure.message}`,
            { retryable: true, cause: failure },
          );
      }
      await this.#clock.sleep(REDIAL_MS, { signal });
    }
  }

  async stop(): Promise<void> {
    if (this.#stopping.signal.aborted) return;
    this.#stopping.abort(new Error("the store is stopping"));
    await Promise.allSettled(this.#running);
    this.#hosts.close();
  }

  async initCluster(set: TrusteeSet, options: AbortOptions = {}): Promise<"created" | "exists"> {
    this.#assertRunning();
    assert(set.clusterId === this.#options.clusterId, "the set is of this cluster");
    const request = initRequest(this.#reading.keys, set);
    const response = await this.#hosts.once(
      "config",
      (client, call) => client.kv.txn(request, call),
      options,
    );
    return response.succeeded ? "created" : "exists";
  }

  async readConfig(options: AbortOptions = {}): Promise<ClusterConfig> {
    this.#assertRunning();
    return await readClusterConfig(this.#hosts, this.#reading, options);
  }

  async changeTrustees(
    next: TrusteeSet,
    epochVersion: bigint,
    options: AbortOptions = {},
  ): Promise<"changed" | "conflict"> {
    this.#assertRunning();
    assert(next.clusterId === this.#options.clusterId, "the set is of this cluster");
    return await changeTrusteesOnce(this.#hosts, this.#reading, next, epochVersion, options);
  }

  async read(txId: TxId, options: AbortOptions = {}): Promise<VersionedSnapshot> {
    this.#assertRunning();
    return (await readTransaction(this.#hosts, this.#reading, txId, [], options)).fresh;
  }

  async commit(
    commits: readonly TxCommit[],
    epochVersion: bigint,
    options: AbortOptions = {},
  ): Promise<readonly CommitOutcome[]> {
    this.#assertRunning();
    return await commitAll(this.#hosts, this.#reading, commits, epochVersion, options);
  }

  async recordViolation(entry: StandaloneViolation, options: AbortOptions = {}): Promise<boolean> {
    this.#assertRunning();
    return await recordViolationOnce(this.#hosts, this.#reading, entry, options);
  }

  async recordBan(ban: BanEntry, options: AbortOptions = {}): Promise<boolean> {
    this.#assertRunning();
    return await recordBanOnce(this.#hosts, this.#reading, ban, options);
  }

  async liftBan(
    lift: BanLift,
    options: AbortOptions = {},
  ): Promise<"lifted" | "not-banned" | "permanent"> {
    this.#assertRunning();
    return await liftBanOnce(this.#hosts, this.#reading, lift, options);
  }

  async strikeBan(lift: BanLift, version: bigint, options: AbortOptions = {}): Promise<boolean> {
    this.#assertRunning();
    return await strikeBanOnce(this.#hosts, this.#reading, lift, version, options);
  }

  async readLifts(options: AbortOptions = {}): Promise<readonly BanLift[]> {
    this.#assertRunning();
    return await readLiftList(this.#hosts, this.#reading, options);
  }

  async recordReceipts(receipts: readonly Receipt[], options: AbortOptions = {}): Promise<void> {
    this.#assertRunning();
    await this.#receipts.record(receipts, options);
  }

  async readReceipts(limit: number, options: AbortOptions = {}): Promise<readonly Receipt[]> {
    this.#assertRunning();
    return await this.#receipts.newest(limit, options);
  }

  async listViolations(
    page: { readonly after: string | null; readonly limit: number },
    options: AbortOptions = {},
  ): Promise<ViolationsPage> {
    this.#assertRunning();
    return await readViolationsPage(this.#hosts, this.#reading, page, options);
  }

  async readBans(options: AbortOptions = {}): ReturnType<TallyStore["readBans"]> {
    this.#assertRunning();
    return await readBanList(this.#hosts, this.#reading, options);
  }

  async listTransactions(
    page: { readonly after: TxId | null; readonly limit: number },
    options: AbortOptions = {},
  ): Promise<readonly OpenTransaction[]> {
    this.#assertRunning();
    return await this.#list.page(page, options);
  }

  async readPresence(options: AbortOptions = {}): Promise<readonly Presence[]> {
    this.#assertRunning();
    return await readPresences(this.#hosts, this.#reading, options);
  }

  async readSilenceStreaks(options: AbortOptions = {}): Promise<ReadonlyMap<NodeId, number>> {
    this.#assertRunning();
    return (await readStreaksAt(this.#hosts, this.#reading, options)).streaks;
  }

  async readViolations(
    txId: TxId,
    options: AbortOptions = {},
  ): Promise<readonly StandaloneViolation["violation"][]> {
    this.#assertRunning();
    return await readViolationsOf(this.#hosts, this.#reading, txId, options);
  }

  async purge(
    requests: readonly PurgeRequest[],
    options: AbortOptions = {},
  ): Promise<readonly PurgeOutcome[]> {
    this.#assertRunning();
    return await purgeAll(this.#hosts, this.#reading, requests, options);
  }

  async countTransactions(options: AbortOptions = {}): Promise<number> {
    this.#assertRunning();
    return await countStatuses(this.#hosts, this.#reading, options);
  }

  async storage(options: AbortOptions = {}): Promise<TallyStorage> {
    this.#assertRunning();
    return await readStorage(this.#hosts, this.#options.quotaBytes ?? null, options);
  }

  async compact(revision: bigint, options: AbortOptions = {}): Promise<boolean> {
    this.#assertRunning();
    return await compactBefore(this.#hosts, revision, options);
  }

  async defragment(options: AbortOptions = {}): Promise<void> {
    this.#assertRunning();
    await defragmentAll(this.#hosts, options);
  }

  async disarm(options: AbortOptions = {}): Promise<number> {
    this.#assertRunning();
    return await disarmAll(this.#hosts, options);
  }

  async revision(options: AbortOptions = {}): Promise<bigint> {
    this.#assertRunning();
    return await this.#readRevision(options);
  }

  async lineage(
    options: AbortOptions = {},
  ): Promise<{ readonly id: string; readonly revision: bigint }> {
    this.#assertRunning();
    const { cluster_id, revision } = await this.#readHeader(options);
    return { id: cluster_id, revision: BigInt(revision) };
  }

  async watch(
    after: bigint,
    onChanges: (set: ChangeSet) => void | Promise<void>,
    options: AbortOptions,
  ): Promise<void> {
    this.#assertRunning();
    const { keys, clusterId } = this.#reading;
    const signal = this.#untilStopped(options);
    const watching = watchRevisions(
      { target: keys.root, after, signal },
      { ...this.#election, lineage: this.#lineage },
      async ({ revision, events }) => {
        const changes = events
          .map((event) => changeOf(keys, clusterId, event))
          .filter((change) => change !== null)
          // A change of the trustees writes many keys and is one change.
          .filter(({ kind }, at, all) => kind !== "config" || all[at - 1]?.kind !== "config");
        await onChanges({ revision, changes });
        return "go on";
      },
    );
    await this.#track(watching);
  }

  async announce(presence: Presence, ttlSeconds: number, options: AbortOptions): Promise<void> {
    this.#assertRunning();
    const signal = this.#untilStopped(options);
    await this.#track(announcePresence(this.#election, presence, ttlSeconds, signal));
  }

  async campaign<T>(
    name: string,
    candidate: string,
    ttlSeconds: number,
    lead: (lost: AbortSignal) => Promise<T>,
    options: AbortOptions = {},
  ): Promise<T> {
    this.#assertRunning();
    const signal = this.#untilStopped(options);
    return await this.#track(
      campaign(
        this.#election,
        { name, candidate, ttlSeconds, signal, stopping: this.#stopping.signal },
        lead,
      ),
    );
  }

  async leader(name: string, { signal }: AbortOptions = {}): Promise<string | null> {
    this.#assertRunning();
    return await leaderOf(this.#election, name, signal);
  }

  async #readRevision(options: CallOptions): Promise<bigint> {
    return BigInt((await this.#readHeader(options)).revision);
  }

  async #readHeader(options: CallOptions): Promise<IResponseHeader> {
    const key = keyBytes(this.#reading.keys.epoch);
    const response = await this.#hosts.idempotent(
      "revision",
      (client, call) => client.kv.range({ key, count_only: true }, call),
      options,
    );
    return response.header;
  }

  #untilStopped({ signal }: AbortOptions): AbortSignal {
    const stopping = this.#stopping.signal;
    return signal === undefined ? stopping : AbortSignal.any([signal, stopping]);
  }

  async #track<T>(task: Promise<T>): Promise<T> {
    this.#running.add(task);
    try {
      return await task;
    } finally {
      this.#running.delete(task);
    }
  }

  #assertRunning(): void {
    if (this.#stopping.signal.aborted)
      throw new StoreError("REFUSED", "the etcd store has been stopped", { retryable: false });
  }
}
