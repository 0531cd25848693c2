import { createPublicKey, verify } from "node:crypto";
import { createConnection } from "node:net";
import { concatBytes, hash, LIMITS, type PeerId, parsePeerId, unwrap } from "@quorate/core";
import type { GossipEnvelope } from "@quorate/ports";
import { afterEach, describe, expect, it } from "vitest";
import { GossipError } from "./errors.ts";
import { peerIdFromPublicKey, peerIdFromSeed } from "./identity.ts";
import { createGossip } from "./libp2p-gossip.ts";
import { voteTopic } from "./options.ts";
import {
  addressOf,
  bytes,
  CLUSTER,
  deadline,
  eventually,
  realClock,
  recordingLogger,
  seedOf,
  stopAll,
  testNode,
} from "./test-kit.ts";

afterEach(stopAll);

/** The signed bytes as an outsider would rebuild them: a hand-written protobuf, no libp2p. */
function signedBytes(envelope: GossipEnvelope): Uint8Array {
  const field = (tag: number, value: Uint8Array): Uint8Array => {
    const length: number[] = [];
    for (let n = value.length; ; n >>= 7) {
      if (n < 128) {
        length.push(n);
        break;
      }
      length.push((n & 127) | 128);
    }
    return concatBytes(Uint8Array.of((tag << 3) | 2, ...length), value);
  };
  return concatBytes(
    bytes("libp2p-pubsub:"),
    field(1, envelope.from),
    field(2, envelope.data),
    field(3, envelope.sequenceNumber),
    field(4, bytes(envelope.topic)),
  );
}

function verifies(envelope: GossipEnvelope): boolean {
  // The last 32 bytes of an Ed25519 peer id's multihash are the key itself.
  const x = Buffer.from(envelope.from.subarray(-32)).toString("base64url");
  const key = createPublicKey({ format: "jwk", key: { kty: "OKP", crv: "Ed25519", x } });
  return verify(null, signedBytes(envelope), key, envelope.signature);
}

async function pair() {
  const a = testNode(1);
  await a.gossip.start();
  const b = testNode(2, { bootstrap: [addressOf(a.gossip)] });
  await b.gossip.start();
  await Promise.all([a, b].map((node) => node.gossip.waitForPeers(1, { signal: deadline() })));
  return { a, b };
}

describe("peerIdFromSeed", () => {
  it("gives the peer id that libp2p gives the same key", () => {
    // RFC 8032 test 1's public key, and its well-known libp2p spelling.
    const seed = Buffer.from(
      "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
      "hex",
    );
    const key = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
    expect(peerIdFromSeed(seed)).toBe(peerIdFromPublicKey(Buffer.from(key, "hex")));
    expect(parsePeerId(peerIdFromSeed(seed)).ok).toBe(true);
  });
});

describe("envelope", () => {
  it("lets anyone rebuild the outer-signed bytes and verify the author's signature offline", async () => {
    const { a, b } = await pair();
    // Longer than 127 bytes, so that the protobuf length takes two.
    const text = "a vote ".repeat(40);
    await a.gossip.publish(bytes(text));
    const { envelope, author, forwarder, data, topic } = await b.received.next(text);
    expect(author).toBe(a.gossip.localPeerId);
    expect(forwarder).toBe(a.gossip.localPeerId);
    expect(topic).toBe(voteTopic(CLUSTER));
    expect(envelope.data).toEqual(data);
    expect(envelope.sequenceNumber).toHaveLength(8);
    expect(peerIdFromPublicKey(envelope.from.slice(-32))).toBe(author);
    expect(verifies(envelope)).toBe(true);
    const changed: Partial<GossipEnvelope>[] = [
      { data: bytes("another vote") },
      { sequenceNumber: envelope.sequenceNumber.map((byte) => byte ^ 1) },
      { topic: `${envelope.topic}x` },
      { from: envelope.from.map((byte, at) => (at === 37 ? byte ^ 1 : byte)) },
      { signature: envelope.signature.map((byte, at) => (at === 0 ? byte ^ 1 : byte)) },
    ];
    for (const change of changed) expect(verifies({ ...envelope, ...change })).toBe(false);
  });

  it("names the author and not the forwarder when a message comes through a third peer", async () => {
    const [a, b, c] = await chain();
    await a.gossip.publish(bytes("relayed"));
    const message = await c.received.next("relayed");
    expect(message.author).toBe(a.gossip.localPeerId);
    expect(message.forwarder).toBe(b.gossip.localPeerId);
    expect(verifies(message.envelope)).toBe(true);
  });
});

