import {
  bytesToHex,
  DEFAULT_PROTOCOL_CONFIG,
  decodeVote,
  envelopeSigningBytes,
  type PeerId,
  peerIdBytesOf,
  verifyVote,
} from "@quorate/core";
import { createEd25519 } from "@quorate/crypto-sodium";
import { TrusteeNode } from "@quorate/engine";
import { type OfflineRouter, offlineRouter } from "@quorate/network-libp2p/offline-router";
import type {
  ChangeSet,
  Ed25519,
  GossipMessage,
  GossipVerdict,
  TallyStore,
  VoteJournal,
} from "@quorate/ports";
import {
  type MemoryLogger,
  MemoryTallyStore,
  memoryAccusationJournal,
  memoryLogger,
  SharedTally,
  SimClock,
} from "@quorate/testkit";
import { type FuzzCase, readProof } from "./fuzz-case.ts";
import { FuzzGossip } from "./fuzz-gossip.ts";
import { countingMetrics } from "./metrics.ts";
import { must, Oracle } from "./oracle.ts";
import { BYZANTINE, byzantine, CLUSTER, epochOf, honest, type Person, personOf } from "./people.ts";

export const TOPIC = `quorate/${CLUSTER}/votes/1`;
export const START_MS = 1_750_000_000_000;

/** Other parts in place of the real ones: how the tests show that the fuzzer sees. */
export interface Sabotage {
  readonly ed25519?: (real: Ed25519) => Ed25519;
  readonly store?: (real: TallyStore) => TallyStore;
  /** Comes between the network and the node. */
  readonly door?: (message: GossipMessage, real: () => GossipVerdict) => GossipVerdict;
}

/** A long life between the deadline of a transaction and a stage's end: silence is not what is fuzzed. */
const DEADLINE_MS = 3_600_000;

/**
 * One real node (admission, pipeline, accusations, response, receipts, as `TrusteeNode` puts them
 * together) on a tally in memory, with an oracle that hears every change of the tally.
 */
export class Stage {
  readonly clock: SimClock;
  readonly oracle = new Oracle();
  readonly shared: SharedTally;
  readonly #store: MemoryTallyStore;
  readonly #node: TrusteeNode;
  readonly #gossip = new FuzzGossip(honest(0).peerId);
  readonly #router: OfflineRouter;
  readonly #logger: MemoryLogger = memoryLogger({ recordsMax: 50 });
  readonly #metrics = countingMetrics();
  readonly #ended = new AbortController();
  readonly #sabotage: Sabotage;
  readonly #ed25519: Ed25519;
  readonly #rejections: unknown[] = [];
  #sequence = 0n;
  #broken: unknown = null;
  #seenErrors = 0;
  epoch = 1;

