import {
  encodeFrame,
  type NodeId,
  type PeerId,
  parseTxId,
  parseValue,
  signFrame,
  unwrap,
  type Vote,
} from "@quorate/core";
import { MemoryGossip, MemoryTallyStore, type SeededRandom, type TestNode } from "@quorate/testkit";
import { BYZANTINE_KINDS, type Byzantine, type ByzantineKind, type Plan, pick } from "./plan.ts";
import type { World } from "./world.ts";

/** Keeps a flood within a second of CPU. */
const FLOOD_FRAMES = 12;

const BANNED_FOR: ReadonlySet<string> = new Set([
  "double-voter",
  "equivocator",
  "minority-voter",
  "bad-signature",
  "impostor",
]);

/** A trustee that has left the protocol. It has a good key, a place in the mesh and a presence, and signs what it likes. */
export class ByzantinePeer {
  readonly #world: World;
  readonly #bad: Byzantine;
  readonly #identity: TestNode;
  readonly #gossip: MemoryGossip;
  readonly #random: SeededRandom;
  readonly #patience: number;

  constructor(world: World, bad: Byzantine, identity: TestNode) {
    this.#world = world;
    this.#bad = bad;
    this.#identity = identity;
    this.#random = world.stream(`byzantine/${bad.index}`);
    this.#patience = this.#random.next() < 0.4 ? 0 : this.#random.next();
    this.#gossip = new MemoryGossip(identity, world.network);
    // It forwards, so that it is in nobody's way to be heard.
    this.#gossip.setValidator(() => "ACCEPT");
  }

  async begin(): Promise<void> {
    const { tally, clock, plan } = this.#world;
    await this.#gossip.start();
    const store = new MemoryTallyStore(tally, { clock });
    const { peerId, nodeId } = this.#identity;
    // Whoever announces himself becomes the owner of transactions, and writes none.
    void store.announce(
      { peerId, nodeId, addresses: [], apiUrl: null, version: "bad", startedAtMs: 0 },
      3_600,
      {},
    );
    // Mostly while the honest vote, too.
    for (const tx of plan.transactions)
      clock.schedule(tx.atMs + this.#random.below(this.#random.next() < 0.6 ? 300 : 1_500), () =>
        this.#act(tx),
      );
    if (this.#bad.kind === "flooder")
      clock.schedule(this.#random.below(10_000), () => this.#flood());
  }

  #act(tx: Plan["transactions"][number]): void {
    const { kind } = this.#bad;
    if (kind !== "chaotic") return this.#misbehave(kind, tx);
    const { clock } = this.#world;
    const acts = 1 + this.#random.below(3);
    // Close together, so that one is found out while another is being decided.
    for (let i = 0; i < acts; i++)
      clock.schedule(this.#random.next() ** 2 * 1_200, () =>
        this.#misbehave(pick(this.#random, BYZANTINE_KINDS), tx),
      );
  }

  #misbehave(kind: ByzantineKind, tx: Plan["transactions"][number]): void {
    const wrong = (tx.value + 1n + BigInt(this.#random.below(3))) % 2n ** 64n;
    // Who misbehaves at once is out at once: some wait for their moment.
    if (BANNED_FOR.has(kind) && this.#random.next() < this.#patience)
      return this.#say(tx.txId, tx.value);
    switch (kind) {
      case "double-voter":
        this.#say(tx.txId, tx.value);
        return this.#later(2_000, () => this.#say(tx.txId, wrong));
      case "equivocator":
        return this.#equivocate(tx.txId, tx.value, wrong);
      case "minority-voter":
        return this.#say(tx.txId, wrong);
      case "bad-signature":
        return this.#publish(this.#frame(tx.txId, tx.value, { isForged: true }));
      case "impostor": {
        const name = this.#someoneElse();
        return this.#publish(this.#frame(tx.txId, wrong, { name, isForged: true }));
      }
      case "late":
        return this.#later(3_000, () =>
          this.#say(tx.txId, this.#random.next() < 0.7 ? tx.value : wrong),
        );
      case "flooder":
        return this.#say(tx.txId, tx.value);
      case "chaotic":
      case "silent":
        return;
    }
  }

  /** Within a time, or as long after the transaction's deadline. */
  #later(ms: number, work: () => void): void {
    const { clock, protocol } = this.#world;
    const isLate = ms > 2_000 || this.#random.next() < 0.25;
    clock.schedule((isLate ? protocol.deadlineMs : 0) + this.#random.below(ms), work);
  }

  #equivocate(txId: string, one: bigint, other: bigint): void {
    const others = this.#random.shuffled(this.#others());
    const half = 1 + this.#random.below(Math.max(1, others.length - 1));
    this.#gossip.publishTo(new Set(others.slice(0, half)), this.#frame(txId, one));
    this.#gossip.publishTo(new Set(others.slice(half)), this.#frame(txId, other));
  }

  #flood(): void {
    const { clock } = this.#world;
    for (let i = 0; i < FLOOD_FRAMES; i++)
      clock.schedule(i * 40, () => {
        const draw = this.#random.next();
        const txId = `junk-${this.#bad.index}-${this.#random.below(6)}`;
        if (draw < 0.3) this.#publish(this.#random.bytes(20 + this.#random.below(200)));
        else this.#say(txId, BigInt(this.#random.below(draw < 0.7 ? 1 : 2)));
      });
  }

  #say(txId: string, value: bigint): void {
    this.#publish(this.#frame(txId, value));
  }

  #publish(data: Uint8Array): void {
    if (this.#gossip.isRunning) void this.#gossip.publish(data);
  }

  #others(): readonly PeerId[] {
    const own = this.#identity.peerId;
    return this.#world.cluster.nodes.map(({ peerId }) => peerId).filter((peer) => peer !== own);
  }

  #someoneElse(): NodeId {
    const others = this.#world.cluster.nodes.filter((node) => node !== this.#identity);
    const chosen = others[this.#random.below(others.length)];
    return (chosen ?? this.#identity).nodeId;
  }

  #frame(
    txId: string,
    value: bigint,
    { name, isForged = false }: { readonly name?: NodeId; readonly isForged?: boolean } = {},
  ): Uint8Array {
    const { tally, cluster, clock } = this.#world;
    const { clusterId, epoch } = tally.config?.set ?? cluster.set;
    const vote: Vote = {
      clusterId,
      epoch,
      txId: unwrap(parseTxId(txId)),
      value: unwrap(parseValue(value)),
      nodeId: name ?? this.#identity.nodeId,
      issuedAtMs: Math.floor(clock.nowMs()),
    };
    const sign = (message: Uint8Array): Uint8Array =>
      isForged ? this.#random.bytes(64) : this.#identity.signer.sign(message);
    return encodeFrame(signFrame([vote], sign));
  }
}
