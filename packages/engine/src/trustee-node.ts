import {
  type Ban,
  isSettled,
  type NodeId,
  type PeerId,
  type ProtocolConfig,
  type Trustee,
  type TrusteeSet,
  type TxId,
  type Value,
  type Verify,
} from "@quorate/core";
import type {
  AbortOptions,
  Change,
  ChangeSet,
  Clock,
  ClusterConfig,
  Ed25519,
  Gossip,
  Logger,
  MetricsFactory,
  StandaloneViolation,
  TallyStore,
  VoteJournal,
  VoteSigner,
} from "@quorate/ports";
import { StoreError } from "@quorate/ports";
import { Admission } from "./admission.ts";
import { type NodeMetrics, nodeMetrics } from "./catalogue.ts";
import { DeadlineMonitor } from "./deadline-monitor.ts";
import { TallyView } from "./tally-view.ts";
import { type PipelineOptions, VotePipeline } from "./vote-pipeline.ts";
import { type CastOutcome, type PublisherOptions, VotePublisher } from "./vote-publisher.ts";

export interface TrusteeNodeOptions {
  readonly nodeId: NodeId;
  readonly protocol: ProtocolConfig;
  readonly pipeline: Omit<PipelineOptions, "nodeId" | "protocol">;
  readonly publisher: Omit<PublisherOptions, "nodeId">;
  /** Life of the presence lease, in seconds. */
  readonly presenceTtlSeconds: number;
  readonly apiUrl: string | null;
  readonly version: string;
}

export interface TrusteeNodeDependencies {
  readonly store: TallyStore;
  readonly gossip: Gossip;
  readonly signer: VoteSigner;
  readonly ed25519: Ed25519;
  readonly journal: VoteJournal;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: MetricsFactory;
  /** The node can't go on (its place in the change stream is lost); the process should end. */
  readonly onFatal: (error: unknown) => void;
}

/** One condition of readiness. */
export interface Check {
  readonly name: string;
  readonly ok: boolean;
  readonly detail: string;
}

/** A trustee: hears votes, judges them, records them, casts its own, and shuts out who is banned. */
export class TrusteeNode {
  readonly view = new TallyView();
  readonly #options: TrusteeNodeOptions;
  readonly #deps: TrusteeNodeDependencies;
  readonly #metrics: NodeMetrics;
  readonly #running = new AbortController();
  readonly #background: Promise<unknown>[] = [];
  readonly #viewWaiters = new Set<(touched: ReadonlySet<TxId>) => void>();
  #config: ClusterConfig | null = null;
  #pipeline: VotePipeline | null = null;
  #publisher: VotePublisher | null = null;
  #deadlines: DeadlineMonitor | null = null;
  #streaming = false;
  /** Authors whose bad signature is being recorded: one is enough, and a flood of them must cost nothing. */
  readonly #accused = new Set<PeerId>();

  constructor(options: TrusteeNodeOptions, dependencies: TrusteeNodeDependencies) {
    this.#options = options;
    this.#deps = dependencies;
    this.#metrics = nodeMetrics(dependencies.metrics);
  }

  /** The trustee set in force; only after `start`. */
  get set(): TrusteeSet {
    return this.#configured().set;
  }

  get openTransactions(): number {
    return this.#deadlines?.openTransactions ?? 0;
  }

  get pendingVotes(): number {
    return this.#pipeline?.pendingVotes ?? 0;
  }

