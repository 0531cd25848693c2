import { readFileSync } from "node:fs";
import type { Evidence, ViolationType } from "@quorate/core";
import { waitUntil } from "@quorate/devkit";
import type { LocalCluster, LocalNode, LocalServers } from "@quorate/localcluster";
import type { Attack } from "./attack.ts";
import { ATTACKER } from "./attack.ts";
import { type Attacker, EvilPeer } from "./attacker.ts";
import { HonestTraffic } from "./honest-traffic.ts";
import {
  frameBytes,
  type Identity,
  stolenIdentity,
  strangerIdentity,
  type VoteFields,
  voteOf,
} from "./identity.ts";
import {
  bansAt,
  EtcdEyes,
  enforcementsOf,
  growth,
  heldBytes,
  type Refusals,
  readRefusals,
  recordersOf,
  recordOf,
  samplesOf,
} from "./observe.ts";
import { envelop, type WireMessage } from "./wire.ts";

const BAN_TIMEOUT_MS = 20_000;
const BAN_POLL_MS = 3;
/** Transactions in each round of honest traffic. */
const ROUND_TRANSACTIONS = 2;
const REFUSAL_TIMEOUT_MS = 10_000;

/** What a vote of the attack says; the rest is the cluster's own. */
export type StageVote = Pick<VoteFields, "txId" | "value"> & Partial<VoteFields>;

/** What is noted while an attack runs, for the balance at its end. */
export interface Notes {
  readonly problems: string[];
  refused: string | null;
  banInEtcdMs: number | null;
  banEverywhereMs: number | null;
  readonly recordersBefore: ReadonlyMap<string, number>;
}

/** One attack on one cluster: its means, and what is watched and checked meanwhile. */
export class Stage {
  readonly cluster: LocalCluster;
  readonly servers: LocalServers;
  readonly attack: Attack;
  readonly attacker: Attacker;
  readonly etcd: EtcdEyes;
  readonly traffic: HonestTraffic;
  readonly topic: string;
  /** Under which votes are signed. */
  epoch: number;
  readonly notes: Notes;
  readonly figures: Record<string, number | string | boolean> = {};
  readonly #say: (text: string) => void;
  readonly #refusalsBefore: Refusals;
  #publishedAtMs: number | null = null;
  #round = 0;
  #markers = 0;

  private constructor(init: {
    readonly cluster: LocalCluster;
    readonly servers: LocalServers;
    readonly attack: Attack;
    readonly attacker: Attacker;
    readonly say: (text: string) => void;
    readonly etcd: EtcdEyes;
    readonly transactions: ReadonlySet<string>;
    readonly refusals: Refusals;
    readonly recorders: ReadonlyMap<string, number>;
  }) {
    this.cluster = init.cluster;
    this.servers = init.servers;
    this.attack = init.attack;
    this.attacker = init.attacker;
    this.etcd = init.etcd;
    this.#say = init.say;
    this.traffic = new HonestTraffic(init.transactions);
    this.epoch = init.cluster.set.epoch;
    this.topic = `quorate/${init.cluster.clusterId}/votes/1`;
    this.#refusalsBefore = init.refusals;
    this.notes = {
      problems: [],
      refused: null,
      banInEtcdMs: null,
      banEverywhereMs: null,
      recordersBefore: init.recorders,
    };
  }

  static async set(init: {
    readonly cluster: LocalCluster;
    readonly servers: LocalServers;
    readonly attack: Attack;
    readonly attacker: Attacker;
    readonly say: (text: string) => void;
  }): Promise<Stage> {
    const { cluster, servers, attack } = init;
    const etcd = new EtcdEyes(servers.etcd.endpoints[0] ?? "", cluster);
    const running = cluster.nodes.filter((node) => node.running);
    const { reaction } = attack;
    return new Stage({
      ...init,
      etcd,
      transactions: new Set((await etcd.under("transaction_status/")).keys()),
      refusals: await readRefusals(running),
      recorders: reaction.kind === "ban" ? await recordersOf(running, reaction.reason) : new Map(),
    });
  }

