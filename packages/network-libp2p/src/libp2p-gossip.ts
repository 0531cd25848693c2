import type { GossipsubMessage } from "@chainsafe/libp2p-gossipsub";
import type { Connection, PeerId as Libp2pPeerId } from "@libp2p/interface";
import { LIMITS, type PeerId, parsePeerId } from "@quorate/core";
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
import { messageOf } from "./envelope.ts";
import { GossipError } from "./errors.ts";
import { FairTurns } from "./fair-turns.ts";
import { ForwarderLimits } from "./forwarder-limits.ts";
import { FrontDoor } from "./front-door.ts";
import { type GossipMemory, measureMemory } from "./gossip-memory.ts";
import { createGossipMetrics, type GossipMetrics, NO_GOSSIP_METRICS } from "./gossip-metrics.ts";
import { peerIdFromSeed, privateKeyFromSeed, toLibp2pPeerId, toPeerId } from "./identity.ts";
import { Judge } from "./judge.ts";
import { KeptPeers } from "./kept-peers.ts";
import { createNode, type Node } from "./libp2p-node.ts";
import {
  closestPeers,
  cutPeer,
  dialPeer,
  gossipStatusOf,
  isConnected,
  subscribersOf,
} from "./node-queries.ts";
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
  readonly #kept: KeptPeers;
  readonly #changes = new Changes();
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
    this.#kept = new KeptPeers(this.localPeerId, { logger: deps.logger, node: () => this.#node });
    this.#turns = new FairTurns(deps.clock);
    this.#judge = new Judge(
      { validatingMax: this.#limits.validatingMax, timeoutMs: this.#limits.validationTimeoutMs },
      deps,
    );
    const peers = {
      isConnected: (peer: PeerId) => isConnected(this.#node, peer),
      isBanned: (peer: PeerId) => this.#roster.isShut(peer),
    };
    this.#redialer = new Redialer(
      { firstMs: this.#limits.redialFirstMs, maxMs: this.#limits.redialMaxMs },
      {
        ...peers,
        clock: deps.clock,
        logger: deps.logger,
        random: deps.random ?? systemRandom,
        dial: (peer, addresses) => dialPeer(this.#node, peer, addresses),
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
        closestPeers: (key, signal) => closestPeers(this.#node, key, signal),
        dial: (peer) => dialPeer(this.#node, peer, []),
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
    this.#kept.replace(peers);
    this.#roster.setPersistent(this.#kept.peers);
    this.#peerData.repin();
    this.#retarget();
  }

  status(): GossipStatus {
    return gossipStatusOf(this.#node, this.#listeners());
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
      return this.#node !== null && subscribersOf(this.#node, this.#listeners()).length >= count;
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
    this.#kept.tagAll();
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
      this.#kept.onConnect(peer);
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

  #onMessage(node: Node, received: GossipsubMessage): void {
    const report = (verdict: GossipVerdict): void => {
      this.#metrics.received(verdict);
      if (this.#stopping !== null) return;
      node.services.router.reportMessageValidationResult(
        received.msgId,
        received.propagationSource.toString(),
        toValidatorResult(verdict),
      );
    };
    const message = messageOf(received);
    const { author, forwarder, data } = message;
    // A ban may have come while the signature was being verified.
    if (this.#roster.isBanned(author) || this.#roster.isShut(forwarder)) return report("IGNORE");
    this.#judge.judge(message, (verdict) => {
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
    if (this.#node === null) return;
    cutPeer(this.#node, peer);
    this.#changes.notify();
  }

  #listeners(): Parameters<typeof gossipStatusOf>[1] {
    return { topic: this.#topic, isShut: (peer) => this.#roster.isShut(peer) };
  }

  #retarget(): void {
    const targets = new Map<PeerId, string[]>();
    for (const peer of this.#kept.peers) targets.set(peer, []);
    for (const { peerId, address } of this.#bootstrap)
      targets.set(peerId, [...(targets.get(peerId) ?? []), address]);
    this.#redialer.setTargets(targets);
  }

  #inBackground(failure: string, work: () => Promise<unknown>): void {
    work().catch((error: unknown) => this.#logger.warn(failure, { error }));
  }
}
