import {
  type ClusterId,
  type Epoch,
  isArchived,
  isSettled,
  type NodeId,
  type PeerId,
  type ProtocolConfig,
  type TrusteeSet,
  type TxId,
  type Value,
  type VerifiedVote,
  type Verify,
} from "@quorate/core";
import type {
  AbortOptions,
  AccusationJournal,
  Change,
  ChangeSet,
  Clock,
  ClusterConfig,
  Ed25519,
  FaultPoint,
  Gossip,
  Logger,
  MetricsFactory,
  TallyStore,
  Tracer,
  VoteJournal,
  VoteSigner,
} from "@quorate/ports";
import { Accusations } from "./accusations.ts";
import { Admission } from "./admission.ts";
import { ByzantineResponse } from "./byzantine-response.ts";
import { type NodeMetrics, nodeMetrics } from "./catalogue.ts";
import { DeadlineMonitor } from "./deadline-monitor.ts";
import { describeMembership, type Membership, type Observer, observersOf } from "./membership.ts";
import { ReceiptBook } from "./receipt-book.ts";
import { type RefusedByRules, refusalByNetwork, refusalByRules } from "./refusal.ts";
import { StoreProbe } from "./store-probe.ts";
import { TallyView } from "./tally-view.ts";
import { TrusteeBoard } from "./trustee-metrics.ts";
import { VotePipeline } from "./vote-pipeline.ts";
import type { PipelineOptions } from "./vote-pipeline-options.ts";
import { type CastOutcome, type PublisherOptions, VotePublisher } from "./vote-publisher.ts";
import { VoteSpans } from "./vote-spans.ts";

export interface TrusteeNodeOptions {
  readonly clusterId: ClusterId;
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
  readonly accusations: AccusationJournal;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: MetricsFactory;
  /** The node can't go on (its place in the change stream is lost); the process should end. */
  readonly onFatal: (error: unknown) => void;
  /** Called with everybody whose votes matter, at the start and whenever that changes: whom to stay connected with. */
  readonly onAuthors?: ((peers: readonly PeerId[]) => void) | undefined;
  readonly fault?: FaultPoint | undefined;
  /** Absent: nothing is traced. */
  readonly tracer?: Tracer | undefined;
}

/** How often it is looked whether an earlier epoch's trustees still have open transactions, and who is connected, in ms. */
const AUTHORS_INTERVAL_MS = 5_000;