  say(text: string): void {
    this.#say(text);
  }

  /** A condition that must hold; the attack goes on when it does not. */
  check(holds: boolean, what: string): void {
    if (!holds) this.notes.problems.push(what);
  }

  /** Honest nodes that run. */
  get honest(): readonly LocalNode[] {
    const evil = this.attack.attackers ?? [ATTACKER];
    return this.cluster.nodes.filter((node) => node.running && !evil.includes(node.name));
  }

  node(name: string): LocalNode {
    const node = this.cluster.nodes.find((candidate) => candidate.name === name);
    if (node === undefined) throw new Error(`there is no ${name}`);
    return node;
  }

  /** Under which a node is reached, its peer id at the end. */
  addressOf(node: LocalNode): string {
    const config: { network: { listen: readonly string[] } } = JSON.parse(
      readFileSync(node.configFile, "utf8"),
    );
    return `${config.network.listen[0]}/p2p/${this.peerIdOf(node.name)}`;
  }

  peerIdOf(name: string): string {
    const trustee = this.cluster.set.trustees.find((t) => t.nodeId === name);
    if (trustee === undefined) throw new Error(`${name} is no trustee`);
    return trustee.peerId;
  }

  /** Of these nodes, for a publication to them alone. */
  peerIdsOf(nodes: readonly LocalNode[]): readonly string[] {
    return nodes.map((node) => this.peerIdOf(node.name));
  }

  /** A trustee's key: the attacker's own, or one that the rehearsal lends it to make a point. */
  key(nodeId: string): Promise<Identity> {
    return stolenIdentity(this.cluster, nodeId);
  }

  /** Brings an identity on the network, let in by every honest node. */
  async join(identity: Identity, nodes: readonly LocalNode[] = this.honest): Promise<EvilPeer> {
    const { name, seed } = identity;
    const peer = await EvilPeer.open(this.attacker, { name, seed });
    const outcomes = await peer.connect(
      nodes.map((node) => this.addressOf(node)),
      [this.topic],
    );
    const out = outcomes.filter((outcome) => !outcome.admitted);
    if (out.length > 0) throw new Error(`${name} was not let in: ${JSON.stringify(out)}`);
    return peer;
  }

  /** The trustee in the attacker's hand, on the network. */
  async joinAsTrustee(): Promise<{ readonly key: Identity; readonly peer: EvilPeer }> {
    const key = await this.key(ATTACKER);
    return { key, peer: await this.join(key) };
  }

  /** A peer with a key of its own that nobody knows. */
  async joinAsStranger(
    name = "stranger",
  ): Promise<{ readonly key: Identity; readonly peer: EvilPeer }> {
    const key = strangerIdentity(name);
    return { key, peer: await this.join(key) };
  }

  /** Frame bytes: votes of one signer under one signature; by default they say that they are the signer's. */
  frame(signer: Identity, ...votes: readonly StageVote[]): Uint8Array {
    const base = {
      nodeId: signer.name,
      clusterId: this.cluster.clusterId,
      epoch: this.epoch,
    };
    return frameBytes(
      signer,
      votes.map((vote) => voteOf({ ...base, ...vote })),
    );
  }

  envelop(author: Identity, data: Uint8Array, seqno?: Uint8Array): WireMessage {
    return envelop(author, this.topic, data, seqno);
  }

  /** Notes when the crime was published. */
  published({ atMs, sent }: { readonly atMs: number; readonly sent: number }): void {
    if (sent === 0) throw new Error("the publication reached nobody");
    this.#publishedAtMs ??= atMs;
  }

