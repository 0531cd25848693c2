import { gossipsub } from "@chainsafe/libp2p-gossipsub";
import { noise } from "@chainsafe/libp2p-noise";
import { yamux } from "@chainsafe/libp2p-yamux";
import { autoNAT } from "@libp2p/autonat";
import { bootstrap } from "@libp2p/bootstrap";
import { circuitRelayServer, circuitRelayTransport } from "@libp2p/circuit-relay-v2";
import { type Identify, type IdentifyPush, identify, identifyPush } from "@libp2p/identify";
import {
  FaultTolerance,
  type Libp2p,
  type PeerId as Libp2pPeerId,
  type PrivateKey,
  type ServiceMap,
} from "@libp2p/interface";
import { kadDHT, passthroughMapper } from "@libp2p/kad-dht";
import { type Ping, ping } from "@libp2p/ping";
import { tcp } from "@libp2p/tcp";
import { createLibp2p, type Libp2pOptions } from "libp2p";
import { banGater, type GaterRules } from "./ban-gater.ts";
import type { BoundedDatastore } from "./bounded-datastore.ts";
import { forgetfulDatastore } from "./forgetful-datastore.ts";
import type { BootstrapPeer, GossipLimits } from "./options.ts";
import { quietLogger } from "./quiet-logger.ts";
import { type GuardRules, hardenRouter, type Router } from "./router-guard.ts";
import { routerOptions } from "./router-options.ts";

export interface NodeServices extends ServiceMap {
  readonly identify: Identify;
  readonly identifyPush: IdentifyPush;
  readonly ping: Ping;
  readonly autonat: unknown;
  readonly relay: unknown;
  readonly dht: DhtTable;
  readonly router: Router;
}

/** The part of the DHT that its published interface leaves out but its class has. */
export interface DhtTable {
  readonly routingTable: {
    /** At most 64 buckets of 20 peers. */
    readonly size: number;
    remove(peer: Libp2pPeerId): Promise<void>;
  };
}

export type Node = Libp2p<NodeServices>;

export interface NodeInit {
  readonly privateKey: PrivateKey;
  readonly listen: readonly string[];
  readonly announce: readonly string[];
  readonly bootstrap: readonly BootstrapPeer[];
  readonly dhtProtocol: string;
  readonly limits: GossipLimits;
  readonly rules: GuardRules;
  readonly gater: GaterRules;
  /** For what is known of peers. */
  readonly datastore: BoundedDatastore;
  readonly isBannedText: (peer: string) => boolean;
}

const SECOND_MS = 1_000;
const DAY_MS = 86_400 * SECOND_MS;
const PROTOCOL_PREFIX = "ipfs";

/** A libp2p node, not started: no port is open and nothing is dialled. */
export async function createNode(init: NodeInit): Promise<Node> {
  return createLibp2p<NodeServices>({
    ...networkOptions(init),
    ...connectionOptions(init.limits),
    datastore: init.datastore,
    connectionGater: banGater(init.gater),
    services: services(init),
    logger: quietLogger,
    nodeInfo: { name: "quorate", version: "1", userAgent: "quorate/1" },
    start: false,
  });
}

/** @see spec §5.1 Table 2 */
function networkOptions(init: NodeInit): Libp2pOptions<NodeServices> {
  return {
    privateKey: init.privateKey,
    addresses: {
      listen: [...init.listen],
      announce: [...init.announce],
      // What strangers say our address is, until AutoNAT has checked it.
      maxObservedAddresses: 10,
    },
    // A listen address that cannot be had is the operator's to know, at once.
    transportManager: { faultTolerance: FaultTolerance.FATAL_ALL },
    transports: [
      tcp({
        backlog: 511,
        maxConnections: init.limits.connectionsMax + inboundPendingMax(init.limits),
        // Longer than the pings that keep a live connection busy.
        inboundSocketInactivityTimeout: 120 * SECOND_MS,
        outboundSocketInactivityTimeout: 120 * SECOND_MS,
        // Votes are small and urgent: Nagle would hold them back.
        dialOpts: { noDelay: true, keepAlive: true },
        listenOpts: { noDelay: true, keepAlive: true },
      }),
      // Lets a node behind NAT listen on `<relay address>/p2p-circuit`.
      circuitRelayTransport({ reservationCompletionTimeout: 10 * SECOND_MS }),
    ],
    connectionEncrypters: [noise()],
    streamMuxers: [
      yamux({
        enableKeepAlive: true,
        keepAliveInterval: 30 * SECOND_MS,
        // A peer opens a handful of streams; a thousand (the default) is an attack.
        maxInboundStreams: 128,
        maxOutboundStreams: 256,
        maxMessageSize: 64 * 1_024,
        maxEarlyStreams: 10,
        streamOptions: {
          initialStreamWindowSize: 256 * 1_024,
          maxStreamWindowSize: 4 * 1_024 * 1_024,
          inactivityTimeout: 120 * SECOND_MS,
          maxReadBufferLength: 8 * 1_024 * 1_024,
          maxWriteBufferLength: 8 * 1_024 * 1_024,
        },
      }),
    ],
    peerDiscovery:
      // The module refuses an empty list.
      init.bootstrap.length === 0
        ? []
        : [
            bootstrap({
              list: init.bootstrap.map((peer) => peer.address),
              timeout: 0,
              tagName: "bootstrap",
              tagValue: 50,
            }),
          ],
    peerStore: {
      // A trustee must be found again after a long outage, when nobody is left to ask.
      maxAddressAge: 7 * DAY_MS,
      maxPeerAge: 7 * DAY_MS,
    },
  };
}

