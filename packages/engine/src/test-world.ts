import {
  DEFAULT_PROTOCOL_CONFIG,
  onlySet,
  type ProtocolConfig,
  type TrusteeSets,
  type TxId,
  type TxSnapshot,
  type VerifiedVote,
} from "@quorate/core";
import type { BanEntry, Change, ChangeSet, ClusterConfig, Tracer } from "@quorate/ports";
import {
  type MemoryAccusationJournal,
  type MemoryLogger,
  type MemoryMetrics,
  MemoryTallyStore,
  memoryAccusationJournal,
  memoryLogger,
  memoryMetrics,
  nodeAt,
  SharedTally,
  SimClock,
  type TallyFault,
  type TallyOperation,
  type TestCluster,
  testCluster,
  txIdOf,
} from "@quorate/testkit";
import { Accusations } from "./accusations.ts";
import { nodeMetrics } from "./catalogue.ts";
import type { RefusedByRules } from "./refusal.ts";
import { rendezvousRank } from "./rendezvous.ts";
import { TallyView } from "./tally-view.ts";
import { VotePipeline } from "./vote-pipeline.ts";
import type { PipelineOptions } from "./vote-pipeline-options.ts";
import { VoteSpans } from "./vote-spans.ts";

export interface WorldOptions {
  readonly trustees?: number;
  readonly threshold?: number;
  readonly protocol?: Partial<ProtocolConfig>;
  readonly pipeline?: Partial<Omit<PipelineOptions, "nodeId" | "protocol">>;
  /** How many of the trustees run a node here. */
  readonly running?: number;
  readonly viewEntriesMax?: number;
  /** Given to every node. */
  readonly tracer?: Tracer;
}

/** One trustee's pipeline with its view, fed by the change stream as a node does it. */
export interface WorldNode {
  readonly name: string;
  readonly store: MemoryTallyStore;
  readonly view: TallyView;
  readonly pipeline: VotePipeline;
  readonly metrics: MemoryMetrics;
  readonly logger: MemoryLogger;
  readonly bans: BanEntry[];
  readonly accusations: Accusations;
  readonly accusationJournal: MemoryAccusationJournal;
  /** What the rules refused, with why. */
  readonly refusals: { readonly vote: VerifiedVote; readonly code: RefusedByRules }[];
  /** What it asked the store, oldest first. */
  readonly operations: TallyOperation[];
  readonly spans: VoteSpans | undefined;
  /** Faults of its calls, taken from the front; then `fault`. */
  readonly faults: { readonly operation: TallyOperation; readonly fault: TallyFault }[];
  fault: (operation: TallyOperation) => TallyFault | null;
}

/** Several pipelines over one tally in memory, under one simulated clock. */
export class World {
  readonly clock = new SimClock();
  readonly shared: SharedTally = new SharedTally({ clock: this.clock });
  readonly cluster: TestCluster;
  readonly protocol: ProtocolConfig;
  readonly nodes: WorldNode[] = [];
  sets: TrusteeSets;
  /** A client without faults, for the test itself. */
  readonly store: MemoryTallyStore = new MemoryTallyStore(this.shared, { clock: this.clock });
  readonly history: ChangeSet[] = [];
  readonly #ended = new AbortController();
  readonly #options: WorldOptions;

  private constructor(options: WorldOptions) {
    this.#options = options;
    this.cluster = testCluster({
      trustees: options.trustees ?? 5,
      threshold: options.threshold ?? 4,
    });
    this.sets = onlySet(this.cluster.set);
    this.protocol = { ...DEFAULT_PROTOCOL_CONFIG, ...options.protocol };
  }

  static async open(options: WorldOptions = {}): Promise<World> {
    const world = new World(options);
    await world.store.initCluster(world.cluster.set);
    void world.store.watch(0n, (set) => void world.history.push(set), {
      signal: world.#ended.signal,
    });
    const running = options.running ?? world.cluster.nodes.length;
    for (let i = 0; i < running; i++) await world.#add(i);
    await world.clock.advance(1);
    return world;
  }

  async config(): Promise<ClusterConfig> {
    return this.store.readConfig();
  }

  async snapshot(txId: string): Promise<TxSnapshot> {
    return (await this.store.read(txIdOf(txId))).snapshot;
  }