/** a – b – c: a and c listen nowhere, so neither can dial the other. */
async function chain() {
  const b = testNode(2);
  await b.gossip.start();
  const bootstrap = [addressOf(b.gossip)];
  const a = testNode(1, { listen: [], bootstrap });
  const c = testNode(3, { listen: [], bootstrap });
  await Promise.all([a.gossip.start(), c.gossip.start()]);
  await b.gossip.waitForPeers(2, { signal: deadline() });
  await a.gossip.waitForPeers(1, { signal: deadline() });
  await c.gossip.waitForPeers(1, { signal: deadline() });
  await eventually("b's mesh holds both", () => b.gossip.status().mesh.length === 2);
  return [a, b, c] as const;
}

describe("validation", () => {
  it.each(["REJECT", "IGNORE"] as const)(
    "comes before forwarding: what the middle node answers with %s reaches nobody else",
    async (verdict) => {
      const [a, b, c] = await chain();
      b.gossip.setValidator((message) => {
        b.received.add(message);
        return Buffer.from(message.data).toString() === "bad" ? verdict : "ACCEPT";
      });
      await a.gossip.publish(bytes("bad"));
      await b.received.next("bad");
      await a.gossip.publish(bytes("good"));
      await c.received.next("good");
      expect(c.received.has("bad")).toBe(false);
    },
  );

  it("holds a message back until an asynchronous verdict is there", async () => {
    const [a, b, c] = await chain();
    const verdict = Promise.withResolvers<"ACCEPT">();
    b.gossip.setValidator((message) => {
      b.received.add(message);
      return Buffer.from(message.data).toString() === "slow" ? verdict.promise : "ACCEPT";
    });
    await a.gossip.publish(bytes("slow"));
    await b.received.next("slow");
    await a.gossip.publish(bytes("after"));
    await c.received.next("after");
    expect(c.received.has("slow")).toBe(false);
    verdict.resolve("ACCEPT");
    await c.received.next("slow");
  });

  it("ignores a message whose validator throws, and says so in the log", async () => {
    const [a, b, c] = await chain();
    b.gossip.setValidator((message) => {
      b.received.add(message);
      if (Buffer.from(message.data).toString() === "poison") throw new Error("no");
      return "ACCEPT";
    });
    await a.gossip.publish(bytes("poison"));
    await b.received.next("poison");
    await a.gossip.publish(bytes("sound"));
    await c.received.next("sound");
    expect(c.received.has("poison")).toBe(false);
    expect(b.lines).toContainEqual(expect.objectContaining({ message: "gossip validator threw" }));
  });

  it("does not show a node its own messages", async () => {
    const { a, b } = await pair();
    await a.gossip.publish(bytes("mine"));
    await b.received.next("mine");
    await b.gossip.publish(bytes("yours"));
    await a.received.next("yours");
    expect(a.received.has("mine")).toBe(false);
  });
});

describe("publish", () => {
  it("with nobody connected reaches 0 recipients and is no error", async () => {
    const a = testNode(1);
    await a.gossip.start();
    expect(await a.gossip.publish(bytes("alone"))).toEqual({ recipients: 0 });
  });

  it("carries a frame of the largest size, and refuses one byte more before it is sent", async () => {
    const { a, b } = await pair();
    const largest = "x".repeat(LIMITS.voteFrameBytesMax);
    expect(await a.gossip.publish(bytes(largest))).toEqual({ recipients: 1 });
    await b.received.next(largest);
    await expect(a.gossip.publish(bytes(`${largest}x`))).rejects.toMatchObject({
      code: "FRAME_TOO_LARGE",
    });
    await expect(a.gossip.publish(new Uint8Array())).rejects.toMatchObject({ code: "FRAME_EMPTY" });
  });

  it("is refused before start and after stop", async () => {
    const a = testNode(1);
    await expect(a.gossip.publish(bytes("x"))).rejects.toMatchObject({ code: "NOT_RUNNING" });
    await a.gossip.start();
    await a.gossip.stop();
    await expect(a.gossip.publish(bytes("x"))).rejects.toMatchObject({ code: "NOT_RUNNING" });
  });
});

