import { randomBytes } from "node:crypto";
import type { GossipsubMessage } from "@chainsafe/libp2p-gossipsub";
import type { Connection, PeerId as Libp2pPeerId } from "@libp2p/interface";
import { multiaddr } from "@multiformats/multiaddr";
import { assert, LIMITS, type PeerId, parsePeerId } from "@quorate/core";
import type {
  AbortOptions,
  Clock,
  Gossip,
  GossipRefusal,
  GossipRefusalListener,
  GossipStatus,
  GossipValidator,
  GossipVerdict,
  Logger,
  MetricsFactory,
  Random,
} from "@quorate/ports";
import { BoundedDatastore } from "./bounded-datastore.ts";
import { Changes } from "./changes.ts";
import { Conduct } from "./conduct.ts";
import { ConnectionShares } from "./connection-shares.ts";
import { DeafPeers } from "./deaf-peers.ts";
import { envelopeOf } from "./envelope.ts";
import { GossipError } from "./errors.ts";
import { FairTurns } from "./fair-turns.ts";
import { ForwarderLimits } from "./forwarder-limits.ts";
import { FrontDoor } from "./front-door.ts";
import { type GossipMemory, measureMemory } from "./gossip-memory.ts";
import { createGossipMetrics, type GossipMetrics, NO_GOSSIP_METRICS } from "./gossip-metrics.ts";
import {
  peerIdFromCanonicalMultihash,
  peerIdFromSeed,
  privateKeyFromSeed,
  toLibp2pPeerId,
  toPeerId,
} from "./identity.ts";
import { Judge } from "./judge.ts";
import { createNode, type Node } from "./libp2p-node.ts";
import {
  type BootstrapPeer,
  checkAddresses,
  dhtProtocol,
  GOSSIP_LIMITS,
  type GossipLimits,
  type GossipOptions,
  parseBootstrap,
  voteTopic,
} from "./options.ts";
import { PeerFinder } from "./peer-finder.ts";
import { PeerRoster } from "./peer-roster.ts";
import { Redialer } from "./redialer.ts";
import type { GuardRules } from "./router-guard.ts";
import { trimRouterMemory } from "./router-memory.ts";
import { systemRandom } from "./system-random.ts";
import { toValidatorResult } from "./verdict.ts";

export interface GossipDeps {
  readonly logger: Logger;
  readonly clock: Clock;
  readonly metrics?: MetricsFactory | undefined;
  /** For the jitter of re-dials; the system's generator when absent. */
  readonly random?: Random | undefined;
}

/** libp2p's connection manager counts a tag that begins so as a peer to keep. */
const KEEP_TAG = "keep-alive-trustee";
const KEEP_TAG_VALUE = 100;

/**
 * The cluster's gossip over libp2p: TCP, Noise, yamux, GossipSub and a DHT of its own.
 * Opens no port and dials nobody before `start`.
 * @throws GossipError CONFIG_INVALID for a malformed address.
 * @see spec §5
 */
export function createGossip(options: GossipOptions, deps: GossipDeps): Libp2pGossip {
  return new Libp2pGossip(options, deps);
}

/** @see createGossip */
export class Libp2pGossip implements Gossip {
  readonly localPeerId: PeerId;
  readonly #options: GossipOptions;
  readonly #limits: GossipLimits;
  readonly #bootstrap: readonly BootstrapPeer[];
  readonly #topic: string;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #metrics: GossipMetrics;
  readonly #judge: Judge;
  readonly #turns: FairTurns;
  readonly #redialer: Redialer;
  readonly #finder: PeerFinder;
  readonly #deaf: DeafPeers;
  readonly #conduct: Conduct;
  readonly #roster: PeerRoster;
  readonly #forwarders: ForwarderLimits;
  readonly #door: FrontDoor;
  readonly #shares: ConnectionShares;
  readonly #peerData: BoundedDatastore;
  readonly #changes = new Changes();
  #persistent: ReadonlySet<PeerId> = new Set();
  #refusedListener: GossipRefusalListener = () => {};
  #node: Node | null = null;
  #starting: Promise<void> | null = null;
  #stopping: Promise<void> | null = null;

