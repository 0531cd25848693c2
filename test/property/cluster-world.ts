import {
  DEFAULT_PROTOCOL_CONFIG,
  encodeFrame,
  type PeerId,
  type ProtocolConfig,
  signFrame,
  type TxSnapshot,
  type VoteFrame,
} from "@quorate/core";
import { type CastOutcome, TrusteeNode } from "@quorate/engine";
import type { BanEntry, ChangeSet } from "@quorate/ports";
import {
  MemoryGossip,
  MemoryNetwork,
  MemoryTallyStore,
  memoryAccusationJournal,
  memoryLogger,
  memoryMetrics,
  nodeAt,
  nodeEd25519,
  prng,
  SharedTally,
  SimClock,
  type TestCluster,
  testCluster,
  txIdOf,
  valueOf,
} from "@quorate/testkit";

export interface ClusterOptions {
  readonly trustees: number;
  readonly threshold: number;
  /** The last so many trustees run no node: they say what a test makes them say. */
  readonly byzantine?: number;
  readonly protocol?: Partial<ProtocolConfig>;
  /** Draws delays of every message and store call. */
  readonly seed?: number;
  /** Loses replies of commits and reads, too. */
  readonly faulty?: boolean;
}

/** Short, for simulated time costs real time, too. */
const DEADLINE_MS = 2_000;
/** Long enough for every retry, stagger and deadline. */
const QUIET_MS = 6_000;

/**
 * Trustee nodes as they run, admission, pipeline, accusations and enforcement included, over a network and a tally in
 * memory under a simulated clock; and trustees beside them that sign whatever they are told to.
 */
export class ClusterWorld {
  readonly clock = new SimClock();
  readonly shared: SharedTally = new SharedTally({ clock: this.clock });
  readonly store: MemoryTallyStore = new MemoryTallyStore(this.shared, { clock: this.clock });
  readonly cluster: TestCluster;
  readonly network: MemoryNetwork;
  /** By index; null for those that run no node. */
  readonly nodes: (TrusteeNode | null)[] = [];
  readonly gossips: MemoryGossip[] = [];
  /** Every revision of the tally, as a watch shows it. */
  readonly history: ChangeSet[] = [];
  readonly honest: number;
  /** Whom a node shut out while the tally had no ban of it: an effect before its commit (I11). */
  readonly shutOutEarly: PeerId[] = [];
  readonly #ended = new AbortController();

  private constructor({ trustees, threshold, byzantine = 0, seed = 0 }: ClusterOptions) {
    const random = prng(seed);
    this.cluster = testCluster({ trustees, threshold });
    this.honest = trustees - byzantine;
    this.network = new MemoryNetwork(
      { clock: this.clock },
      { fault: () => ({ delayMs: random.below(20), repeat: random.below(8) === 0 ? 1 : 0 }) },
    );
  }