/** Is told what a revision changed, and which transactions it touched. */
export type CommittedListener = (set: ChangeSet, touched: ReadonlySet<TxId>) => void;

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
  readonly #board: TrusteeBoard;
  readonly #verify: Verify;
  readonly #running = new AbortController();
  readonly #probe: StoreProbe;
  readonly #background: Promise<unknown>[] = [];
  readonly #viewWaiters = new Set<(touched: ReadonlySet<TxId>) => void>();
  readonly #listeners = new Set<CommittedListener>();
  #config: ClusterConfig | null = null;
  #pipeline: VotePipeline | null = null;
  #publisher: VotePublisher | null = null;
  #deadlines: DeadlineMonitor | null = null;
  #streaming = false;
  #authors: ReadonlySet<PeerId> = new Set();
  readonly #response: ByzantineResponse;
  #accusations: Accusations | null = null;
  /** Every refusal of this node, signed (I9). */
  readonly receipts: ReceiptBook;

  constructor(options: TrusteeNodeOptions, dependencies: TrusteeNodeDependencies) {
    this.#options = options;
    this.#deps = dependencies;
    this.#metrics = nodeMetrics(dependencies.metrics);
    this.#board = new TrusteeBoard(dependencies.metrics);
    const { store, gossip, signer, clock, logger, ed25519 } = dependencies;
    const { nodeId } = options;
    this.#probe = new StoreProbe({ store, clock });
    this.#verify = (key, message, signature) => ed25519.verify(key, message, signature);
    this.#response = new ByzantineResponse({
      nodeId,
      store,
      gossip,
      view: this.view,
      clock,
      logger,
      metrics: this.#metrics,
      sets: () => this.#configured().sets,
      verify: this.#verify,
      signal: this.#running.signal,
    });
    this.receipts = new ReceiptBook(
      { clusterId: options.clusterId, nodeId, peerId: gossip.localPeerId },
      { store, signer, clock, logger, metrics: dependencies.metrics },
    );
  }

  /** The trustee set in force; only after `start`. */
  get set(): TrusteeSet {
    return this.#configured().set;
  }

  /** Live nodes that are not trustees; only after `start`. */
  get observers(): readonly Observer[] {
    return observersOf(this.view.presence.values(), this.#membership(this.#configured()));
  }

  get openTransactions(): number {
    return this.#deadlines?.openTransactions ?? 0;
  }

  /** This node's clock minus the time in the trustee's last vote, in ms; null until one was heard. */
  clockOffsetMs(nodeId: NodeId): number | null {
    return this.#board.clockOffsetMs(nodeId);
  }

  get pendingVotes(): number {
    return this.#pipeline?.pendingVotes ?? 0;
  }

  /** Loads configuration, bans and open transactions, and only then opens the network port. */
  async start(options: AbortOptions = {}): Promise<void> {
    const { store, gossip, clock, logger } = this.#deps;
    await store.start(options);
    const { revision, bans, versions } = await store.readBans(options);
    // After the revision at which the watch begins: a change in between comes twice, and never not at all.
    this.#config = await store.readConfig(options);
    const sound = this.#response.siftBans(bans, versions);
    this.view.load(sound, await store.readPresence(options));
    await this.#loadOpen(options);
    this.#build(this.#config);
    await this.#publisher?.load();
    for (const [peer, ban] of sound) this.#response.shutOut(peer, ban.reason);
    this.#refreshAuthors();
    this.#refreshBoard();
    gossip.onRefused((refusal) => this.receipts.refuse(refusalByNetwork(refusal)));
    gossip.setValidator((message) => this.#admission().validate(message));
    await this.#accusations?.load();
    this.#run("watch", this.#watch(revision));
    this.#run("receipts", this.receipts.run({ signal: this.#running.signal }));
    this.#run("authors", this.#keepAuthors());
    this.#run("probe", this.#probe.run(this.#running));
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
    await this.#accusations?.stop();
    await this.receipts.stop(options);
    await this.#deps.journal.close();
    await store.stop(options);
  }

  /**
   * Calls back with each revision once it is in the view: what is committed, and nothing else. In order, from now on.
   * The callback must not throw. @returns ends it
   */
  subscribe(onCommitted: CommittedListener): () => void {
    this.#listeners.add(onCommitted);
    return () => this.#listeners.delete(onCommitted);
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
    const { gossip } = this.#deps;
    const config = this.#config;
    if (config === null) return [{ name: "started", ok: false, detail: "still starting" }];
    const self = gossip.localPeerId;
    const etcd = this.#probe.trouble(this.#streaming, this.#pipeline?.failingSinceMs ?? null);
    const trustees = gossip.status().subscribers.filter((p) => config.set.byPeerId.has(p));
    const needed = config.set.threshold - 1;
    const member = config.set.byPeerId.get(self);
    return [
      {
        name: "etcd",
        ok: etcd === null,
        detail: etcd ?? "watching and committing",
      },
      {
        name: "peers",
        ok: trustees.length >= needed,
        detail: `${trustees.length} other trustees connected, ${needed} needed for the threshold`,
      },
      {
        name: "membership",
        ok: member?.nodeId === this.#options.nodeId,
        detail: describeMembership(this.#options.nodeId, self, this.#membership(config)),
      },
      {
        name: "standing",
        ok: !this.view.bans.has(self),
        detail: this.view.bans.has(self) ? "this node is banned" : "not banned",
      },
    ];
  }

  #membership({ set, sets }: ClusterConfig): Membership {
    return { set, sets, openEpochs: this.#deadlines?.openEpochs() ?? new Set() };
  }

  #configured(): ClusterConfig {
    if (this.#config === null) throw new Error("the node has not started");
    return this.#config;
  }

  #build(config: ClusterConfig): void {
    const { store, clock, logger, gossip, signer, ed25519, fault, tracer } = this.#deps;
    const { nodeId, protocol } = this.#options;
    const metrics = this.#metrics;
    const set = (): TrusteeSet => this.#configured().set;
    const sets = (): ReadonlyMap<Epoch, TrusteeSet> => this.#configured().sets;
    const { view } = this;
    const verify = this.#verify;
    // Left out altogether where nothing is traced: then not even a call is made.
    const spans = tracer?.enabled === true ? new VoteSpans({ tracer, clock, nodeId }) : undefined;
    const common = { store, view, clock, logger, metrics, verify, spans };
    const pipeline = new VotePipeline(
      config,
      { nodeId, protocol, ...this.#options.pipeline },
      {
        ...common,
        ...(fault === undefined ? {} : { fault }),
        onBan: (ban, atMs) => this.#response.enforce(ban, atMs),
        onConflict: (first, second) => accusations.conflict(first, second),
        onRefused: (vote, code) => this.#onRefusedByRules(vote, code),
      },
    );
    const accusations = new Accusations({
      ...common,
      journal: this.#deps.accusations,
      sets,
      record: (vote) => pipeline.record(vote),
      onBan: (ban, atMs) => this.#response.enforce(ban, atMs),
      fault,
    });
    this.#pipeline = pipeline;
    this.#accusations = accusations;
    this.#publisher = new VotePublisher(
      { nodeId, ...this.#options.publisher },
      {
        set,
        sets,
        signer,
        gossip,
        ...common,
        journal: this.#deps.journal,
        record: (vote) => pipeline.record(vote),
        recordedValue: async (txId) => {
          const { snapshot } = await store.read(txId, { signal: this.#running.signal });
          return isArchived(snapshot) ? "archived" : snapshot.votes.get(nodeId)?.vote.value;
        },
      },
    );
    this.#deadlines = new DeadlineMonitor(
      { nodeId, staggerMs: 250, intervalMs: 200 },
      { sets, store, view, pipeline, clock, logger },
    );
    const admission = new Admission({
      isAuthor: (peer) => this.#authors.has(peer),
      sets,
      view,
      ed25519,
      clock,
      logger,
      metrics,
      receipts: this.receipts,
      offer: (vote) => {
        accusations.taken(vote);
        return pipeline.offer(vote);
      },
      onBadSignature: (entry) => accusations.badSignature(entry),
      onRefusedVote: (vote) => accusations.refused(vote),
      onHeard: ({ vote }) => this.#board.heard(vote.nodeId, vote.issuedAtMs, clock.nowMs()),
      deadlineMs: protocol.deadlineMs,
      spans,
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

  async #onChanges(all: ChangeSet): Promise<void> {
    const set = this.#response.sift(all);
    this.#board.note(set, this.view);
    const touched = this.view.apply(set);
    for (const change of set.changes) await this.#onChange(change);
    this.#pipeline?.onView(touched);
    this.#admission().onView(touched);
    this.#deadlines?.onView(touched);
    this.#metrics.activeVotes.set({}, this.openTransactions);
    this.#metrics.bannedPeers.set({}, this.view.bans.size);
    for (const waiter of this.#viewWaiters) waiter(touched);
    for (const listener of this.#listeners) listener(set, touched);
  }

  async #onChange(change: Change): Promise<void> {
    const { gossip, store, logger } = this.#deps;
    if (change.kind === "ban") {
      if (change.ban === null) gossip.unban(change.peerId);
      else this.#response.shutOut(change.peerId, change.ban.reason);
    } else if (change.kind === "config") {
      this.#config = await store.readConfig({ signal: this.#running.signal });
      this.#pipeline?.setConfig(this.#config);
      this.#refreshAuthors();
      this.#refreshBoard();
      logger.info("trustee set changed", { epoch: this.#config.set.epoch });
    } else if (change.kind === "unreadable")
      logger.error("etcd holds what no node of this version wrote", {
        key: change.key,
        problem: change.problem,
      });
  }

  /** The trustees in force, and those of transactions that opened before them and are not decided yet. */
  #refreshAuthors(): void {
    const { set, sets } = this.#configured();
    const authors = new Set(set.trustees.map((t) => t.peerId));
    for (const epoch of this.#deadlines?.openEpochs() ?? [])
      for (const t of sets.get(epoch)?.trustees ?? []) authors.add(t.peerId);
    if (authors.size === this.#authors.size && [...authors].every((p) => this.#authors.has(p)))
      return;
    this.#authors = authors;
    this.#deps.gossip.setAuthors([...authors]);
    this.#deps.onAuthors?.([...authors]);
  }

  async #keepAuthors(): Promise<void> {
    const { signal } = this.#running;
    while (!signal.aborted) {
      await this.#deps.clock.sleep(AUTHORS_INTERVAL_MS, { signal });
      this.#refreshAuthors();
      this.#refreshBoard();
    }
  }

  #refreshBoard(): void {
    const { gossip } = this.#deps;
    const status = { ...gossip.status(), self: gossip.localPeerId };
    this.#board.refresh(this.#configured().set, this.view, status, this.checks());
  }

  #onRefusedByRules(vote: VerifiedVote, code: RefusedByRules): void {
    this.receipts.refuse(refusalByRules(vote, code));
    if (code !== "EQUIVOCATION" && code !== "RECORD_FORGED") this.#accusations?.refused(vote);
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
