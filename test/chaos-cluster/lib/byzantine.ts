import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { hexToBytes } from "@quorate/core";
import { type Attacker, EvilPeer, startAttacker } from "../../attacks/lib/attacker.ts";
import { frameBytes, type Identity, identityOf, voteOf } from "../../attacks/lib/identity.ts";
import { envelop, type WireMessage } from "../../attacks/lib/wire.ts";
import type { Rig, RigNode } from "./rig.ts";

/** A trustee whose key is in the harness's hand: it is on the network and keeps to no rule. */
export class ByzantineTrustee {
  readonly node: RigNode;
  readonly #rig: Rig;
  readonly #identity: Identity;
  readonly #peer: EvilPeer;

  private constructor(rig: Rig, node: RigNode, identity: Identity, peer: EvilPeer) {
    this.#rig = rig;
    this.node = node;
    this.#identity = identity;
    this.#peer = peer;
  }

  /** Joins by every node that runs. @throws when one does not let it in */
  static async join(rig: Rig, node: RigNode, attacker: Attacker): Promise<ByzantineTrustee> {
    const text = await readFile(join(rig.directory, node.nodeId, "node.key"), "utf8");
    const identity = identityOf(node.nodeId, hexToBytes(text.trim()));
    const peer = await EvilPeer.open(attacker, { name: node.nodeId, seed: identity.seed });
    const addresses = rig.nodes.filter((one) => one.running).map(({ address }) => address);
    const outcomes = await peer.connect(addresses, [topicOf(rig)], 15_000);
    const out = outcomes.filter(({ admitted }) => !admitted);
    if (out.length > 0)
      throw new Error(`${node.nodeId} was not let in: ${out.map((o) => o.detail).join("; ")}`);
    return new ByzantineTrustee(rig, node, identity, peer);
  }

  /** Signs a vote, whatever was signed before, and sends it. @param to default all nodes */
  async vote(txId: string, value: string, to: readonly RigNode[] = []): Promise<void> {
    const { clusterId, set } = this.#rig;
    const { nodeId } = this.node;
    const vote = voteOf({ txId, value, nodeId, clusterId, epoch: set.epoch });
    const message = this.#envelop(frameBytes(this.#identity, [vote]));
    const { sent } = await this.#peer.publish(
      [message],
      to.map(({ peerId }) => peerId),
    );
    if (sent === 0) throw new Error(`the vote of ${nodeId} reached nobody`);
  }

  /** Who lets it in at this moment. */
  admittedBy(): Promise<readonly string[]> {
    return this.#peer.admittedBy();
  }

  #envelop(data: Uint8Array): WireMessage {
    return envelop(this.#identity, topicOf(this.#rig), data);
  }
}

const topicOf = ({ clusterId }: Rig): string => `quorate/${clusterId}/votes/1`;

/** Brings trustees on the network that keep to no rule, for as long as a task takes. */
export async function withByzantine<T>(
  rig: Rig,
  nodes: readonly RigNode[],
  task: (trustees: readonly ByzantineTrustee[]) => Promise<T>,
): Promise<T> {
  const attacker = startAttacker();
  try {
    const trustees: ByzantineTrustee[] = [];
    for (const node of nodes) trustees.push(await ByzantineTrustee.join(rig, node, attacker));
    return await task(trustees);
  } finally {
    await attacker.stop();
  }
}