  static async open(options: ClusterOptions): Promise<ClusterWorld> {
    const world = new ClusterWorld(options);
    const { clock, store, cluster } = world;
    await store.initCluster(cluster.set);
    void store.watch(0n, (set) => void world.history.push(set), { signal: world.#ended.signal });
    for (let index = 0; index < options.trustees; index++) world.#add(index, options);
    const started = Promise.all([
      ...world.nodes.filter((node) => node !== null).map((node) => node.start()),
      ...world.gossips.map((gossip) => gossip.start()),
    ]);
    await clock.advance(100);
    await started;
    return world;
  }

  #add(index: number, { protocol, seed = 0, faulty = false }: ClusterOptions): void {
    const { clock, shared } = this;
    const self = nodeAt(this.cluster, index);
    const { shutOutEarly } = this;
    class WatchedGossip extends MemoryGossip {
      override ban(peer: PeerId): void {
        if (!shared.bans.has(peer)) shutOutEarly.push(peer);
        super.ban(peer);
      }
    }
    const gossip = new WatchedGossip(self, this.network);
    this.gossips.push(gossip);
    if (index >= this.honest) {
      this.nodes.push(null);
      return;
    }
    const random = prng(seed + index + 1);
    const store = new MemoryTallyStore(
      shared,
      { clock },
      {
        name: self.nodeId,
        fault: ({ operation }) => {
          const delayMs = random.below(10);
          const loses = faulty && operation === "commit" && random.below(5) === 0;
          return operation === "lease" ? null : { delayMs, loseReply: loses };
        },
      },
    );
    const node = new TrusteeNode(
      {
        clusterId: this.cluster.set.clusterId,
        nodeId: self.nodeId,
        protocol: { ...DEFAULT_PROTOCOL_CONFIG, deadlineMs: DEADLINE_MS, ...protocol },
        pipeline: { windowMs: 4, staggerMs: 150, batchMax: 100, batchesInFlightMax: 4 },
        publisher: { windowMs: 4, intervalMs: 30, frameVotesMax: 256 },
        presenceTtlSeconds: 600,
        apiUrl: null,
        version: "0",
      },
      {
        store,
        gossip,
        signer: self.signer,
        ed25519: nodeEd25519,
        journal: {
          load: async () => ({ entries: [], complete: true }),
          append: async () => {},
          close: async () => {},
        },
        accusations: memoryAccusationJournal(),
        clock,
        logger: memoryLogger(),
        metrics: memoryMetrics(),
        onFatal: () => {},
      },
    );
    this.nodes.push(node);
  }

  /** An honest trustee votes, by its own node. */
  cast(index: number, txId: string, value: number): Promise<CastOutcome> {
    const node = this.nodes[index];
    if (node === null || node === undefined) throw new Error(`trustee ${index} runs no node`);
    return node.cast(txIdOf(txId), valueOf(value));
  }

  /** A vote as its trustee signs it now: the same word at another time is other bytes. */
  frameOf(index: number, txId: string, value: number): VoteFrame {
    const { nodeId, signer } = nodeAt(this.cluster, index);
    const { clusterId, epoch } = this.cluster.set;
    const issuedAtMs = this.clock.nowMs();
    const vote = {
      clusterId,
      epoch,
      txId: txIdOf(txId),
      value: valueOf(value),
      nodeId,
      issuedAtMs,
    };
    return signFrame([vote], (message) => signer.sign(message));
  }

  /** Publishes bytes in a trustee's name, to all or to some. */
  async publish(index: number, bytes: Uint8Array, to?: readonly number[]): Promise<void> {
    const gossip = this.gossips[index];
    if (gossip === undefined) throw new Error(`there is no trustee ${index}`);
    if (to === undefined) await gossip.publish(bytes);
    else gossip.publishTo(new Set(to.map((each) => nodeAt(this.cluster, each).peerId)), bytes);
  }

  /** A trustee without a node says a value, to all or to some. */
  async say(index: number, txId: string, value: number, to?: readonly number[]): Promise<void> {
    await this.publish(index, encodeFrame(this.frameOf(index, txId, value)), to);
  }

  async settle(ms: number = QUIET_MS): Promise<void> {
    await this.clock.advance(ms);
  }

  async snapshot(txId: string): Promise<TxSnapshot> {
    return (await this.store.read(txIdOf(txId))).snapshot;
  }

  /** Bans in the tally, by the index of the banned. */
  async bans(): Promise<ReadonlyMap<number, BanEntry>> {
    const { bans } = await this.store.readBans();
    return new Map([...bans].map(([peer, ban]) => [this.indexOf(peer), ban]));
  }

  indexOf(peer: string): number {
    return this.cluster.nodes.findIndex(({ peerId }) => peerId === peer);
  }

  /** Whether every honest node has shut a trustee out of its network. */
  isShutOut(index: number): boolean {
    const { peerId } = nodeAt(this.cluster, index);
    return this.gossips
      .slice(0, this.honest)
      .every((gossip, at) => at === index || gossip.banned.has(peerId));
  }

  async close(): Promise<void> {
    this.#ended.abort();
    const stopped = Promise.all(
      this.nodes
        .filter((node) => node !== null)
        .map((node) => node.stop({ signal: AbortSignal.abort() })),
    );
    await this.clock.advance(1_000);
    await stopped;
    await this.store.stop();
  }
}
