import { LIMITS, type PeerId } from "@quorate/core";
import type { GossipRefusal } from "@quorate/ports";
import { afterEach, describe, expect, it } from "vitest";
import { peerIdFromSeed, toLibp2pPeerId } from "./identity.ts";
import { GOSSIP_LIMITS, type GossipOptions } from "./options.ts";
import { RawPeer, stopRawPeers } from "./raw-peer.ts";
import {
  addressOf,
  bytes,
  deadline,
  eventually,
  realClock,
  seedOf,
  seedOfSwarm,
  stopAll,
  type TestNode,
  testNode,
} from "./test-kit.ts";

afterEach(async () => {
  await stopRawPeers();
  await stopAll();
});

const ATTACKER = 9;
const attackerId = peerIdFromSeed(seedOf(ATTACKER));

/** Two trustees, connected; whoever else is named is an author too. */
async function trustees(
  others: readonly PeerId[] = [],
  options: Partial<GossipOptions> = {},
  verdict?: Parameters<typeof testNode>[2],
): Promise<readonly [TestNode, TestNode]> {
  const a = testNode(1, options, verdict);
  await a.gossip.start();
  const b = testNode(2, { ...options, bootstrap: [addressOf(a.gossip)] }, verdict);
  await b.gossip.start();
  for (const { gossip } of [a, b])
    gossip.setAuthors([a.gossip.localPeerId, b.gossip.localPeerId, ...others]);
  await Promise.all([a, b].map(({ gossip }) => gossip.waitForPeers(1, { signal: deadline() })));
  return [a, b];
}

const mutes = ({ lines }: TestNode) =>
  lines.filter(({ message }) => message === "peer floods and is muted");

const peersOf = ({ gossip }: TestNode): string[] =>
  gossip.status().connections.map(({ peerId }) => peerId);

async function stillTalk(a: TestNode, b: TestNode, text: string): Promise<void> {
  await a.gossip.publish(bytes(`${text} of a`));
  await b.gossip.publish(bytes(`${text} of b`));
  await b.received.next(`${text} of a`);
  await a.received.next(`${text} of b`);
}

/** Sends the same RPC until the other side hangs up; gives how often it was sent. */
async function flood(peer: RawPeer, rpc: Parameters<RawPeer["send"]>[0]): Promise<number> {
  const signal = deadline(30_000);
  let sent = 0;
  while (peer.connections > 0) {
    if (signal.aborted) throw new Error(`still connected after ${sent} RPCs`);
    // What is not taken yet would only fill this process's memory.
    if (peer.backlogBytes < 1 << 20) for (let i = 0; i < 50; i++) if (peer.send(rpc)) sent++;
    await new Promise((resolve) => setImmediate(resolve));
  }
  return sent;
}

/** Limits that a fixed number of messages overruns however slowly this machine takes them. */
const SMALL = {
  perAuthor: { ...GOSSIP_LIMITS.perAuthor, messagesPerSecond: 10, messagesBurst: 200 },
  forwarded: { ...GOSSIP_LIMITS.forwarded, messagesPerSecond: 1, messagesBurst: 50 },
  blamePerSecond: 1,
  blameBurst: 100,
};