  /** Some transactions on which every honest node votes; each must be decided. */
  async round(nodes: readonly LocalNode[] = this.honest): Promise<void> {
    this.#round++;
    const ids = Array.from(
      { length: ROUND_TRANSACTIONS },
      (_, i) => `${this.attack.name}-honest-${this.#round}-${i}`,
    );
    await Promise.all(ids.map((txId, i) => this.traffic.cast(txId, String(100 + i), nodes)));
    const first = nodes[0];
    if (first === undefined) throw new Error("no honest node runs");
    await Promise.all(ids.map((txId) => this.traffic.reached(first, txId)));
  }

  /**
   * Has each node record a vote of the attacker's own, sent to that node alone: streams keep their
   * order, so whatever was sent before it has been judged by then.
   */
  async allJudged(peer: EvilPeer, key: Identity): Promise<void> {
    this.#markers++;
    for (const node of this.honest) {
      const txId = `${this.attack.name}-marker-${this.#markers}-${node.name}`;
      const data = this.frame(key, { txId, value: "1" });
      await peer.publish([this.envelop(key, data)], [this.peerIdOf(node.name)]);
      await this.recorded(txId, key.name);
    }
  }

  /** The transaction that the attack is about. */
  get target(): string {
    return `${this.attack.name}-target`;
  }

  /** Waits until a trustee's vote is in etcd. */
  async recorded(txId: string, nodeId: string): Promise<void> {
    await waitUntil(async () => (await this.etcd.under(`votes/${txId}/`)).has(nodeId), {
      timeoutMs: BAN_TIMEOUT_MS,
      what: `the vote of ${nodeId} on ${txId}`,
    });
  }

  /** Waits until a trustee is banned in etcd and by every honest node, and notes how long it took. */
  async banned(nodeId: string, reason: ViolationType): Promise<void> {
    const peerId = this.peerIdOf(nodeId);
    const sinceMs = this.#publishedAtMs ?? Date.now();
    const wait = async (what: string, holds: () => Promise<boolean>): Promise<number> => {
      await waitUntil(holds, { timeoutMs: BAN_TIMEOUT_MS, what, pollMs: BAN_POLL_MS });
      return Date.now() - sinceMs;
    };
    const [inEtcd, ...atNodes] = await Promise.all([
      wait(`the ban of ${nodeId} in etcd`, async () => (await this.etcd.bans()).has(peerId)),
      ...this.honest.map((node) =>
        wait(`the ban of ${nodeId} on ${node.name}`, async () => (await bansAt(node)).has(peerId)),
      ),
    ]);
    this.notes.banInEtcdMs = inEtcd;
    this.notes.banEverywhereMs = Math.max(inEtcd, ...atNodes);
    const enforced = await enforcementsOf(this.honest);
    this.figures["enforcedWithin10Ms"] = `${enforced.within10Ms} of ${enforced.all}`;
    const found = (await this.etcd.bans()).get(peerId)?.["reason"];
    this.check(found === reason, `${nodeId} is banned for ${String(found)}, not for ${reason}`);
  }

  /** Waits until no honest node lets the peer in any more. */
  async cutOff(peer: EvilPeer): Promise<void> {
    const sinceMs = performance.now();
    await waitUntil(async () => (await peer.admittedBy()).length === 0, {
      timeoutMs: BAN_TIMEOUT_MS,
      what: `${peer.name} to be disconnected everywhere`,
    });
    this.figures["disconnectedMs"] = Math.round(performance.now() - sinceMs);
  }

  /** Has the attacker's trustee banned for a double vote, as the way to attacks by a banned peer. */
  async getBanned(): Promise<{ readonly key: Identity; readonly peer: EvilPeer }> {
    const txId = `${this.attack.name}-prelude`;
    const joined = await this.joinAsTrustee();
    const { key, peer } = joined;
    await this.traffic.cast(txId, "7", this.honest.slice(0, 1));
    this.traffic.mustAbort(txId);
    const messages = ["7", "8"].map((value) => this.envelop(key, this.frame(key, { txId, value })));
    this.published(await peer.publish(messages));
    await this.banned(key.name, "DOUBLE_VOTING");
    await this.cutOff(peer);
    await peer.close();
    return joined;
  }