  private constructor(startMs: number, sabotage: Sabotage) {
    this.clock = new SimClock({ startMs });
    this.shared = new SharedTally({ clock: this.clock });
    this.#store = new MemoryTallyStore(this.shared, { clock: this.clock });
    this.#sabotage = sabotage;
    const real = createEd25519();
    this.#ed25519 = sabotage.ed25519?.(real) ?? real;
    this.#node = this.#makeNode();
    this.#router = offlineRouter(honest(0).seed, {
      topic: TOPIC,
      isBanned: (peer) => this.#gossip.banned.has(peer),
      isShut: (peer) => this.#gossip.banned.has(peer),
      isAuthor: (peer) => this.#gossip.authors.has(peer),
      allowsRpc: () => true,
      allows: () => true,
      hasRoom: () => true,
      onRefused: (refusal) => this.#gossip.refused(refusal),
      onOffence: () => {},
      onDuplicate: () => {},
    });
  }

  static async open({
    epoch = 1,
    startMs = START_MS,
    sabotage = {},
  }: {
    readonly epoch?: number;
    readonly startMs?: number;
    readonly sabotage?: Sabotage;
  } = {}): Promise<Stage> {
    const stage = new Stage(startMs, sabotage);
    await stage.#store.initCluster(epochOf(1).set);
    await stage.#node.start();
    void stage.#listen();
    process.on("unhandledRejection", stage.#onRejection);
    for (let next = 2; next <= epoch; next++) await stage.nextEpoch();
    await stage.settle(1);
    return stage;
  }

  /** Byzantine trustees in force that are still heard. */
  get atLarge(): readonly Person[] {
    const all = Array.from({ length: BYZANTINE }, (_, i) => byzantine(this.epoch, i));
    return all.filter(({ peerId }) => !this.oracle.banned.has(peerId));
  }

  /** An operator puts others in the place of the Byzantine trustees. */
  async nextEpoch(): Promise<void> {
    this.epoch++;
    this.oracle.epochsMade = this.epoch;
    const { epochVersion } = await this.#store.readConfig();
    const changed = await this.#store.changeTrustees(epochOf(this.epoch).set, epochVersion);
    must(changed === "changed", "the stage changes its trustees", changed);
    await this.settle(1);
  }

  /** Runs one input through the real path, and all laws after it. @throws Broken, or what the code threw */
  async run(input: FuzzCase, thenMs: number): Promise<GossipVerdict | "PASSED" | "REFUSED"> {
    const result = await this.#enter(input);
    await this.settle(thenMs);
    return result;
  }

  /** Lets time pass, and looks at what has come of it. */
  async settle(ms: number): Promise<void> {
    await this.clock.advance(ms);
    this.#check();
  }

  /** The collections in which the store in memory keeps what it was given. */
  twins(): readonly object[] {
    return Object.values(this.shared).filter((one) => one instanceof Map || one instanceof Set);
  }

  /** Ends the stage and balances its books. */
  async close(): Promise<void> {
    try {
      await this.settle(5_000);
      const { pendingVotes } = this.#node;
      must(pendingVotes === 0, "no vote stays pending", `${pendingVotes} do`);
      this.#checkCounts();
      const stopping = this.#node.stop();
      await this.clock.advance(2_000);
      await stopping;
      this.#check();
      const { refusals, receipts } = this.oracle;
      must(refusals === receipts, "every refusal is in a receipt", `${refusals}, but ${receipts}`);
    } finally {
      await this.discard();
    }
  }

  /** Ends it without looking. */
  async discard(): Promise<void> {
    process.off("unhandledRejection", this.#onRejection);
    this.#ended.abort();
    await this.#store.stop();
  }

  #makeNode(): TrusteeNode {
    const self = honest(0);
    const nodeId = epochOf(1).nameOf.get(self.peerId);
    if (nodeId === undefined) throw new Error("this node is a trustee");
    const journal: VoteJournal = {
      load: async () => ({ entries: [], complete: true }),
      append: async () => {},
      close: async () => {},
    };
    const node = new TrusteeNode(
      {
        clusterId: CLUSTER,
        nodeId,
        protocol: { ...DEFAULT_PROTOCOL_CONFIG, deadlineMs: DEADLINE_MS },
        pipeline: { windowMs: 4, staggerMs: 150, batchMax: 100, batchesInFlightMax: 4 },
        publisher: { windowMs: 4, intervalMs: 25, frameVotesMax: 256 },
        presenceTtlSeconds: 3_600,
        apiUrl: null,
        version: "fuzz",
      },
      {
        store: this.#sabotage.store?.(this.#store) ?? this.#store,
        gossip: this.#gossip,
        signer: self.signer,
        ed25519: this.#ed25519,
        journal,
        accusations: memoryAccusationJournal(),
        clock: this.clock,
        logger: this.#logger,
        metrics: this.#metrics,
        onFatal: (error) => this.#fail(error),
      },
    );
    // Counted here as well, beside the book itself: its books are what is checked.
    const refuse = node.receipts.refuse.bind(node.receipts);
    node.receipts.refuse = (refusal) => {
      this.oracle.refusals += refusal.count ?? 1;
      return refuse(refusal);
    };
    return node;
  }

  async #listen(): Promise<void> {
    const onChanges = async ({ changes }: ChangeSet): Promise<void> => {
      try {
        for (const change of changes) this.oracle.change(change);
      } catch (error) {
        this.#fail(error);
      }
    };
    const { signal } = this.#ended;
    await this.#store.watch(0n, onChanges, { signal }).catch(() => {});
  }

  readonly #onRejection = (reason: unknown): void => void this.#rejections.push(reason);

  #fail(error: unknown): void {
    this.#broken ??= error;
  }

  #check(): void {
    if (this.#broken !== null) throw this.#broken;
    const [rejection] = this.#rejections;
    must(this.#rejections.length === 0, "no rejection is left unhandled", String(rejection));
    const errors = this.#logger.records.filter(({ level }) => level === "error");
    const last = errors.at(-1);
    const cause = last?.fields["error"];
    const said = `${last?.message} ${cause instanceof Error ? cause.stack : ""}`;
    must(errors.length <= this.#seenErrors, "nothing fails inside the node", said);
    this.#seenErrors = errors.length;
  }

  async #enter(input: FuzzCase): Promise<GossipVerdict | "PASSED" | "REFUSED"> {
    if (input.target === "proof") return this.#enterProof(input.bytes);
    const forwarder = personOf(input.forwarder).peerId;
    if (input.target === "frame")
      return this.#judge(this.seal(input.author, input.bytes, forwarder));
    let last: GossipVerdict | "REFUSED" = "REFUSED";
    for (const message of await this.#router.read(forwarder, input.bytes)) {
      this.oracle.envelope(message);
      last = this.#judge(message);
    }
    return last;
  }

  /** A message in somebody's name, sealed with their key. */
  seal(author: FuzzCase["author"], data: Uint8Array, forwarder: PeerId): GossipMessage {
    const { signer, peerId } = personOf(author);
    const sequenceNumber = Buffer.alloc(8);
    sequenceNumber.writeBigUInt64BE(++this.#sequence);
    const from = peerIdBytesOf(signer.publicKey);
    const unsigned = { from, data, sequenceNumber, topic: TOPIC };
    const envelope = { ...unsigned, signature: signer.sign(envelopeSigningBytes(unsigned)) };
    return { topic: TOPIC, data, author: peerId, forwarder, envelope };
  }

  #judge(message: GossipMessage): GossipVerdict {
    const refusalsBefore = this.oracle.refusals;
    const duplicatesBefore = this.#duplicates();
    const real = (): GossipVerdict => {
      const verdict = this.#gossip.judge(message);
      must(typeof verdict === "string", "a verdict is given at once", "it is a promise");
      return typeof verdict === "string" ? verdict : "IGNORE";
    };
    const verdict = this.#sabotage.door?.(message, real) ?? real();
    this.oracle.verdict(verdict, message);
    const refused = this.oracle.refusals - refusalsBefore;
    const due = verdict === "ACCEPT" || this.#duplicates() > duplicatesBefore ? 0 : 1;
    must(refused === due, "a refused message is noted once", `${verdict}: ${refused} times`);
    return verdict;
  }

  #duplicates(): number {
    return this.#metrics.value("votes_rejected_total", "duplicate");
  }

  #enterProof(bytes: Uint8Array): "PASSED" | "REFUSED" {
    const proof = readProof(bytes);
    const vote = decodeVote(proof.leaf);
    if (!vote.ok) return "REFUSED";
    const set = epochOf(Math.min(vote.value.epoch, this.epoch)).set;
    const read = verifyVote({ vote: vote.value, proof }, set, (key, message, signature) =>
      this.#ed25519.verify(key, message, signature),
    );
    if (read.ok) this.oracle.proof(proof);
    return read.ok ? "PASSED" : "REFUSED";
  }

  /** I7, and no transaction is decided without the votes for it. */
  #checkCounts(): void {
    for (const [txId, { votes, status, record }] of this.shared.transactions) {
      if (status !== "THRESHOLD_REACHED" || record === null) continue;
      const threshold = epochOf(record.epoch).set.threshold;
      const backing = [...votes.values()].filter((v) => v.vote.value === record.value).length;
      must(
        backing >= threshold,
        "a decided value has its votes",
        `${bytesToHexOf(txId)}: ${backing}`,
      );
    }
  }
}

const bytesToHexOf = (text: string): string => bytesToHex(Buffer.from(text));