describe("lifecycle", () => {
  it("opens its port at start and not before, and closes it at stop", async () => {
    const a = testNode(1);
    expect(a.gossip.status().listening).toEqual([]);
    await a.gossip.start();
    const port = Number(addressOf(a.gossip).split("/")[4]);
    await new Promise<void>((resolve, reject) => {
      const socket = createConnection(port, "127.0.0.1", () => {
        socket.destroy();
        resolve();
      }).on("error", reject);
    });
    await a.gossip.stop();
    await expect(
      new Promise((resolve, reject) => {
        createConnection(port, "127.0.0.1", () => resolve("open")).on("error", reject);
      }),
    ).rejects.toMatchObject({ code: "ECONNREFUSED" });
  });

  it("starts once and stops once however often it is asked, and not again afterwards", async () => {
    const a = testNode(1);
    await Promise.all([a.gossip.start(), a.gossip.start()]);
    const address = addressOf(a.gossip);
    await a.gossip.start();
    expect(addressOf(a.gossip)).toBe(address);
    await Promise.all([a.gossip.stop(), a.gossip.stop()]);
    await a.gossip.stop();
    await expect(a.gossip.start()).rejects.toMatchObject({ code: "STOPPED" });
  });

  it("stops within 5 s while connected", async () => {
    const { a, b } = await pair();
    const before = performance.now();
    await Promise.all([a.gossip.stop(), b.gossip.stop()]);
    expect(performance.now() - before).toBeLessThan(5_000);
  });

  it("rejects a wait for peers when aborted, and when stopped meanwhile", async () => {
    const a = testNode(1);
    await a.gossip.start();
    const abort = new AbortController();
    const aborted = a.gossip.waitForPeers(1, { signal: abort.signal });
    abort.abort(new Error("enough"));
    await expect(aborted).rejects.toThrow("enough");
    const stopped = expect(a.gossip.waitForPeers(1)).rejects.toMatchObject({ code: "STOPPED" });
    await a.gossip.stop();
    await stopped;
  });

  it("refuses an address that is no multiaddr and a bootstrap address without a peer id", () => {
    const make = (options: object) => () => testNode(1, options);
    expect(make({ listen: ["localhost:4001"] })).toThrow(GossipError);
    expect(make({ bootstrap: ["nonsense"] })).toThrow(GossipError);
    expect(make({ bootstrap: ["/ip4/127.0.0.1/tcp/4001"] })).toThrow("/p2p/");
  });

  it("leaves itself out of a bootstrap list that all nodes share", async () => {
    const self = peerIdFromSeed(seedOf(1));
    const a = testNode(1, { bootstrap: [`/ip4/127.0.0.1/tcp/1/p2p/${self}`] });
    await a.gossip.start();
    expect(a.lines.filter((line) => line.level === "debug")).toEqual([]);
  });
});

describe("ban", () => {
  it("closes the connection, and neither side gets through again until it is lifted", async () => {
    const { a, b } = await pair();
    const peer = b.gossip.localPeerId;
    a.gossip.ban(peer);
    a.gossip.ban(peer);
    expect(a.gossip.status().subscribers).toEqual([]);
    await eventually("a hangs up", () => a.gossip.status().connections.length === 0);
    await eventually("b sees it", () => b.gossip.status().connections.length === 0);
    // b's supervisor goes on dialling; a, told to keep b, would dial it too.
    a.gossip.setPersistentPeers([peer]);
    const before = b.lines.length;
    await eventually("b was refused again", () => refused(b, before));
    expect(a.gossip.status().connections).toEqual([]);
    expect(a.lines.filter((line) => line.message === "peer connected")).toHaveLength(1);
    a.gossip.unban(peer);
    a.gossip.unban(peer);
    await a.gossip.waitForPeers(1, { signal: deadline() });
    await b.gossip.waitForPeers(1, { signal: deadline() });
    await b.gossip.publish(bytes("back again"));
    await a.received.next("back again");
  });

  it("drops what the banned peer published although a third peer delivers it", async () => {
    const [a, b, c] = await chain();
    c.gossip.ban(a.gossip.localPeerId);
    await a.gossip.publish(bytes("from the banned"));
    await b.received.next("from the banned");
    await b.gossip.publish(bytes("from the honest"));
    await c.received.next("from the honest");
    expect(c.received.has("from the banned")).toBe(false);
    // The forwarder is not blamed.
    expect(c.gossip.status().subscribers).toEqual([b.gossip.localPeerId]);
  });

  it("given at construction is in force for the first connection", async () => {
    const banned: PeerId = peerIdFromSeed(seedOf(2));
    const a = testNode(1, { initialBans: [banned] });
    await a.gossip.start();
    const b = testNode(2, { bootstrap: [addressOf(a.gossip)] });
    await b.gossip.start();
    await eventually("b was refused", () => refused(b));
    expect(a.lines.some((line) => line.message === "peer connected")).toBe(false);
  });
});