describe("a flood", () => {
  it("of an outsider's junk ends with its mute; none of it is shown, and it does not get in again", async () => {
    const [a, b] = await trustees();
    const refused = new Map<string, number>();
    let connectedWhenMuted = false;
    a.gossip.onRefused(({ reason, claimedAuthor, forwarder }: GossipRefusal) => {
      connectedWhenMuted ||= mutes(a).length > 0 && peersOf(a).includes(attackerId);
      expect([claimedAuthor, forwarder]).toEqual([attackerId, attackerId]);
      refused.set(reason, (refused.get(reason) ?? 0) + 1);
    });
    const outsider = await RawPeer.start(seedOf(ATTACKER));
    await outsider.join(addressOf(a.gossip));
    await flood(outsider, { messages: [await outsider.message(bytes("junk"))] });
    expect(mutes(a).map(({ fields }) => fields)).toEqual([
      expect.objectContaining({ peerId: attackerId, offence: "unknown_author", forMs: 10_000 }),
    ]);
    expect(connectedWhenMuted).toBe(false);
    expect([...refused.keys()]).toEqual(["unknown_author"]);
    // The bucket of offences and what flowed in meanwhile, not thousands.
    expect(refused.get("unknown_author")).toBeLessThan(2 * GOSSIP_LIMITS.blameBurst);
    const connected = a.lines.filter(({ message }) => message === "peer connected").length;
    await outsider.dial(addressOf(a.gossip)).catch(() => {});
    await eventually("it is out again", () => outsider.connections === 0);
    expect(a.lines.filter(({ message }) => message === "peer connected")).toHaveLength(connected);
    await stillTalk(a, b, "after");
    expect(a.received.has("junk")).toBe(false);
    expect(mutes(b)).toEqual([]);
  });

  it("of frames that a trustee signs and the validator rejects ends with its mute by each whom it floods, and of nobody else", async () => {
    const [a, b] = await trustees([attackerId], { limits: SMALL }, ({ author }) =>
      author === attackerId ? "REJECT" : "ACCEPT",
    );
    const trustee = await RawPeer.start(seedOf(ATTACKER));
    await trustee.join(addressOf(a.gossip));
    const messages = await Promise.all(
      Array.from({ length: 1_000 }, (_, i) => trustee.message(bytes(`malformed ${i}`))),
    );
    for (const message of messages) trustee.send({ messages: [message] });
    await eventually("it is out", () => trustee.connections === 0);
    expect(mutes(a).map(({ fields }) => fields)).toEqual([
      expect.objectContaining({ peerId: attackerId }),
    ]);
    await stillTalk(a, b, "after");
    expect(mutes(b)).toEqual([]);
    expect(b.received.messages.some(({ author }) => author === attackerId)).toBe(false);
  });

  it("of one trustee's valid messages is passed on in part, and who passes it on is not muted", async () => {
    const [a, b] = await trustees([attackerId], { limits: SMALL });
    const trustee = await RawPeer.start(seedOf(ATTACKER));
    await trustee.join(addressOf(a.gossip));
    await eventually("b is in a's mesh", () => a.gossip.status().mesh.length > 0);
    const messages = await Promise.all(
      Array.from({ length: 1_000 }, (_, i) => trustee.message(bytes(`valid ${i}`))),
    );
    for (const message of messages) trustee.send({ messages: [message] });
    await eventually("it is out", () => trustee.connections === 0);
    expect(mutes(a)).toHaveLength(1);
    await stillTalk(a, b, "after");
    expect(mutes(b)).toEqual([]);
    const far = b.received.messages.filter(({ author }) => author === attackerId).length;
    expect(far).toBeGreaterThan(0);
    expect(far).toBeLessThan(2 * SMALL.forwarded.messagesBurst);
  });

  it("of invalid signatures in a trustee's name ends after a few dozen, and the trustee is heard all along", async () => {
    const [a, b] = await trustees();
    const outsider = await RawPeer.start(seedOf(ATTACKER));
    await outsider.join(addressOf(a.gossip));
    const from = Uint8Array.from((await outsider.message(bytes("x"))).from ?? []);
    // The trustee's own key at the end of an identity multihash.
    from.set(publicKeyOf(b.gossip.localPeerId), 6);
    const messages = await Promise.all(
      Array.from({ length: 60 }, (_, i) => outsider.message(bytes(`forged ${i}`), { from })),
    );
    for (const message of messages) outsider.send({ messages: [message] });
    await stillTalk(a, b, "meanwhile");
    await flood(outsider, { messages });
    await stillTalk(a, b, "after");
    expect(a.received.messages.some(({ data }) => Buffer.from(data).includes("forged"))).toBe(
      false,
    );
    expect(mutes(a).map(({ fields }) => fields)).toEqual([
      expect.objectContaining({ peerId: attackerId, offence: "invalid_signature" }),
    ]);
  });

  it.each([
    ["of RPCs that can't be decoded", () => Uint8Array.of(0xff, 0xff, 0xff)],
    [
      "of RPCs that name 20,000 topics at once",
      () => {
        const one = Uint8Array.of(0x0a, 0x05, 0x08, 0x01, 0x12, 0x01, 0x61);
        return Buffer.concat(Array.from({ length: 20_000 }, () => one));
      },
    ],
  ])("%s ends with a mute", async (_name, make) => {
    const [a, b] = await trustees();
    const outsider = await RawPeer.start(seedOf(ATTACKER));
    await outsider.join(addressOf(a.gossip));
    const rpc = make();
    const signal = deadline(30_000);
    while (outsider.connections > 0) {
      if (signal.aborted) throw new Error("still connected");
      if (outsider.backlogBytes < 1 << 20) outsider.sendBytes(rpc);
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(mutes(a).map(({ fields }) => fields)).toEqual([
      expect.objectContaining({ peerId: attackerId, offence: "unreadable" }),
    ]);
    await stillTalk(a, b, "after");
  });
});

function publicKeyOf(peer: PeerId): Uint8Array {
  return toLibp2pPeerId(peer).toMultihash().bytes.subarray(6);
}

describe("limits of one peer", () => {
  it("20,000 topics, a few at a time, leave one topic in memory, and its own subscription is still seen", async () => {
    const [a] = await trustees();
    const outsider = await RawPeer.start(seedOf(ATTACKER));
    await outsider.join(addressOf(a.gossip));
    for (let i = 0; i < 20_000; i += 16) {
      const subscriptions = Array.from({ length: 16 }, (_, n) => ({
        topic: `topic ${i + n}`,
        subscribe: true,
      }));
      outsider.send({ subscriptions });
    }
    outsider.send({ subscriptions: [{ topic: RawPeer.topic, subscribe: true }] });
    await a.gossip.waitForPeers(2, { signal: deadline() });
    expect(a.gossip.memory().topics).toBe(1);
  });

  it("a frame that is too large is refused and told of, and the next good one gets through", async () => {
    const [a] = await trustees([attackerId]);
    const refusals: GossipRefusal[] = [];
    a.gossip.onRefused((refusal) => refusals.push(refusal));
    const peer = await RawPeer.start(seedOf(ATTACKER));
    await peer.join(addressOf(a.gossip));
    const large = new Uint8Array(LIMITS.voteFrameBytesMax + 1);
    peer.send({ messages: [await peer.message(large), await peer.message(bytes("good"))] });
    await a.received.next("good");
    expect(refusals.map(({ reason, claimedAuthor }) => [reason, claimedAuthor])).toEqual([
      ["oversized", attackerId],
    ]);
  });

  it("an RPC longer than any honest one ends its stream, and others are heard on", async () => {
    const [a, b] = await trustees();
    const peer = await RawPeer.start(seedOf(ATTACKER));
    await peer.join(addressOf(a.gossip));
    peer.sendBytes(new Uint8Array(6 << 20));
    await eventually(
      "nothing of it is kept",
      () => !a.gossip.status().subscribers.includes(attackerId),
    );
    await stillTalk(a, b, "after");
  });

  it("hundreds of streams on one connection are not kept open", async () => {
    const [a, b] = await trustees();
    const peer = await RawPeer.start(seedOf(ATTACKER));
    await peer.join(addressOf(a.gossip));
    const before = a.gossip.memory().streams;
    await peer.openStreams(300);
    await eventually("all but a few are gone", () => a.gossip.memory().streams <= before + 4);
    await stillTalk(a, b, "after");
  });
});

describe("connections", () => {
  it("one peer holds only a few, the newest, though it be a trustee", async () => {
    const [a] = await trustees([attackerId]);
    const sockets = await Promise.all(
      Array.from({ length: 8 }, () => RawPeer.start(seedOf(ATTACKER))),
    );
    for (const socket of sockets) await socket.dial(addressOf(a.gossip));
    const open = () => sockets.map(({ connections }) => connections);
    await eventually(
      "only the newest are left",
      () => open().join() === [0, 0, 0, 0, 0, 1, 1, 1].join(),
    );
    expect(peersOf(a).filter((peer) => peer === attackerId)).toHaveLength(3);
  });
});

describe("strangers", () => {
  it("get no more than their share of the connections, and a trustee gets in all the same", async () => {
    const c = peerIdFromSeed(seedOf(3));
    const [a] = await trustees([c]);
    const swarm = await Promise.all(
      Array.from({ length: 40 }, (_, i) => RawPeer.start(seedOfSwarm(i))),
    );
    await Promise.allSettled(swarm.map((peer) => peer.dial(addressOf(a.gossip))));
    await eventually(
      "the share is used up, and the others are out",
      () =>
        a.gossip.memory().strangers === GOSSIP_LIMITS.strangersMax &&
        swarm.filter(({ connections }) => connections > 0).length === GOSSIP_LIMITS.strangersMax,
    );
    const trustee = testNode(3, { bootstrap: [addressOf(a.gossip)] });
    await trustee.gossip.start();
    await trustee.gossip.waitForPeers(1, { signal: deadline() });
    expect(peersOf(a)).toContain(c);
    expect(a.gossip.memory().strangers).toBe(GOSSIP_LIMITS.strangersMax);
  });

  it("that became strangers when the authors were named are cut back to their share, the newest first", async () => {
    const a = testNode(1, { limits: { strangersMax: 3 } });
    await a.gossip.start();
    const peers: RawPeer[] = [];
    for (let i = 0; i < 6; i++) {
      const peer = await RawPeer.start(seedOfSwarm(i));
      await peer.dial(addressOf(a.gossip));
      peers.push(peer);
      await eventually("it is connected", () => peersOf(a).length === peers.length);
    }
    a.gossip.setAuthors([a.gossip.localPeerId]);
    const oldest = peers.slice(0, 3).map(({ peerId }) => peerId);
    expect(peersOf(a).toSorted()).toEqual(oldest.toSorted());
    await eventually("the others know", () => peers.slice(3).every((one) => one.connections === 0));
  });

  it("by the hundred, each under a new id, hammering the port, keep no trustee out and leave a bounded memory", async () => {
    const rememberedMax = 50;
    const limits = { peersRememberedMax: rememberedMax };
    const c = peerIdFromSeed(seedOf(3));
    const [a, b] = await trustees([c], { limits });
    const address = addressOf(a.gossip);
    let tried = 0;
    let enough = false;
    // They come from other addresses than the trustees, as real ones would.
    const hammer = async (from: string): Promise<void> => {
      while (!enough || tried < 300) {
        const peer = await RawPeer.start(seedOfSwarm(tried++), { from });
        await peer.join(address, 500).catch(() => {});
        await peer.stop();
      }
    };
    const hammering = Array.from({ length: 8 }, (_, i) => hammer(`127.0.1.${i + 1}`));
    await eventually("the swarm is at work", () => tried > 20);
    const trustee = testNode(3, { bootstrap: [address], limits });
    await trustee.gossip.start();
    await trustee.gossip.waitForPeers(1, { signal: deadline() });
    await stillTalk(a, b, "meanwhile");
    enough = true;
    await Promise.all(hammering);
    await stillTalk(a, b, "after");
    await eventually("what is remembered is within its bounds", () => {
      const memory = a.gossip.memory();
      const known = 3;
      return (
        memory.peerStore <= rememberedMax + known &&
        memory.scores <= rememberedMax + known + memory.strangers &&
        memory.pruned <= rememberedMax + known + memory.strangers &&
        memory.conduct <= rememberedMax &&
        memory.routingTable <= 64 * 20 &&
        memory.strangers <= GOSSIP_LIMITS.strangersMax &&
        memory.handshakes <= GOSSIP_LIMITS.inboundPendingMax
      );
    });
    expect(tried).toBeGreaterThanOrEqual(300);
  });
});

describe("a banned peer stays out", () => {
  const banned = peerIdFromSeed(seedOf(ATTACKER));

  async function banning(): Promise<TestNode> {
    const a = testNode(1);
    await a.gossip.start();
    const b = testNode(ATTACKER, { bootstrap: [addressOf(a.gossip)] });
    await b.gossip.start();
    await a.gossip.waitForPeers(1, { signal: deadline() });
    a.gossip.ban(banned);
    await b.gossip.stop();
    await eventually("it is gone", () => peersOf(a).length === 0);
    a.lines.length = 0;
    return a;
  }

  const neverConnected = ({ lines }: TestNode): boolean =>
    !lines.some(({ message }) => message === "peer connected");

  it("when it restarts", async () => {
    const a = await banning();
    const again = testNode(ATTACKER, { bootstrap: [addressOf(a.gossip)] });
    await again.gossip.start();
    const tries = () =>
      again.lines.filter(({ message }) =>
        ["peer not reached, dialling again later", "peer disconnected"].includes(message),
      ).length;
    await eventually("it was refused several times", () => tries() >= 3);
    expect(neverConnected(a)).toBe(true);
    expect(a.gossip.status().subscribers).toEqual([]);
  });

  it("when it comes from another address", async () => {
    const a = await banning();
    const moved = await RawPeer.start(seedOf(ATTACKER), {
      from: "127.0.0.77",
      listen: ["/ip4/127.0.0.77/tcp/0"],
    });
    await moved.dial(addressOf(a.gossip)).catch(() => {});
    await eventually("it was refused", () => moved.connections === 0);
    expect(neverConnected(a)).toBe(true);
    // Nor does the banning node go there, when told to.
    a.gossip.setPersistentPeers([banned]);
    const other = await RawPeer.start(seedOf(8), { from: "127.0.0.77" });
    await other.dial(addressOf(a.gossip));
    await eventually("another from there gets in", () => peersOf(a).length === 1);
    expect(peersOf(a)).toEqual([other.peerId]);
    expect(moved.connections).toBe(0);
  });

  it("when it comes by a relay, which lets it in itself", async () => {
    const relay = testNode(5);
    await relay.gossip.start();
    const a = testNode(1, {
      listen: [`${addressOf(relay.gossip)}/p2p-circuit`],
      bootstrap: [addressOf(relay.gossip)],
      initialBans: [banned],
    });
    await a.gossip.start();
    await eventually("a relayed address", () =>
      a.gossip.status().listening.some((address) => address.includes("p2p-circuit")),
    );
    const circuit = a.gossip.status().listening.find((one) => one.includes("p2p-circuit")) ?? "";
    const through = async (number: number): Promise<RawPeer> => {
      const peer = await RawPeer.start(seedOf(number));
      await peer.dial(circuit).catch(() => {});
      return peer;
    };
    const attacker = await through(ATTACKER);
    const honest = await through(8);
    await eventually("the relay has both, and the other got through", () => {
      const atRelay = peersOf(relay);
      return (
        atRelay.includes(banned) &&
        atRelay.includes(honest.peerId) &&
        peersOf(a).includes(honest.peerId)
      );
    });
    // Its connection with the relay is the only one that it has.
    await eventually("it was refused", () => attacker.connections === 1);
    expect(peersOf(a)).not.toContain(banned);
    expect(a.lines.some(({ fields }) => JSON.stringify(fields ?? null).includes(banned))).toBe(
      false,
    );
  });
});

describe("a mute", () => {
  it("ends by itself, and who was muted is let in again and heard", async () => {
    const c = peerIdFromSeed(seedOf(3));
    const [a] = await trustees([c], { limits: { muteMs: 1_500 } });
    const raw = await RawPeer.start(seedOf(3));
    await raw.join(addressOf(a.gossip));
    await flood(raw, { messages: [await raw.message(bytes("x"), { topic: "another" })] });
    await raw.stop();
    const trustee = testNode(3, { bootstrap: [addressOf(a.gossip)] });
    const startedMs = realClock.monotonicMs();
    await trustee.gossip.start();
    await trustee.gossip.waitForPeers(1, { signal: deadline() });
    expect(realClock.monotonicMs() - startedMs).toBeGreaterThan(300);
    await trustee.gossip.publish(bytes("sorry"));
    await a.received.next("sorry");
  });

  it("ends with a dial, when it is a peer that this node is to stay connected with", async () => {
    const raw = await RawPeer.start(seedOf(3), { listen: ["/ip4/127.0.0.1/tcp/0"] });
    const a = testNode(1, { bootstrap: [raw.address], limits: { muteMs: 1_500 } });
    await a.gossip.start();
    await raw.joined();
    await flood(raw, { messages: [await raw.message(bytes("x"), { topic: "another" })] });
    expect(mutes(a)).toHaveLength(1);
    await eventually("it is connected again", () => raw.connections === 1);
    expect(peersOf(a)).toEqual([raw.peerId]);
  });
});