/** Handshakes at once, trustees' included. The `FrontDoor` shares them out, for to libp2p all are alike. */
function inboundPendingMax(limits: GossipLimits): number {
  return 4 * limits.inboundPendingMax;
}

function connectionOptions(limits: GossipLimits): Libp2pOptions<NodeServices> {
  return {
    connectionManager: {
      maxConnections: limits.connectionsMax,
      // The defaults (5 a second per IP, 10 pending) refuse 14 nodes on one address.
      inboundConnectionThreshold: limits.inboundPerSecondMax,
      maxIncomingPendingConnections: inboundPendingMax(limits),
      maxParallelDials: 32,
      maxDialQueueLength: 500,
      maxPeerAddrsToDial: 16,
      dialTimeout: 5 * SECOND_MS,
      addressDialTimeout: 3 * SECOND_MS,
      inboundUpgradeTimeout: 5 * SECOND_MS,
      outboundStreamProtocolNegotiationTimeout: 5 * SECOND_MS,
      inboundStreamProtocolNegotiationTimeout: 5 * SECOND_MS,
      connectionCloseTimeout: SECOND_MS,
      // Left out, these become NaN and all retries are spent within milliseconds. They
      // bridge a short loss; for a long one the supervisor goes on for ever.
      reconnectRetries: 5,
      reconnectRetryInterval: 500,
      reconnectBackoffFactor: 2,
      maxParallelReconnects: 8,
    },
    connectionMonitor: {
      enabled: true,
      // Finds a peer that vanished without closing (power loss, a cut cable).
      pingInterval: 10 * SECOND_MS,
      // A busy event loop is not a dead peer: the adaptive timeout may not go lower.
      pingTimeout: { minTimeout: 10 * SECOND_MS, maxTimeout: 30 * SECOND_MS },
      abortConnectionOnPingFailure: true,
      protocolPrefix: PROTOCOL_PREFIX,
    },
  };
}

type ServiceFactories = NonNullable<Libp2pOptions<NodeServices>["services"]>;

function services(init: NodeInit): ServiceFactories {
  const identifyInit = {
    protocolPrefix: PROTOCOL_PREFIX,
    timeout: 5 * SECOND_MS,
    maxMessageSize: 8_192,
    maxInboundStreams: 2,
    maxOutboundStreams: 2,
    runOnLimitedConnection: true,
  };
  return {
    identify: identify({ ...identifyInit, runOnConnectionOpen: true }),
    // A peer that connected while we were still registering protocols learns of them.
    identifyPush: identifyPush(identifyInit),
    ping: ping({
      protocolPrefix: PROTOCOL_PREFIX,
      maxInboundStreams: 4,
      maxOutboundStreams: 4,
      timeout: 10 * SECOND_MS,
      runOnLimitedConnection: true,
    }),
    autonat: autoNAT({
      protocolPrefix: "libp2p",
      timeout: 30 * SECOND_MS,
      startupDelay: 5 * SECOND_MS,
      refreshInterval: 60 * SECOND_MS,
      maxInboundStreams: 2,
      maxOutboundStreams: 2,
      maxMessageSize: 8_192,
    }),
    relay: circuitRelayServer({
      hopTimeout: 30 * SECOND_MS,
      maxInboundHopStreams: 32,
      maxOutboundHopStreams: 32,
      maxOutboundStopStreams: 32,
      reservations: {
        maxReservations: 15,
        reservationTtl: 2 * 3_600 * SECOND_MS,
        // The default (2 minutes, 128 KiB) would cut a trustee off in mid-vote. Bounded
        // all the same, for anyone may ask for a reservation.
        applyDefaultLimit: true,
        defaultDurationLimit: 2 * 3_600 * SECOND_MS,
        defaultDataLimit: 1n << 30n,
      },
    }),
    dht: (components) => {
      const dht = kadDHT({
        // The cluster's own, never the public one.
        protocol: init.dhtProtocol,
        // Private addresses are kept: many clusters live on one (the default drops them).
        peerInfoMapper: passthroughMapper,
        // Every node answers queries; as clients, nodes of a small cluster find nobody.
        clientMode: false,
        // Before the first peer a query ends empty instead of blocking.
        allowQueryWithZeroPeers: true,
        // Together at most 64 buckets: a peer is put in only when it answers, and a full
        // bucket keeps those that still do, so a swarm of new ids can't push them out.
        kBucketSize: 20,
        prefixLength: 6,
        alpha: 3,
        disjointPaths: 3,
        initialQuerySelfInterval: SECOND_MS,
        querySelfInterval: 300 * SECOND_MS,
        maxInboundStreams: 32,
        maxOutboundStreams: 64,
        incomingMessageTimeout: 10 * SECOND_MS,
        onPeerConnectTimeout: 10 * SECOND_MS,
      })({
        peerId: components.peerId,
        privateKey: components.privateKey,
        registrar: components.registrar,
        addressManager: components.addressManager,
        peerStore: components.peerStore,
        connectionManager: components.connectionManager,
        events: components.events,
        logger: components.logger,
        ping: components.ping,
        datastore: forgetfulDatastore(),
      });
      if (!hasRoutingTable(dht)) throw new Error("this version of kad-dht is not known here");
      return dht;
    },
    router: (components) =>
      hardenRouter(
        gossipsub(routerOptions(init.rules.topic, init.isBannedText))(components),
        init.rules,
      ),
  };
}

function hasRoutingTable(dht: object): dht is DhtTable {
  const table: unknown = Reflect.get(dht, "routingTable");
  return table !== null && typeof table === "object" && "remove" in table;
}