function refused(node: ReturnType<typeof testNode>, since = 0): boolean {
  // The dialler's handshake may be done before the other side, which refuses, hangs up.
  return node.lines
    .slice(since)
    .some(({ message }) =>
      ["peer not reached, dialling again later", "peer disconnected"].includes(message),
    );
}

describe("metrics", () => {
  it("count what is published, and what is received by verdict", async () => {
    const counts = new Map<string, number>();
    const gauges = new Map<string, () => number>();
    const metrics = {
      counter: ({ name }: { name: string }) => ({
        inc: (labels: Readonly<Record<string, string>>, by = 1) => {
          const key = [name, ...Object.values(labels)].join(" ");
          counts.set(key, (counts.get(key) ?? 0) + by);
        },
      }),
      gauge: ({ name, collect }: { name: string; collect?: () => number }) => {
        if (collect !== undefined) gauges.set(name, collect);
        return { set: () => {} };
      },
      histogram: () => ({ observe: () => {} }),
    };
    const a = testNode(1);
    await a.gossip.start();
    const b = createGossip(
      {
        clusterId: CLUSTER,
        privateKeySeed: seedOf(2),
        listen: ["/ip4/127.0.0.1/tcp/0"],
        bootstrap: [addressOf(a.gossip)],
      },
      { logger: recordingLogger(), clock: realClock, metrics },
    );
    try {
      await b.start();
      b.setValidator((message) => (message.data[0] === 1 ? "ACCEPT" : "REJECT"));
      await a.gossip.waitForPeers(1, { signal: deadline() });
      await b.waitForPeers(1, { signal: deadline() });
      await a.gossip.publish(Uint8Array.of(1));
      await a.gossip.publish(Uint8Array.of(2));
      await b.publish(Uint8Array.of(3));
      await eventually(
        "both counted",
        () => counts.get("gossipsub_messages_total in REJECT") === 1,
      );
      expect(counts.get("gossipsub_messages_total in ACCEPT")).toBe(1);
      expect(counts.get("gossipsub_messages_total out ACCEPT")).toBe(1);
      b.setAuthors([b.localPeerId]);
      await a.gossip.publish(Uint8Array.of(1));
      await eventually(
        "the refused one counted",
        () => counts.get("gossip_refused_total unknown_author") === 1,
      );
      expect(counts.get("gossipsub_messages_total in IGNORE")).toBe(1);
      expect(gauges.get("gossip_stranger_connections")?.()).toBe(0);
      expect(gauges.get("gossip_muted_peers")?.()).toBe(0);
      expect(gauges.get("gossip_connections")?.()).toBeGreaterThan(0);
      expect(gauges.get("gossip_mesh_peers")?.()).toBe(1);
    } finally {
      await b.stop();
    }
  });
});

describe("message id", () => {
  it("is BLAKE3 of the data and the sequence number", async () => {
    const { messageId, sequenceNumberBytes } = await import("./envelope.ts");
    const number = 0x0102030405060708n;
    expect(sequenceNumberBytes(number)).toEqual(Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8));
    expect(unwrap(parsePeerId(peerIdFromSeed(seedOf(1))))).toBe(peerIdFromSeed(seedOf(1)));
    const message = { type: "unsigned" as const, topic: "t", data: bytes("data") };
    expect(messageId(message)).toEqual(hash(bytes("data")));
  });
});