  /** A peer that nobody lets in publishes a vote, which must come to nothing. */
  async voteIsNotTaken(peer: EvilPeer, key: Identity): Promise<void> {
    const txId = `${this.attack.name}-${peer.name}-vote`;
    await peer.publish([this.envelop(key, this.frame(key, { txId, value: "9" }))]);
    await this.round();
    const votes = await this.etcd.under(`votes/${txId}/`);
    this.check(votes.size === 0, `a vote of the banned ${key.name} was recorded`);
    const links = await peer.admittedBy();
    this.check(links.length === 0, `${peer.name} is let in by ${links.length} nodes`);
  }

  /** Votes that each honest node has heard by gossip, ever. */
  async gossipVotes(): Promise<ReadonlyMap<string, number>> {
    const counts = await Promise.all(
      this.honest.map(async (node) => {
        const sample = (await samplesOf(node)).find(
          (s) => s.name === "votes_received_total" && s.labels["source"] === "gossip",
        );
        return [node.name, sample?.value ?? 0] as const;
      }),
    );
    return new Map(counts);
  }

  /** Memory that each honest node holds on to, in bytes: garbage mostly dies before it gets there. */
  memory(): Promise<ReadonlyMap<string, number>> {
    return heldBytes(this.honest);
  }

  /** Checks how much more the nodes hold on to than before. */
  async memoryGrewAtMost(before: ReadonlyMap<string, number>, bytesMax: number): Promise<void> {
    const grown = [...(await this.memory())].map(
      ([name, bytes]) => bytes - (before.get(name) ?? bytes),
    );
    const mostMiB = Math.round((10 * Math.max(...grown)) / 1_048_576) / 10;
    this.figures["memoryGrowthMiB"] = mostMiB;
    this.check(
      mostMiB * 1_048_576 <= bytesMax,
      `a node holds ${mostMiB} MiB more than before, more than ${bytesMax / 1_048_576}`,
    );
  }

  /** What was turned away since the attack began. */
  async refusals(): Promise<ReadonlyMap<string, number>> {
    return growth(this.#refusalsBefore, await readRefusals(this.honest));
  }

  /**
   * Waits until refusals for any of these reasons have been counted at least so often: only then
   * is it known that the attack arrived and was turned away.
   */
  async turnedAway(atLeast: number, ...reasons: readonly string[]): Promise<void> {
    let seen: ReadonlyMap<string, number> = new Map();
    await waitUntil(
      async () => {
        seen = await this.refusals();
        return reasons.reduce((sum, r) => sum + (seen.get(r) ?? 0), 0) >= atLeast;
      },
      { timeoutMs: REFUSAL_TIMEOUT_MS, what: `refusals`, pollMs: 50 },
    ).catch(() => {
      this.check(
        false,
        `only ${[...seen].map(([r, n]) => `${r} ${n}`).join(", ") || "nothing"} was turned away, not ${atLeast} for ${reasons.join(" or ")}`,
      );
    });
  }

  /** How the attack was turned away, where no counter tells. */
  refusedBecause(how: string): void {
    this.notes.refused = how;
  }

  /** Stored violations of a trustee, by type: their evidence, and the ids under which it is exported. */
  async violationsOf(
    nodeId: string,
  ): Promise<ReadonlyMap<string, { readonly id: string; readonly evidence: Evidence }>> {
    const peerId = this.peerIdOf(nodeId);
    const all = await this.etcd.under("violations/");
    return new Map(
      [...all].flatMap(([path, json]) => {
        const [, peer, type] = path.split("/");
        if (peer !== peerId || type === undefined) return [];
        const evidence = recordOf(json)["evidence"] as Evidence;
        return [[type, { id: path, evidence }] as const];
      }),
    );
  }
}