  /** Loads configuration, bans and open transactions, and only then opens the network port. */
  async start(options: AbortOptions = {}): Promise<void> {
    const { store, gossip, clock, logger } = this.#deps;
    await store.start(options);
    this.#config = await store.readConfig(options);
    const { revision, bans } = await store.readBans(options);
    this.view.load(bans, await store.readPresence(options));
    await this.#loadOpen(options);
    this.#build(this.#config);
    await this.#publisher?.load();
    for (const peer of bans.keys()) gossip.ban(peer);
    gossip.setValidator((message) => this.#admission().validate(message));
    this.#run("watch", this.#watch(revision));
    await gossip.start(options);
    const deadlines = this.#deadlines;
    if (deadlines !== null) this.#run("deadlines", deadlines.run({ signal: this.#running.signal }));
    this.#run("presence", this.#announce());
    const { epoch, threshold, trustees } = this.#config.set;
    logger.info("node started", {
      peerId: gossip.localPeerId,
      epoch,
      threshold,
      trustees: trustees.length,
      startedAtMs: clock.nowMs(),
    });
  }

  /** Casts this trustee's vote and waits until its fate is known. */
  cast(txId: TxId, value: Value): Promise<CastOutcome> {
    if (this.#publisher === null) return Promise.resolve({ kind: "REFUSED", code: "STOPPED" });
    return this.#publisher.cast(txId, value);
  }

  /** Stops taking votes, lets those under way be recorded until the signal aborts, and leaves the network. */
  async stop(options: AbortOptions = {}): Promise<void> {
    const { gossip, store } = this.#deps;
    await this.#publisher?.stop();
    // Under load there would always be another vote: those of others are with the others too.
    gossip.setValidator(() => "IGNORE");
    if (this.#pipeline !== null) {
      const aborted = new Promise<void>((resolve) => {
        options.signal?.addEventListener("abort", () => resolve(), { once: true });
        if (options.signal?.aborted === true) resolve();
      });
      await Promise.race([this.#pipeline.drain(), aborted]);
      this.#pipeline.stop();
    }
    this.#running.abort(new Error("the node stops"));
    await gossip.stop(options);
    await Promise.allSettled(this.#background);
    await this.#deps.journal.close();
    await store.stop(options);
  }

  /** Resolves at the next change that touches the transaction, or when the signal aborts. */
  nextChange(txId: TxId, options: { readonly signal: AbortSignal }): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        this.#viewWaiters.delete(waiter);
        resolve();
      };
      const waiter = (touched: ReadonlySet<TxId>): void => {
        if (touched.has(txId)) done();
      };
      this.#viewWaiters.add(waiter);
      options.signal.addEventListener("abort", done, { once: true });
      if (options.signal.aborted) done();
    });
  }

  /** Why the node is, or is not, fit for work. */
  checks(): readonly Check[] {
    const { gossip, clock } = this.#deps;
    const config = this.#config;
    if (config === null) return [{ name: "started", ok: false, detail: "still starting" }];
    const self = gossip.localPeerId;
    const failingSince = this.#pipeline?.failingSinceMs ?? null;
    const failingMs = failingSince === null ? 0 : clock.monotonicMs() - failingSince;
    const trustees = gossip.status().subscribers.filter((p) => config.set.byPeerId.has(p));
    const needed = config.set.threshold - 1;
    const member = config.set.byPeerId.get(self);
    return [
      {
        name: "etcd",
        ok: this.#streaming && failingMs < 2_000,
        detail: this.#streaming
          ? failingMs >= 2_000
            ? `commits have failed for ${Math.round(failingMs / 1_000)} s`
            : "watching and committing"
          : "the change stream is not running",
      },
      {
        name: "peers",
        ok: trustees.length >= needed,
        detail: `${trustees.length} other trustees connected, ${needed} needed for the threshold`,
      },
      {
        name: "membership",
        ok: member?.nodeId === this.#options.nodeId,
        detail: membershipOf(this.#options.nodeId, self, member, config.set.epoch),
      },
      {
        name: "standing",
        ok: !this.view.bans.has(self),
        detail: this.view.bans.has(self) ? "this node is banned" : "not banned",
      },
    ];
  }

  #configured(): ClusterConfig {
    if (this.#config === null) throw new Error("the node has not started");
    return this.#config;
  }

  #build(config: ClusterConfig): void {
    const { store, clock, logger, gossip, signer, ed25519 } = this.#deps;
    const { nodeId, protocol } = this.#options;
    const pipeline = new VotePipeline(
      config,
      { nodeId, protocol, ...this.#options.pipeline },
      {
        store,
        view: this.view,
        clock,
        logger,
        metrics: this.#metrics,
        onBan: (ban, atMs) => this.#enforce(ban, atMs),
      },
    );
    this.#pipeline = pipeline;
    const set = (): TrusteeSet => this.#configured().set;
    const verify: Verify = (key, message, signature) => ed25519.verify(key, message, signature);
    this.#publisher = new VotePublisher(
      { nodeId, ...this.#options.publisher },
      {
        set,
        signer,
        verify,
        gossip,
        view: this.view,
        clock,
        logger,
        metrics: this.#metrics,
        journal: this.#deps.journal,
        record: (vote) => pipeline.record(vote),
        recordedValue: async (txId) =>
          (await store.read(txId, { signal: this.#running.signal })).snapshot.votes.get(nodeId)
            ?.vote.value,
      },
    );
    this.#deadlines = new DeadlineMonitor(
      { nodeId, protocol, staggerMs: 250, intervalMs: 200 },
      { set, store, view: this.view, pipeline, clock, logger },
    );
    const admission = new Admission({
      set,
      view: this.view,
      ed25519,
      clock,
      logger,
      metrics: this.#metrics,
      offer: (vote) => pipeline.offer(vote),
      onBadSignature: (entry) => this.#accuse(entry),
    });
    this.#admission = () => admission;
    this.#deadlines.onView(this.view.withStatus("COLLECTING"));
    this.#deadlines.onView(this.view.withStatus("THRESHOLD_REACHED"));
  }

  #admission: () => Admission = () => {
    throw new Error("the node has not started");
  };

  async #loadOpen(options: AbortOptions): Promise<void> {
    let after: TxId | null = null;
    for (;;) {
      const page = await this.#deps.store.listTransactions({ after, limit: 1_000 }, options);
      for (const tx of page)
        if (!isSettled(tx.status)) this.view.noteExisting(tx.txId, tx.status, tx.record);
      const last = page.at(-1);
      if (last === undefined) return;
      after = last.txId;
    }
  }

  async #watch(after: bigint): Promise<void> {
    this.#streaming = true;
    try {
      await this.#deps.store.watch(after, (set) => this.#onChanges(set), {
        signal: this.#running.signal,
      });
    } finally {
      this.#streaming = false;
    }
  }

  async #onChanges(set: ChangeSet): Promise<void> {
    const touched = this.view.apply(set);
    for (const change of set.changes) await this.#onChange(change);
    this.#pipeline?.onView(touched);
    this.#deadlines?.onView(touched);
    this.#metrics.activeVotes.set({}, this.openTransactions);
    this.#metrics.bannedPeers.set({}, this.view.bans.size);
    for (const waiter of this.#viewWaiters) waiter(touched);
  }

  async #onChange(change: Change): Promise<void> {
    const { gossip, store, logger } = this.#deps;
    if (change.kind === "ban") {
      if (change.ban === null) gossip.unban(change.peerId);
      else this.#shutOut(change.peerId, change.ban.reason);
    } else if (change.kind === "config") {
      this.#config = await store.readConfig({ signal: this.#running.signal });
      this.#pipeline?.setConfig(this.#config);
      logger.info("trustee set changed", { epoch: this.#config.set.epoch });
    } else if (change.kind === "unreadable")
      logger.error("etcd holds what no node of this version wrote", {
        key: change.key,
        problem: change.problem,
      });
  }

  #enforce(ban: Ban, committedAtMs: number): void {
    this.#shutOut(ban.peerId, ban.reason);
    const tookMs = this.#deps.clock.monotonicMs() - committedAtMs;
    this.#metrics.banLatency.observe({}, tookMs / 1_000);
  }

  /** [spec §3.3] In memory at once; the network's part goes on behind it. */
  #shutOut(peer: PeerId, reason: string): void {
    const { gossip, logger } = this.#deps;
    if (peer === gossip.localPeerId) {
      logger.error("this node has been banned", { reason });
      return;
    }
    gossip.ban(peer);
    logger.warn("peer banned", { peer, reason });
  }

  #accuse(entry: StandaloneViolation): void {
    const { peerId } = entry.ban;
    if (this.#accused.has(peerId)) return;
    this.#accused.add(peerId);
    const recorded = this.#recordViolation(entry).finally(() => this.#accused.delete(peerId));
    this.#run("violation", recorded);
  }

  /** Holds on to the evidence until the store has it: the offender may never publish such a message again. */
  async #recordViolation(entry: StandaloneViolation): Promise<void> {
    const { store, clock, logger } = this.#deps;
    const { signal } = this.#running;
    const record = async (): Promise<boolean> => {
      for (let attempt = 0; ; attempt++)
        try {
          return await store.recordViolation(entry, { signal });
        } catch (error) {
          if (signal.aborted || !(error instanceof StoreError) || !error.retryable) throw error;
          logger.warn("violation is not recorded yet, it is tried again", { error });
          await clock.sleep(Math.min(5_000, 100 * 2 ** Math.min(attempt, 6)), { signal });
        }
    };
    // The ban follows the record, here and on every other node.
    if (await record()) {
      this.#metrics.votesRejectedByzantine.inc({ type: entry.violation.type });
      this.view.noteBans(new Map([[entry.ban.peerId, entry.ban.grade]]));
      const startedMs = clock.monotonicMs();
      this.#shutOut(entry.ban.peerId, entry.ban.reason);
      this.#metrics.banLatency.observe({}, (clock.monotonicMs() - startedMs) / 1_000);
      logger.warn("violation recorded", { type: entry.violation.type, peer: entry.ban.peerId });
    }
  }

  async #announce(): Promise<void> {
    const { store, gossip, clock } = this.#deps;
    await store.announce(
      {
        peerId: gossip.localPeerId,
        nodeId: this.#options.nodeId,
        addresses: gossip.status().listening,
        apiUrl: this.#options.apiUrl,
        version: this.#options.version,
        startedAtMs: clock.nowMs(),
      },
      this.#options.presenceTtlSeconds,
      { signal: this.#running.signal },
    );
  }

  #run(name: string, task: Promise<unknown>): void {
    const watched = task.catch((error: unknown) => {
      if (this.#running.signal.aborted) return;
      this.#deps.logger.error("background task failed", { task: name, error });
      if (name === "watch") this.#deps.onFatal(error);
    });
    this.#background.push(watched);
    // A finished task is of no more interest; the list must not grow with every violation.
    void watched.then(() => {
      const at = this.#background.indexOf(watched);
      if (at >= 0) void this.#background.splice(at, 1);
    });
  }
}

function membershipOf(
  nodeId: NodeId,
  self: PeerId,
  member: Trustee | undefined,
  epoch: number,
): string {
  if (member === undefined)
    return `this node's key (${self}) is not in the trustee set of epoch ${epoch}`;
  if (member.nodeId !== nodeId)
    return `this node's key (${self}) is that of trustee ${member.nodeId} in epoch ${epoch}, not of ${nodeId}`;
  return `trustee ${nodeId} of epoch ${epoch}`;
}
