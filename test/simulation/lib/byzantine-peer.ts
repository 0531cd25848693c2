import {
  encodeFrame,
  type NodeId,
  parseTxId,
  parseValue,
  signFrame,
  unwrap,
  type Vote,
} from "@quorate/core";
import { MemoryGossip, MemoryTallyStore, type SeededRandom, type TestNode } from "@quorate/testkit";
import type { Byzantine, Plan } from "./plan.ts";
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
    for (const tx of plan.transactions)
      clock.schedule(tx.atMs + this.#random.below(1_500), () => this.#act(tx));
    if (this.#bad.kind === "flooder")
      clock.schedule(this.#random.below(10_000), () => this.#flood());
  }

  #act(tx: Plan["transactions"][number]): void {
    const { clock, protocol } = this.#world;
    const wrong = (tx.value + 1n + BigInt(this.#random.below(3))) % 2n ** 64n;
    // Who misbehaves at once is out at once: some wait for their moment.
    if (BANNED_FOR.has(this.#bad.kind) && this.#random.next() < this.#patience)
      return this.#say(tx.txId, tx.value);
    switch (this.#bad.kind) {
      case "double-voter":
        this.#say(tx.txId, tx.value);
        clock.schedule(this.#random.below(2_000), () => this.#say(tx.txId, wrong));
        return;
      case "equivocator": {
        const others = this.#random.shuffled(this.#others());
        const half = 1 + this.#random.below(Math.max(1, others.length - 1));
        const some = new Set(others.slice(0, half));
        const rest = new Set(others.slice(half));
        this.#gossip.publishTo(some as never, this.#frame(tx.txId, tx.value));
        this.#gossip.publishTo(rest as never, this.#frame(tx.txId, wrong));
        return;
      }
      case "minority-voter":
        return this.#say(tx.txId, wrong);
      case "bad-signature":
        return this.#publish(this.#frame(tx.txId, tx.value, { isForged: true }));
      case "impostor": {
        const name = this.#someoneElse();
        return this.#publish(this.#frame(tx.txId, wrong, { name, isForged: true }));
      }
      case "late":
        clock.schedule(protocol.deadlineMs + this.#random.below(3_000), () =>
          this.#say(tx.txId, this.#random.next() < 0.7 ? tx.value : wrong),
        );
        return;
      case "flooder":
        return this.#say(tx.txId, tx.value);
      case "silent":
        return;
    }
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

  #others(): readonly string[] {
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
