import { RPC } from "@chainsafe/libp2p-gossipsub/message";
import { noise } from "@chainsafe/libp2p-noise";
import { yamux } from "@chainsafe/libp2p-yamux";
import { circuitRelayTransport } from "@libp2p/circuit-relay-v2";
import { identify } from "@libp2p/identify";
import type { Connection, Libp2p, PrivateKey, Stream } from "@libp2p/interface";
import { tcp } from "@libp2p/tcp";
import { multiaddr } from "@multiformats/multiaddr";
import { concatBytes, envelopeSigningBytes, type PeerId } from "@quorate/core";
import { createLibp2p } from "libp2p";
import { peerIdFromSeed, privateKeyFromSeed, toLibp2pPeerId } from "./identity.ts";
import { voteTopic } from "./options.ts";
import { quietLogger } from "./quiet-logger.ts";
import { CLUSTER, deadline } from "./test-kit.ts";

/** For tests: a peer on real libp2p that keeps to no rule of ours. It writes GossipSub's bytes by hand. */

const PROTOCOL = "/meshsub/1.1.0";
const TOPIC = voteTopic(CLUSTER);

const running = new Set<RawPeer>();

export class RawPeer {
  static readonly topic = TOPIC;
  readonly peerId: PeerId;
  readonly #key: PrivateKey;
  readonly #node: Libp2p;
  /** The connection over which another peer took this one for a gossip peer. */
  readonly #heard = Promise.withResolvers<Connection>();
  #stream: Stream | null = null;

  private constructor(seed: Uint8Array, node: Libp2p) {
    this.peerId = peerIdFromSeed(seed);
    this.#key = privateKeyFromSeed(seed);
    this.#node = node;
  }

  /** @param options.from the local address that it dials from, such as 127.0.0.2. */
  static async start(
    seed: Uint8Array,
    options: { readonly from?: string; readonly listen?: readonly string[] } = {},
  ): Promise<RawPeer> {
    // Passed on to the socket as it is.
    const dialOpts = { noDelay: true, localAddress: options.from };
    const node = await createLibp2p({
      privateKey: privateKeyFromSeed(seed),
      addresses: { listen: [...(options.listen ?? [])] },
      transports: [tcp({ dialOpts }), circuitRelayTransport()],
      connectionEncrypters: [noise()],
      streamMuxers: [yamux()],
      // A test's own peer dials as it is told, however often.
      connectionManager: { reconnectRetries: 0 },
      connectionMonitor: { enabled: false },
      services: { identify: identify() },
      logger: quietLogger,
    });
    const peer = new RawPeer(seed, node);
    await node.handle(PROTOCOL, (stream, connection) => {
      stream.addEventListener("message", () => {});
      peer.#heard.resolve(connection);
    });
    running.add(peer);
    return peer;
  }

  /** Dials only: a connection, if it is let in. */
  dial(address: string): Promise<Connection> {
    return this.#node.dial(multiaddr(address), { signal: deadline() });
  }

  /** Connects and waits until the other side takes it for a gossip peer. */
  async join(address: string, timeoutMs?: number): Promise<void> {
    await this.dial(address);
    await this.joined(timeoutMs);
  }

  /** Waits until another peer has taken this one for a gossip peer. */
  async joined(timeoutMs?: number): Promise<void> {
    const signal = deadline(timeoutMs);
    signal.addEventListener("abort", () =>
      this.#heard.reject(new Error("never taken for a gossip peer")),
    );
    const connection = await this.#heard.promise;
    this.#stream = await connection.newStream(PROTOCOL);
  }

  /** Where it listens. */
  get address(): string {
    return String(this.#node.getMultiaddrs()[0]);
  }

  /** Connections still open. */
  get connections(): number {
    return this.#node.getConnections().filter(({ status }) => status === "open").length;
  }

  /** Opens so many more gossip streams; says how many the other side kept. */
  async openStreams(count: number): Promise<number> {
    const [connection] = this.#node.getConnections();
    if (connection === undefined) throw new Error("not connected");
    const opened = await Promise.allSettled(
      Array.from({ length: count }, () =>
        connection.newStream(PROTOCOL, { maxOutboundStreams: count + 1 }),
      ),
    );
    return opened.filter(({ status }) => status === "fulfilled").length;
  }

  /** A message signed by this peer, with these fields instead of the proper ones. */
  async message(data: Uint8Array, changes: Partial<RPC.Message> = {}): Promise<RPC.Message> {
    const from = Uint8Array.from(peerIdBytes(this.peerId));
    const seqno = changes.seqno ?? crypto.getRandomValues(new Uint8Array(8));
    const signed = envelopeSigningBytes({ from, data, sequenceNumber: seqno, topic: TOPIC });
    const signature = Uint8Array.from(await this.#key.sign(signed));
    return { from, data, seqno, topic: TOPIC, signature, ...changes };
  }

  /** @returns whether there was a stream to write to. */
  send(rpc: Partial<RPC>): boolean {
    return this.sendBytes(RPC.encode({ subscriptions: [], messages: [], ...rpc }));
  }

  sendBytes(bytes: Uint8Array): boolean {
    if (this.#stream?.status !== "open") return false;
    this.#stream.send(concatBytes(lengthPrefix(bytes.length), bytes));
    return true;
  }

  /** How much is written and not taken by the other side yet, in bytes. */
  get backlogBytes(): number {
    return this.#stream?.writeBufferLength ?? 0;
  }

  async stop(): Promise<void> {
    running.delete(this);
    await this.#node.stop();
  }
}

export async function stopRawPeers(): Promise<void> {
  await Promise.all([...running].map((peer) => peer.stop()));
}

function peerIdBytes(peer: PeerId): Uint8Array {
  return toLibp2pPeerId(peer).toMultihash().bytes;
}

function lengthPrefix(length: number): Uint8Array {
  const bytes: number[] = [];
  let left = length;
  for (; left > 127; left >>>= 7) bytes.push((left & 127) | 128);
  return Uint8Array.of(...bytes, left);
}