  constructor(options: GossipOptions, deps: GossipDeps) {
    this.localPeerId = peerIdFromSeed(options.privateKeySeed);
    checkAddresses("listen", options.listen);
    checkAddresses("announce", options.announce ?? []);
    this.#options = options;
    this.#limits = { ...GOSSIP_LIMITS, ...options.limits };
    this.#bootstrap = parseBootstrap(options.bootstrap, this.localPeerId);
    this.#topic = voteTopic(options.clusterId);
    this.#clock = deps.clock;
    this.#logger = deps.logger;
    this.#conduct = new Conduct(this.#limits, { ...deps, onMute: (peer) => this.#cut(peer) });
    this.#roster = new PeerRoster(
      {
        banned: options.initialBans ?? [],
        named: [this.localPeerId, ...this.#bootstrap.map(({ peerId }) => peerId)],
      },
      { conduct: this.#conduct },
    );
    this.#forwarders = new ForwarderLimits(this.#limits, {
      ...deps,
      conduct: this.#conduct,
      roster: this.#roster,
    });
    this.#door = new FrontDoor(this.#limits, deps);
    this.#shares = new ConnectionShares(this.#limits, {
      roster: this.#roster,
      connections: () => this.#node?.getConnections() ?? [],
    });
    this.#peerData = new BoundedDatastore({
      entriesMax: this.#limits.peersRememberedMax,
      isPinned: (key) => this.#roster.isStoreKeyOfKnown(key),
    });
    this.#metrics =
      deps.metrics === undefined
        ? NO_GOSSIP_METRICS
        : createGossipMetrics(deps.metrics, {
            connections: () => this.#node?.getConnections().length ?? 0,
            meshPeers: () => this.#node?.services.router.mesh.get(this.#topic)?.size ?? 0,
            strangers: () => this.#shares.strangers,
            muted: () => this.#conduct.mutedCount,
          });
    this.#turns = new FairTurns(deps.clock);
    this.#judge = new Judge(
      { validatingMax: this.#limits.validatingMax, timeoutMs: this.#limits.validationTimeoutMs },
      deps,
    );
    const peers = {
      isConnected: (peer: PeerId) => this.#isConnected(peer),
      isBanned: (peer: PeerId) => this.#roster.isShut(peer),
    };
    this.#redialer = new Redialer(
      { firstMs: this.#limits.redialFirstMs, maxMs: this.#limits.redialMaxMs },
      {
        ...peers,
        clock: deps.clock,
        logger: deps.logger,
        random: deps.random ?? systemRandom,
        dial: (peer, addresses) => this.#dial(peer, addresses),
      },
    );
    this.#finder = new PeerFinder(
      {
        firstMs: this.#limits.walkFirstMs,
        maxMs: this.#limits.walkMaxMs,
        peersMax: this.#limits.discoveredPeersMax,
      },
      {
        ...peers,
        clock: deps.clock,
        logger: deps.logger,
        closestPeers: (key, signal) => this.#closestPeers(key, signal),
        dial: (peer) => this.#dial(peer, []),
        isKnown: (peer) => this.#roster.isKnown(peer),
        hasPlace: (peer) => this.#shares.hasPlace(peer),
        connectedCount: () => this.#node?.getPeers().length ?? 0,
      },
    );
    this.#deaf = new DeafPeers(deps);
    this.#retarget();
  }

  /** @see Gossip.start @throws when a listen address cannot be had. */
  start(options?: AbortOptions): Promise<void> {
    if (this.#stopping !== null)
      return Promise.reject(new GossipError("STOPPED", "a stopped gossip is not started again"));
    this.#starting ??= this.#start(options);
    return this.#starting;
  }

  /** Closes within `stopTimeoutMs`, by force if need be. @see Gossip.stop */
  stop(_options?: AbortOptions): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  setValidator(validator: GossipValidator): void {
    this.#judge.setValidator(validator);
  }

  // Before it is called there is nobody to tell from others, and everybody is known.
  setAuthors(authors: readonly PeerId[]): void {
    this.#roster.setAuthors(authors);
    this.#peerData.repin();
    this.#cutExcess();
    this.#finder.onChange();
  }

  /** The refusal's data is the network's own memory: a listener that keeps it copies it. @see Gossip.onRefused */
  onRefused(listener: GossipRefusalListener): void {
    this.#refusedListener = listener;
  }

  /**
   * @throws GossipError NOT_RUNNING, FRAME_TOO_LARGE, FRAME_EMPTY
   * @see Gossip.publish
   */
  async publish(
    data: Uint8Array,
    options?: AbortOptions,
  ): Promise<{ readonly recipients: number }> {
    options?.signal?.throwIfAborted();
    const node = this.#node;
    if (node === null || this.#stopping !== null)
      throw new GossipError("NOT_RUNNING", "gossip is not running");
    if (data.length === 0)
      throw new GossipError("FRAME_EMPTY", "a gossip frame has at least a byte");
    if (data.length > LIMITS.voteFrameBytesMax)
      throw new GossipError(
        "FRAME_TOO_LARGE",
        `a gossip frame has at most ${LIMITS.voteFrameBytesMax} bytes, but got ${data.length}`,
      );
    // A copy, because the router keeps the message to serve it again.
    const { recipients } = await node.services.router.publish(this.#topic, Uint8Array.from(data));
    this.#metrics.published();
    return { recipients: recipients.length };
  }

  // [spec §3.3]
  ban(peer: PeerId): void {
    if (!this.#roster.ban(peer)) return;
    const node = this.#node;
    if (node === null) return;
    this.#cut(peer);
    const id = toLibp2pPeerId(peer);
    this.#inBackground("banned peer not forgotten", async () => {
      await node.services.dht.routingTable.remove(id);
      await node.peerStore.delete(id);
    });
  }

  unban(peer: PeerId): void {
    if (!this.#roster.unban(peer)) return;
    this.#redialer.nudge(peer);
    this.#finder.onChange();
  }

  /**
   * Names the peers (the trustees) to stay connected with, whatever happens; replaces the
   * ones named before. Their addresses come from the DHT.
   */
  setPersistentPeers(peers: readonly PeerId[]): void {
    const before = this.#persistent;
    this.#persistent = new Set(peers.filter((peer) => peer !== this.localPeerId));
    assert(this.#persistent.size <= LIMITS.trusteesMax, "more persistent peers than trustees");
    this.#roster.setPersistent(this.#persistent);
    this.#peerData.repin();
    this.#retarget();
    for (const peer of this.#persistent) this.#tag(peer, true);
    for (const peer of before) if (!this.#persistent.has(peer)) this.#tag(peer, false);
  }

  status(): GossipStatus {
    const node = this.#node;
    if (node === null) return { listening: [], connections: [], mesh: [], subscribers: [] };
    return {
      listening: node.getMultiaddrs().map(String),
      connections: node.getConnections().flatMap((connection) => {
        const peerId = toPeerId(connection.remotePeer);
        if (peerId === null || connection.status !== "open") return [];
        return [
          {
            peerId,
            address: connection.remoteAddr.toString(),
            direction: connection.direction,
            openedAtMs: connection.timeline.open,
          },
        ];
      }),
      mesh: this.#subscribers(node).filter((peer) =>
        node.services.router.mesh.get(this.#topic)?.has(peer),
      ),
      subscribers: this.#subscribers(node),
    };
  }

  /**
   * Entries in everything that grows with the peers met; each has its bound, however many
   * ids a swarm goes through.
   */
  memory(): GossipMemory {
    return measureMemory({
      node: this.#node,
      peerData: this.#peerData,
      forwarders: this.#forwarders,
      conduct: this.#conduct,
      door: this.#door,
      shares: this.#shares,
    });
  }

  /** @throws GossipError STOPPED when stopped meanwhile. @see Gossip.waitForPeers */
  waitForPeers(count: number, options?: AbortOptions): Promise<void> {
    return this.#changes.until(() => {
      if (this.#stopping !== null) throw new GossipError("STOPPED", "gossip was stopped");
      return this.#node !== null && this.#subscribers(this.#node).length >= count;
    }, options);
  }

  async #start(options?: AbortOptions): Promise<void> {
    options?.signal?.throwIfAborted();
    const node = await createNode({
      privateKey: privateKeyFromSeed(this.#options.privateKeySeed),
      listen: this.#options.listen,
      announce: this.#options.announce ?? [],
      bootstrap: this.#bootstrap,
      dhtProtocol: dhtProtocol(this.#options.clusterId),
      limits: this.#limits,
      datastore: this.#peerData,
      gater: {
        isShut: (peer) => this.#roster.isShut(peer),
        isKnown: (peer) => this.#roster.isKnown(peer),
        hasPlace: (peer) => this.#shares.hasPlace(peer),
        door: this.#door,
      },
      isBannedText: (peer) => this.#roster.isBannedText(peer),
      rules: this.#rules(),
    });
    this.#listen(node);
    this.#node = node;
    await node.start();
    node.services.router.subscribe(this.#topic);
    for (const peer of this.#persistent) this.#tag(peer, true);
    this.#redialer.start();
    this.#finder.start();
    this.#logger.info("gossip started", {
      peerId: this.localPeerId,
      listening: node.getMultiaddrs().map(String),
    });
    if (options?.signal?.aborted === true) {
      await this.stop();
      options.signal.throwIfAborted();
    }
  }

  #rules(): GuardRules {
    const roster = this.#roster;
    const limits = this.#forwarders;
    return {
      topic: this.#topic,
      self: this.localPeerId,
      isBanned: (peer) => roster.isBanned(peer),
      isShut: (peer) => roster.isShut(peer),
      isAuthor: (peer) => roster.isAuthor(peer),
      authorOf: (from) => roster.authorOf(from),
      allowsRpc: (forwarder, bytes) => limits.allowsRpc(forwarder, bytes),
      allows: (forwarder, author, bytes, isCopy) => limits.allows(forwarder, author, bytes, isCopy),
      turn: () => this.#turns.take(),
      hasRoom: (forwarder) => this.#judge.hasRoom(forwarder),
      onRefused: (refusal) => this.#onRefused(refusal),
      onOffence: (forwarder, offence) => this.#conduct.blame(forwarder, offence),
      onDuplicate: () => this.#metrics.duplicate(),
    };
  }

  async #stop(): Promise<void> {
    // A start under way must finish first, or it would open a port after the stop.
    await this.#starting?.catch(() => {});
    this.#redialer.stop();
    await this.#finder.stop();
    this.#changes.notify();
    const node = this.#node;
    if (node === null) return;
    const late = new AbortController();
    const closed = Promise.resolve(node.stop()).then(() => true);
    const timeout = this.#clock
      .sleep(this.#limits.stopTimeoutMs, { signal: late.signal })
      .then(() => false);
    // Whichever loses must not be an unhandled rejection.
    timeout.catch(() => {});
    closed.catch(() => {});
    try {
      if (!(await Promise.race([closed, timeout]))) {
        this.#logger.warn("gossip did not close in time, connections are cut");
        for (const connection of node.getConnections()) connection.abort(new Error("stopped"));
      }
    } finally {
      late.abort();
      this.#node = null;
    }
    this.#logger.info("gossip stopped", { peerId: this.localPeerId });
  }

  #listen(node: Node): void {
    const { router } = node.services;
    node.addEventListener("peer:connect", ({ detail }) => this.#onPeer(detail, "connect"));
    node.addEventListener("peer:disconnect", ({ detail }) => this.#onPeer(detail, "disconnect"));
    node.addEventListener("peer:discovery", ({ detail }) => {
      const peer = toPeerId(detail.id);
      if (peer !== null && peer !== this.localPeerId) this.#finder.consider(peer);
    });
    node.addEventListener("connection:open", ({ detail }) => this.#onConnection(detail));
    router.addEventListener("subscription-change", () => this.#changes.notify());
    router.addEventListener("gossipsub:heartbeat", () => {
      this.#changes.notify();
      this.#tidy(node);
      this.#deaf.check(node.getConnections(), (peer) => router.streamsOutbound.has(peer));
    });
    router.addEventListener("gossipsub:message", ({ detail }) => this.#onMessage(node, detail));
  }

  #onPeer(id: Libp2pPeerId, event: "connect" | "disconnect"): void {
    const peer = toPeerId(id);
    if (peer === null) return;
    if (event === "connect") {
      this.#redialer.onConnect(peer);
      // libp2p takes the tag away when its own few retries have failed.
      if (this.#persistent.has(peer)) this.#tag(peer, true);
    } else this.#redialer.onDisconnect(peer);
    this.#finder.onChange();
    this.#logger.debug(event === "connect" ? "peer connected" : "peer disconnected", {
      peerId: peer,
    });
  }

  /** Once per heartbeat. */
  #tidy(node: Node): void {
    // What slipped in between two handshakes that finished together.
    this.#cutExcess();
    for (const peer of this.#conduct.sweep()) this.#redialer.nudge(peer);
    trimRouterMemory(node.services.router, {
      peersMax: this.#limits.peersRememberedMax,
      isKnown: (text) => {
        const peer = parsePeerId(text);
        return peer.ok && this.#roster.isKnown(peer.value);
      },
    });
  }

  #onRefused(refusal: GossipRefusal): void {
    this.#metrics.received(
      refusal.reason === "malformed_envelope" || refusal.reason === "oversized"
        ? "REJECT"
        : "IGNORE",
    );
    this.#metrics.refused(refusal.reason);
    this.#forwarders.hold(refusal);
    this.#refusedListener(refusal);
  }

  #onMessage(node: Node, { msg, msgId, propagationSource }: GossipsubMessage): void {
    const report = (verdict: GossipVerdict): void => {
      this.#metrics.received(verdict);
      if (this.#stopping !== null) return;
      node.services.router.reportMessageValidationResult(
        msgId,
        propagationSource.toString(),
        toValidatorResult(verdict),
      );
    };
    const forwarder = toPeerId(propagationSource);
    // StrictSign and the router's guard let nothing else through.
    assert(msg.type === "signed" && forwarder !== null, "a message without a signature");
    const envelope = envelopeOf(msg);
    const author = peerIdFromCanonicalMultihash(envelope.from);
    assert(author !== null, "an author that is not an Ed25519 peer");
    const { topic, data } = envelope;
    // A ban may have come while the signature was being verified.
    if (this.#roster.isBanned(author) || this.#roster.isShut(forwarder)) return report("IGNORE");
    this.#judge.judge({ topic, data, author, forwarder, envelope }, (verdict) => {
      if (verdict === "REJECT" && author === forwarder) this.#conduct.blame(author, "rejected");
      // What the validator took it has taken; it is only not passed on.
      const held = verdict === "ACCEPT" && !this.#forwarders.forwards(author, data.length);
      report(held ? "IGNORE" : verdict);
    });
  }

  #onConnection(connection: Connection): void {
    const peer = toPeerId(connection.remotePeer);
    if (peer !== null) {
      if (this.#roster.isKnown(peer)) this.#door.welcome(connection.remoteAddr);
      if (connection.direction === "inbound") this.#conduct.excuse(peer, "reconnecting");
    }
    // It is among the node's connections only after this event.
    queueMicrotask(() => this.#cutExcess());
  }

  /** Closes what has no place; a handshake that passed the gater just before a ban ends here. */
  #cutExcess(): void {
    for (const connection of this.#shares.excess())
      connection.abort(new Error("no place for this connection"));
  }

  /** Out of the mesh and disconnected, at once. */
  #cut(peer: PeerId): void {
    const node = this.#node;
    if (node === null) return;
    // Out of the mesh first, so that nothing more is forwarded to it.
    for (const mesh of node.services.router.mesh.values()) mesh.delete(peer);
    // Aborted, not closed: an orderly close would wait for the peer's part in it.
    for (const connection of node.getConnections(toLibp2pPeerId(peer)))
      connection.abort(new Error("peer is shut out"));
    this.#changes.notify();
  }

  /** Peers that subscribe and to whom a stream is open: a publish reaches them. */
  #subscribers(node: Node): PeerId[] {
    const { router } = node.services;
    return router.getSubscribers(this.#topic).flatMap((id) => {
      const peer = toPeerId(id);
      if (peer === null || this.#roster.isShut(peer)) return [];
      return router.streamsOutbound.has(peer) ? [peer] : [];
    });
  }

  #isConnected(peer: PeerId): boolean {
    const connections = this.#node?.getConnections(toLibp2pPeerId(peer)) ?? [];
    return connections.some((connection) => connection.status === "open");
  }

  async #dial(peer: PeerId, addresses: readonly string[]): Promise<void> {
    const node = this.#node;
    if (node === null) throw new GossipError("NOT_RUNNING", "gossip is not running");
    if (addresses.length > 0)
      await node.dial(addresses.map((address) => multiaddr(address))).catch(async () => {
        // The peer may have moved: then the DHT knows where to.
        await node.dial(toLibp2pPeerId(peer));
      });
    else await node.dial(toLibp2pPeerId(peer));
  }

  async *#closestPeers(key: "self" | "random", signal: AbortSignal): AsyncIterable<PeerId> {
    const node = this.#node;
    if (node === null) return;
    const bytes = key === "self" ? node.peerId.toMultihash().bytes : randomBytes(32);
    for await (const { id } of node.peerRouting.getClosestPeers(bytes, { signal })) {
      const peer = toPeerId(id);
      if (peer !== null && peer !== this.localPeerId) yield peer;
    }
  }

  #retarget(): void {
    const targets = new Map<PeerId, string[]>();
    for (const peer of this.#persistent) targets.set(peer, []);
    for (const { peerId, address } of this.#bootstrap)
      targets.set(peerId, [...(targets.get(peerId) ?? []), address]);
    this.#redialer.setTargets(targets);
  }

  #tag(peer: PeerId, keep: boolean): void {
    const node = this.#node;
    if (node === null) return;
    const tags = { [KEEP_TAG]: keep ? { value: KEEP_TAG_VALUE } : undefined };
    this.#inBackground("peer not tagged", () =>
      node.peerStore.merge(toLibp2pPeerId(peer), { tags }),
    );
  }

  #inBackground(failure: string, work: () => Promise<unknown>): void {
    work().catch((error: unknown) => this.#logger.warn(failure, { error }));
  }
}
