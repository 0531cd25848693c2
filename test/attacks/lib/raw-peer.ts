import { noise } from "@chainsafe/libp2p-noise";
import { yamux } from "@chainsafe/libp2p-yamux";
import { circuitRelayServer, circuitRelayTransport } from "@libp2p/circuit-relay-v2";
import { privateKeyFromRaw } from "@libp2p/crypto/keys";
import { identify } from "@libp2p/identify";
import type { Connection, PeerId, Stream } from "@libp2p/interface";
import { tcp } from "@libp2p/tcp";
import { multiaddr } from "@multiformats/multiaddr";
import { createVoteSigner } from "@quorate/crypto-sodium";
import { createLibp2p, type Libp2p } from "libp2p";
import type { ConnectOutcome } from "./attacker-protocol.ts";
import { framed, RpcReader, subscribeRpc, type WireMessage } from "./wire.ts";

const MESHSUB = "/meshsub/1.1.0";
/** Messages kept of what is overheard: the newest are what replays need. */
const HEARD_MAX = 10_000;
/** Bytes that may wait for a slow reader before the stream breaks. */
const WRITE_BUFFER_BYTES = 64 * 1_024 * 1_024;

/** How we stand with one node. */
interface Link {
  connection: Connection;
  stream: Stream;
  readonly reader: RpcReader;
}

/**
 * A peer that speaks GossipSub by hand: real TCP, Noise and yamux, but every RPC is whatever bytes
 * it is given. It answers nothing, forwards nothing, and knows of nobody whom it was not told of.
 */
export class RawPeer {
  readonly node: Libp2p;
  readonly heard: WireMessage[] = [];
  readonly #links = new Map<string, Link>();
  readonly #readers = new Map<string, RpcReader>();

  private constructor(node: Libp2p) {
    this.node = node;
  }

  static async open(options: {
    readonly seed: Uint8Array;
    readonly listen: readonly string[];
    readonly relay: boolean;
  }): Promise<RawPeer> {
    const { publicKey } = createVoteSigner(options.seed);
    const services = options.relay
      ? {
          identify: identify(),
          relay: circuitRelayServer({ reservations: { applyDefaultLimit: false } }),
        }
      : {};
    const node: Libp2p = await createLibp2p({
      privateKey: privateKeyFromRaw(Buffer.concat([options.seed, publicKey])),
      addresses: { listen: [...options.listen] },
      transports: options.relay ? [tcp(), circuitRelayTransport()] : [tcp()],
      connectionEncrypters: [noise()],
      streamMuxers: [yamux({ streamOptions: { maxWriteBufferLength: WRITE_BUFFER_BYTES } })],
      // Loopback is where the targets are; the default gater refuses it.
      connectionGater: { denyDialMultiaddr: () => false },
      connectionMonitor: { enabled: false },
      connectionManager: { reconnectRetries: 0, maxParallelDials: 50 },
      services: { ...services },
      start: false,
    });
    const peer = new RawPeer(node);
    await node.handle(MESHSUB, (stream, connection) => peer.#listen(stream, connection), {
      runOnLimitedConnection: true,
      maxInboundStreams: 8,
    });
    await node.start();
    return peer;
  }

  get addresses(): readonly string[] {
    return this.node.getMultiaddrs().map(String);
  }

  /** Connects, subscribes, and waits for the other side's own gossip stream: its sign that we are let in. */
  async connect(
    address: string,
    topics: readonly string[],
    timeoutMs: number,
  ): Promise<ConnectOutcome> {
    const peerId = address.split("/p2p/").at(-1) ?? "";
    const refused = (detail: string): ConnectOutcome => ({
      address,
      peerId,
      admitted: false,
      detail,
    });
    const deadlineMs = performance.now() + timeoutMs;
    const signal = AbortSignal.timeout(timeoutMs);
    try {
      this.#readers.delete(peerId);
      const connection = await this.node.dial(multiaddr(address), { signal, force: true });
      await this.#openStream(connection, peerId, topics, signal);
      while (performance.now() < deadlineMs) {
        if (connection.status !== "open") return refused("the connection was closed");
        if (this.isAdmitted(peerId)) return { address, peerId, admitted: true, detail: "let in" };
        await pause(5);
      }
      return refused("no gossip stream came back");
    } catch (error) {
      return refused(error instanceof Error ? `${error.name}: ${error.message}` : "cut off");
    }
  }

  async #openStream(
    connection: Connection,
    peerId: string,
    topics: readonly string[],
    signal: AbortSignal,
  ): Promise<void> {
    const stream = await connection.newStream(MESHSUB, { signal, runOnLimitedConnection: true });
    stream.maxWriteBufferLength = WRITE_BUFFER_BYTES;
    this.#links.set(peerId, { connection, stream, reader: new RpcReader() });
    if (topics.length > 0) stream.send(framed(subscribeRpc(topics)));
  }

  isAdmitted(peerId: string): boolean {
    const open = this.#links.get(peerId)?.connection.status === "open";
    return open && this.#readers.get(peerId)?.heard === true;
  }

  /** Who lets us in at this moment. */
  get admitted(): readonly string[] {
    return [...this.#links.keys()].filter((peerId) => this.isAdmitted(peerId));
  }

  /** Puts bytes on the gossip streams to some peers. @returns to how many it went */
  write(to: readonly string[], bytes: Uint8Array): number {
    const targets = to.length > 0 ? to : [...this.#links.keys()];
    let count = 0;
    for (const peerId of targets) {
      const stream = this.#links.get(peerId)?.stream;
      if (stream === undefined || stream.status !== "open") continue;
      try {
        stream.send(bytes);
        count++;
      } catch {
        // Closed under our hands: the other side has had enough.
      }
    }
    return count;
  }

  /** Bytes that wait to be taken by the slowest of these peers. */
  backlog(to: readonly string[]): number {
    const targets = to.length > 0 ? to : [...this.#links.keys()];
    return Math.max(
      0,
      ...targets.map((peerId) => this.#links.get(peerId)?.stream.writeBufferLength ?? 0),
    );
  }

  /** Gives a peer a reservation that it never asked for, so that we relay to it. */
  reserveFor(peer: PeerId): void {
    const relay: unknown = Reflect.get(this.node.services, "relay");
    const store: unknown =
      typeof relay === "object" && relay !== null ? Reflect.get(relay, "reservationStore") : null;
    if (typeof store !== "object" || store === null || !("reserve" in store))
      throw new Error("this peer is no relay");
    const connection = this.node.getConnections(peer)[0];
    if (connection === undefined) throw new Error("the relay is not connected with its target");
    const reserve: unknown = store.reserve;
    if (typeof reserve !== "function") throw new Error("this relay is built differently");
    reserve.call(store, peer, connection.remoteAddr);
  }

  async close(): Promise<void> {
    await this.node.stop();
  }

  async #listen(stream: Stream, connection: Connection): Promise<void> {
    const peerId = connection.remotePeer.toString();
    const reader = new RpcReader();
    this.#readers.set(peerId, reader);
    try {
      for await (const chunk of stream) {
        for (const message of reader.push(chunk.subarray())) {
          this.heard.push(message);
          if (this.heard.length > HEARD_MAX) this.heard.shift();
        }
      }
    } catch {
      // The connection ended; `admitted` shows it.
    }
    if (this.#readers.get(peerId) === reader) this.#readers.delete(peerId);
  }
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