  /** The nodes in the order in which they write a transaction: its owner first. */
  byRank(txId: string): readonly WorldNode[] {
    const live = this.nodes.map((_, i) => nodeAt(this.cluster, i).nodeId);
    const rank = (node: WorldNode): number =>
      rendezvousRank(txIdOf(txId), nodeAt(this.cluster, this.nodes.indexOf(node)).nodeId, live);
    return this.nodes.toSorted((a, b) => rank(a) - rank(b));
  }

  /** The changes of one kind, over all of history. */
  changes<Kind extends Change["kind"]>(kind: Kind): readonly Extract<Change, { kind: Kind }>[] {
    return this.history
      .flatMap((set) => set.changes)
      .filter((change): change is Extract<Change, { kind: Kind }> => change.kind === kind);
  }

  sum(metric: string, labels: Readonly<Record<string, string>> = {}): number {
    return this.nodes.reduce((sum, node) => sum + (node.metrics.value(metric, labels) ?? 0), 0);
  }

  async close(): Promise<void> {
    this.#ended.abort();
    for (const node of this.nodes) node.pipeline.stop();
    await Promise.all(this.nodes.map((node) => node.store.stop()));
    await this.store.stop();
  }

  async #add(index: number): Promise<void> {
    const { nodeId, peerId } = nodeAt(this.cluster, index);
    const logger = memoryLogger();
    const metrics = memoryMetrics();
    const view = new TallyView(
      this.#options.viewEntriesMax === undefined
        ? {}
        : { entriesMax: this.#options.viewEntriesMax },
    );
    const bans: BanEntry[] = [];
    const refusals: WorldNode["refusals"] = [];
    const accusationJournal = memoryAccusationJournal();
    const operations: TallyOperation[] = [];
    const faults: WorldNode["faults"] = [];
    const store = new MemoryTallyStore(
      this.shared,
      { clock: this.clock },
      {
        name: nodeId,
        fault: ({ operation }) => {
          operations.push(operation);
          const at = faults.findIndex((f) => f.operation === operation);
          if (at >= 0) return faults.splice(at, 1)[0]?.fault ?? null;
          return node.fault(operation);
        },
      },
    );
    const { tracer } = this.#options;
    const spans =
      tracer === undefined ? undefined : new VoteSpans({ tracer, clock: this.clock, nodeId });
    const pipeline = new VotePipeline(
      await this.config(),
      {
        nodeId,
        protocol: this.protocol,
        windowMs: 4,
        staggerMs: 150,
        batchMax: 100,
        batchesInFlightMax: 4,
        ...this.#options.pipeline,
      },
      {
        store,
        view,
        clock: this.clock,
        logger,
        metrics: nodeMetrics(metrics),
        verify: this.cluster.verify,
        spans,
        onBan: (ban) => void bans.push(ban),
        onConflict: (first, second) => accusations.conflict(first, second),
        onRefused: (refused, code) => {
          refusals.push({ vote: refused, code });
          if (code !== "EQUIVOCATION" && code !== "RECORD_FORGED") accusations.refused(refused);
        },
      },
    );
    const accusations = new Accusations({
      store,
      journal: accusationJournal,
      view,
      clock: this.clock,
      logger,
      metrics: nodeMetrics(memoryMetrics()),
      sets: () => this.sets,
      verify: this.cluster.verify,
      record: (vote) => pipeline.record(vote),
      onBan: (ban) => {
        view.noteBan(ban);
        bans.push(ban);
      },
    });
    const node: WorldNode = {
      name: nodeId,
      store,
      view,
      pipeline,
      metrics,
      logger,
      bans,
      accusations,
      accusationJournal,
      refusals,
      operations,
      spans,
      faults,
      fault: () => null,
    };
    this.nodes.push(node);
    const { signal } = this.#ended;
    const onChanges = async (set: ChangeSet): Promise<void> => {
      const touched = view.apply(set);
      if (set.changes.some((change) => change.kind === "config")) {
        const config = await store.readConfig();
        this.sets = config.sets;
        pipeline.setConfig(config);
      }
      pipeline.onView(touched);
    };
    void store.watch(0n, onChanges, { signal });
    const presence = { peerId, nodeId, addresses: [], apiUrl: null, version: "0", startedAtMs: 0 };
    void store.announce(presence, 3_600, { signal });
  }
}

/** Lets a promise be looked at without waiting for it. */
export function peek<T>(promise: Promise<T>): { readonly value: () => T | null } {
  let value: T | null = null;
  void promise.then((settled) => {
    value = settled;
  });
  return { value: () => value };
}

export const tx = (id: string): TxId => txIdOf(id);
