import { createPublicKey, verify } from "node:crypto";
import { envelopeSigningBytes, LIMITS, type PeerId, peerIdOf, utf8 } from "@quorate/core";
import type {
  Gossip,
  GossipMessage,
  GossipRefusal,
  GossipStatus,
  GossipValidator,
  GossipVerdict,
} from "@quorate/ports";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";

/** One network, without a node at first, as one test sees it. */
export interface GossipWorld {
  /**
   * Makes a node with a key of its own, not started. Once it is started it gets linked
   * with those that run by now, and after a loss it is linked again.
   */
  node(): Gossip;
  /** Three linked nodes, a – b – c: what a and c say to each other goes through b. */
  line(): Promise<readonly [Gossip, Gossip, Gossip]>;
  /** A peer of nobody's acquaintance, linked with this running node alone. */
  outsider(victim: Gossip): Promise<GossipOutsider>;
  /** Stops all nodes. */
  close(): Promise<void>;
}

export interface GossipOutsider {
  readonly peerId: PeerId;
  /** Publishes a message's data and sequence number under the outsider's own name, well signed. */
  copy(message: GossipMessage): Promise<void>;
}

const DEADLINE_MS = 20_000;

function deadline(): AbortSignal {
  return AbortSignal.timeout(DEADLINE_MS);
}

/** Waits for what has no event of its own. */
async function until(what: string, holds: () => boolean): Promise<void> {
  await vi.waitFor(
    () => {
      if (!holds()) throw new Error(`never came true: ${what}`);
    },
    { timeout: DEADLINE_MS, interval: 10 },
  );
}

/** A node with what its validator was shown. */
class Listener {
  readonly gossip: Gossip;
  readonly heard: GossipMessage[] = [];
  readonly #waiting = new Set<() => void>();

  /** @param verdict what it says to a message; ACCEPT when absent. */
  constructor(gossip: Gossip, verdict: GossipValidator = () => "ACCEPT") {
    this.gossip = gossip;
    this.judge(verdict);
  }

  judge(verdict: GossipValidator): void {
    this.gossip.setValidator((message) => {
      this.heard.push(message);
      for (const check of this.#waiting) check();
      return verdict(message);
    });
  }

  get texts(): readonly string[] {
    return this.heard.map(({ data }) => Buffer.from(data).toString());
  }

  async say(text: string): Promise<number> {
    return (await this.gossip.publish(utf8(text))).recipients;
  }

  /** The first message with this text, now or later. */
  hears(text: string): Promise<GossipMessage> {
    const signal = deadline();
    return new Promise((resolve, reject) => {
      const onAbort = (): void => reject(new Error(`"${text}" never arrived`));
      const check = (): void => {
        const found = this.heard[this.texts.indexOf(text)];
        if (found === undefined) return;
        this.#waiting.delete(check);
        signal.removeEventListener("abort", onAbort);
        resolve(found);
      };
      this.#waiting.add(check);
      signal.addEventListener("abort", onAbort, { once: true });
      check();
    });
  }
}

/** So many nodes, each linked with every other. */
async function linked(world: GossipWorld, count: number): Promise<readonly Listener[]> {
  const listeners: Listener[] = [];
  for (let i = 0; i < count; i++) {
    const listener = new Listener(world.node());
    await listener.gossip.start();
    listeners.push(listener);
  }
  await Promise.all(
    listeners.map(({ gossip }) => gossip.waitForPeers(count - 1, { signal: deadline() })),
  );
  return listeners;
}

async function pair(world: GossipWorld): Promise<readonly [Listener, Listener]> {
  const [a, b] = await linked(world, 2);
  if (a === undefined || b === undefined) throw new Error("two nodes");
  return [a, b];
}

async function three(world: GossipWorld): Promise<readonly [Listener, Listener, Listener]> {
  const [a, b, c] = await linked(world, 3);
  if (a === undefined || b === undefined || c === undefined) throw new Error("three nodes");
  return [a, b, c];
}

/** The contract of Gossip: to be run on each implementation. */
export function gossipContract(name: string, makeWorld: () => Promise<GossipWorld>): void {
  describe(`Gossip contract: ${name}`, () => {
    let world: GossipWorld;
    beforeEach(async () => {
      world = await makeWorld();
    });
    afterEach(() => world.close());
    const current = (): GossipWorld => world;

    deliveryLaws(current);
    forwardingLaws(current);
    authorLaws(current);
    publishLaws(current);
    banLaws(current);
    statusLaws(current);
    lifeLaws(current);
  });
}

function deliveryLaws(current: () => GossipWorld): void {
  test("a published frame reaches every other node's validator once, and not its publisher's", async () => {
    const [a, b, c] = await three(current());
    expect(await a.say("first")).toBe(2);
    await Promise.all([b.hears("first"), c.hears("first")]);
    // An answer from each: what would still be delivered twice comes before it.
    await b.say("from b");
    await c.say("from c");
    await Promise.all([a, c].map((one) => one.hears("from b")));
    await Promise.all([a, b].map((one) => one.hears("from c")));
    expect(a.texts.toSorted()).toEqual(["from b", "from c"]);
    expect(b.texts.toSorted()).toEqual(["first", "from c"]);
    expect(c.texts.toSorted()).toEqual(["first", "from b"]);
    for (const { heard, gossip } of [b, c])
      for (const { forwarder } of heard) expect(forwarder).not.toBe(gossip.localPeerId);
  });

  test("between two nodes the author is the forwarder, and the envelope is what the author signed", async () => {
    const [a, b] = await pair(current());
    await a.say("signed");
    await a.say("signed");
    const message = await b.hears("signed");
    const { envelope } = message;
    expect([message.author, message.forwarder]).toEqual([
      a.gossip.localPeerId,
      a.gossip.localPeerId,
    ]);
    expect(Buffer.from(message.data).toString()).toBe("signed");
    expect(message.topic).not.toBe("");
    expect(envelope.topic).toBe(message.topic);
    expect(envelope.data).toEqual(message.data);
    expect(envelope.sequenceNumber).toHaveLength(8);
    // The key is inside the peer id: its multihash ends with the 32 bytes.
    const publicKey = envelope.from.slice(-32);
    expect(peerIdOf(publicKey)).toBe(message.author);
    expect(verifies(publicKey, envelopeSigningBytes(envelope), envelope.signature)).toBe(true);
    const changed = { ...envelope, topic: `${envelope.topic}x` };
    expect(verifies(publicKey, envelopeSigningBytes(changed), envelope.signature)).toBe(false);
    // The same bytes published twice are two messages.
    await until("the second is there too", () => b.heard.length === 2);
    expect(b.texts).toEqual(["signed", "signed"]);
    const numbers = b.heard.map((one) => Buffer.from(one.envelope.sequenceNumber).toString("hex"));
    expect(new Set(numbers).size).toBe(2);
  });

  test("a validator that is replaced is asked no more", async () => {
    const [a, b] = await pair(current());
    await a.say("to the first");
    await b.hears("to the first");
    const second = new Listener(b.gossip);
    await a.say("to the second");
    await second.hears("to the second");
    expect(b.texts).toEqual(["to the first"]);
  });

  test("a validator that throws or rejects is asked about the next message all the same", async () => {
    const [a, b] = await pair(current());
    b.judge(() => {
      if (b.heard.length === 1) throw new Error("no verdict");
      return Promise.reject(new Error("no verdict"));
    });
    for (const text of ["one", "two", "three"]) {
      await a.say(text);
      await b.hears(text);
    }
    expect(b.gossip.status().subscribers).toEqual([a.gossip.localPeerId]);
  });
}

function verifies(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean {
  const x = Buffer.from(publicKey).toString("base64url");
  const key = createPublicKey({ format: "jwk", key: { kty: "OKP", crv: "Ed25519", x } });
  return verify(null, message, key, signature);
}

function forwardingLaws(current: () => GossipWorld): void {
  async function line(verdict: GossipValidator): Promise<readonly [Listener, Listener, Listener]> {
    const [a, b, c] = await current().line();
    return [new Listener(a), new Listener(b, verdict), new Listener(c)];
  }
  const textOf = ({ data }: GossipMessage): string => Buffer.from(data).toString();

  test("an accepted message is forwarded: its author stays, its forwarder is named, its envelope is the same", async () => {
    const [a, b, c] = await line(() => "ACCEPT");
    await a.say("through the middle");
    const near = await b.hears("through the middle");
    const far = await c.hears("through the middle");
    expect([near.author, near.forwarder]).toEqual([a.gossip.localPeerId, a.gossip.localPeerId]);
    expect([far.author, far.forwarder]).toEqual([a.gossip.localPeerId, b.gossip.localPeerId]);
    expect(far.envelope).toEqual(near.envelope);
  });

  test("what is ignored, rejected or fails its validator is not forwarded, and what is accepted after it is", async () => {
    const [a, b, c] = await line((message) => {
      const text = textOf(message);
      if (text === "poison") throw new Error("no verdict");
      return text === "IGNORE" || text === "REJECT" ? text : "ACCEPT";
    });
    for (const text of ["IGNORE", "REJECT", "poison", "good"]) {
      await a.say(text);
      await b.hears(text);
    }
    await c.hears("good");
    expect(c.texts).toEqual(["good"]);
  });

  test("a message waits for its verdict before it is forwarded, and holds up no other", async () => {
    const verdict = Promise.withResolvers<GossipVerdict>();
    const [a, , c] = await line((message) =>
      textOf(message) === "slow" ? verdict.promise : "ACCEPT",
    );
    await a.say("slow");
    await a.say("fast");
    await c.hears("fast");
    expect(c.texts).toEqual(["fast"]);
    verdict.resolve("ACCEPT");
    await c.hears("slow");
  });

  test("a banned author is not heard through a third node either, which is not blamed", async () => {
    const [a, b, c] = await line(() => "ACCEPT");
    c.gossip.ban(a.gossip.localPeerId);
    await a.say("from the banned");
    await b.hears("from the banned");
    // Twice: what was on its way when the first was said has come before the second.
    for (const text of ["from the middle", "end"]) {
      await b.say(text);
      await c.hears(text);
    }
    expect(c.texts).toEqual(["from the middle", "end"]);
    expect(c.gossip.status().subscribers).toEqual([b.gossip.localPeerId]);
  });
}

function refusalsOf({ gossip }: Listener): readonly GossipRefusal[] {
  const refusals: GossipRefusal[] = [];
  gossip.onRefused(({ reason, claimedAuthor, forwarder, data }) => {
    refusals.push({ reason, claimedAuthor, forwarder, data: Uint8Array.from(data) });
  });
  return refusals;
}

function authorLaws(current: () => GossipWorld): void {
  async function line(): Promise<readonly [Listener, Listener, Listener]> {
    const [a, b, c] = await current().line();
    return [new Listener(a), new Listener(b), new Listener(c)];
  }

  test("a copy under an outsider's name that comes first does not keep the original from being delivered", async () => {
    const [a, b, c] = await line();
    c.gossip.setAuthors([a, b].map(({ gossip }) => gossip.localPeerId));
    const refusals = refusalsOf(c);
    const outsider = await current().outsider(c.gossip);
    const verdict = Promise.withResolvers<GossipVerdict>();
    b.judge(() => verdict.promise);
    await a.say("original");
    // The middle has it and holds it back until the copy has reached the far end.
    await outsider.copy(await b.hears("original"));
    await until("the copy was refused", () => refusals.length === 1);
    expect(refusals).toEqual([
      {
        reason: "unknown_author",
        claimedAuthor: outsider.peerId,
        forwarder: outsider.peerId,
        data: utf8("original"),
      },
    ]);
    verdict.resolve("ACCEPT");
    expect((await c.hears("original")).author).toBe(a.gossip.localPeerId);
    expect(c.texts).toEqual(["original"]);
  });

  test("until authors are named everybody is one; then only they are heard, and the last named count", async () => {
    const [a, b, c] = await line();
    const refusals = refusalsOf(c);
    await a.say("before");
    await c.hears("before");
    c.gossip.setAuthors([b.gossip.localPeerId]);
    await a.say("while unknown");
    await until("it was refused", () => refusals.length === 1);
    expect(refusals).toEqual([
      {
        reason: "unknown_author",
        claimedAuthor: a.gossip.localPeerId,
        forwarder: b.gossip.localPeerId,
        data: utf8("while unknown"),
      },
    ]);
    c.gossip.setAuthors([a.gossip.localPeerId]);
    await a.say("when named");
    await c.hears("when named");
    await b.say("no longer named");
    await until("the other was refused", () => refusals.length === 2);
    expect(c.texts).toEqual(["before", "when named"]);
  });

  test("a stranger gets what is published, and its listener is told what a ban keeps out", async () => {
    const [a, b, c] = await line();
    c.gossip.setAuthors([a, b].map(({ gossip }) => gossip.localPeerId));
    b.gossip.setAuthors([a, b].map(({ gossip }) => gossip.localPeerId));
    // c itself is none of the authors, and hears them all the same.
    await a.say("for everybody");
    await c.hears("for everybody");
    const refusals = refusalsOf(c);
    c.gossip.ban(a.gossip.localPeerId);
    await a.say("from the banned");
    await until("it was refused", () => refusals.length === 1);
    expect(refusals).toEqual([
      {
        reason: "author_banned",
        claimedAuthor: a.gossip.localPeerId,
        forwarder: b.gossip.localPeerId,
        data: utf8("from the banned"),
      },
    ]);
  });
}

function publishLaws(current: () => GossipWorld): void {
  test("with nobody there a frame has 0 recipients, and is no error", async () => {
    const alone = current().node();
    await alone.start();
    expect(await alone.publish(utf8("alone"))).toEqual({ recipients: 0 });
  });

  test("the largest frame arrives whole, one byte more or none is refused, and bytes are taken as they are", async () => {
    const [a, b] = await pair(current());
    const largest = "x".repeat(LIMITS.voteFrameBytesMax);
    expect(await a.say(largest)).toBe(1);
    await b.hears(largest);
    await expect(a.say(`${largest}x`)).rejects.toThrow(`${LIMITS.voteFrameBytesMax}`);
    await expect(a.say("")).rejects.toThrow();
    // The publisher may use its bytes for something else as soon as it has published.
    const data = utf8("as it was");
    const publishing = a.gossip.publish(data);
    data.fill(0);
    await publishing;
    await b.hears("as it was");
    expect(b.texts.map(({ length }) => length)).toEqual([LIMITS.voteFrameBytesMax, 9]);
  });

  test("nothing is published before the start, after the stop, or with an aborted signal", async () => {
    const node = current().node();
    await expect(node.publish(utf8("early"))).rejects.toThrow();
    await node.start();
    const reason = new Error("enough");
    const signal = AbortSignal.abort(reason);
    await expect(node.publish(utf8("aborted"), { signal })).rejects.toBe(reason);
    await node.stop();
    await expect(node.publish(utf8("late"))).rejects.toThrow();
  });
}

function banLaws(current: () => GossipWorld): void {
  test("a ban is in force when it returns and shuts out both ways, until it is lifted", async () => {
    const [a, b] = await pair(current());
    a.gossip.ban(b.gossip.localPeerId);
    a.gossip.ban(b.gossip.localPeerId);
    expect(a.gossip.status().subscribers).toEqual([]);
    expect(a.gossip.status().mesh).toEqual([]);
    expect(await a.say("to the banned")).toBe(0);
    const apart = ({ connections, subscribers }: GossipStatus): boolean =>
      connections.length === 0 && subscribers.length === 0;
    await until("both have hung up", () => [a, b].every((one) => apart(one.gossip.status())));
    expect(await b.say("from the banned")).toBe(0);
    expect(a.heard).toEqual([]);
    expect(b.heard).toEqual([]);

    a.gossip.unban(b.gossip.localPeerId);
    a.gossip.unban(b.gossip.localPeerId);
    await Promise.all([a, b].map(({ gossip }) => gossip.waitForPeers(1, { signal: deadline() })));
    await a.say("welcome back");
    await b.hears("welcome back");
    await b.say("back again");
    await a.hears("back again");
  });

  test("what a peer said before its ban is not shown after it", async () => {
    const [a, b, c] = await three(current());
    for (let i = 0; i < 20; i++) await b.say(`on its way ${i}`);
    a.gossip.ban(b.gossip.localPeerId);
    const shown = a.texts.length;
    await b.say("too late");
    await c.hears("too late");
    await c.say("end");
    await a.hears("end");
    expect(a.texts.slice(shown)).toEqual(["end"]);
    expect(a.gossip.status().subscribers).toEqual([c.gossip.localPeerId]);
  });

  test("a ban from before the start holds for the first connection, and others get in", async () => {
    const world = current();
    const [a, b] = await pair(world);
    const c = new Listener(world.node());
    c.gossip.ban(a.gossip.localPeerId);
    await c.gossip.start();
    await c.gossip.waitForPeers(1, { signal: deadline() });
    await b.gossip.waitForPeers(2, { signal: deadline() });
    await a.say("from the banned");
    await b.hears("from the banned");
    // Twice: what was on its way when the first was said has come before the second.
    for (const text of ["from another", "end"]) {
      await b.say(text);
      await c.hears(text);
    }
    expect(c.texts).toEqual(["from another", "end"]);
    expect(c.gossip.status().subscribers).toEqual([b.gossip.localPeerId]);
  });

  test("a peer that nobody has met may be banned and let in", async () => {
    const world = current();
    const [a, b] = await pair(world);
    const stranger = world.node();
    a.gossip.unban(stranger.localPeerId);
    a.gossip.ban(stranger.localPeerId);
    a.gossip.unban(stranger.localPeerId);
    expect(a.gossip.status().subscribers).toEqual([b.gossip.localPeerId]);
    await stranger.start();
    await a.gossip.waitForPeers(2, { signal: deadline() });
  });
}

function statusLaws(current: () => GossipWorld): void {
  test("a status is empty before the start and after the stop, and tells where a running node listens", async () => {
    const empty: GossipStatus = { listening: [], connections: [], mesh: [], subscribers: [] };
    const node = current().node();
    expect(node.status()).toEqual(empty);
    await node.start();
    expect(node.status()).toEqual({ ...empty, listening: [expect.any(String)] });
    await node.stop();
    expect(node.status()).toEqual(empty);
  });

  test("both ends of a connection tell it, one as inbound and the other as outbound", async () => {
    const [a, b] = await pair(current());
    await until("both are in each other's mesh", () =>
      [a, b].every(({ gossip }) => gossip.status().mesh.length === 1),
    );
    for (const [one, other] of [
      [a, b],
      [b, a],
    ] as const) {
      const { connections, mesh, subscribers } = one.gossip.status();
      expect(connections.map(({ peerId }) => peerId)).toEqual([other.gossip.localPeerId]);
      expect(connections[0]?.address).not.toBe("");
      expect(connections[0]?.openedAtMs).toBeGreaterThan(0);
      expect([mesh, subscribers]).toEqual([[other.gossip.localPeerId], [other.gossip.localPeerId]]);
    }
    const directions = [a, b].map(({ gossip }) => gossip.status().connections[0]?.direction);
    expect(new Set(directions)).toEqual(new Set(["inbound", "outbound"]));
  });

  test("a wait for peers ends when they are there, and at once when they were", async () => {
    const world = current();
    const a = world.node();
    const before = a.waitForPeers(1, { signal: deadline() });
    await a.start();
    const two = a.waitForPeers(2, { signal: deadline() });
    await world.node().start();
    await before;
    await world.node().start();
    await two;
    await a.waitForPeers(2, { signal: deadline() });
    expect(a.status().subscribers).toHaveLength(2);
  });

  test("a wait for peers rejects with the signal's reason, and when the node stops meanwhile", async () => {
    const [a] = await pair(current());
    const reason = new Error("enough");
    const abort = new AbortController();
    const waiting = a.gossip.waitForPeers(2, { signal: abort.signal });
    abort.abort(reason);
    await expect(waiting).rejects.toBe(reason);
    await expect(a.gossip.waitForPeers(1, { signal: abort.signal })).rejects.toBe(reason);
    const stopped = expect(a.gossip.waitForPeers(2)).rejects.toThrow("stopped");
    await a.gossip.stop();
    await stopped;
    await expect(a.gossip.waitForPeers(1)).rejects.toThrow("stopped");
  });
}

function lifeLaws(current: () => GossipWorld): void {
  test("start and stop may be repeated, a stop may come first, and nothing starts after a stop", async () => {
    const world = current();
    const node = world.node();
    await Promise.all([node.start(), node.start()]);
    const { listening } = node.status();
    await node.start();
    expect(node.status().listening).toEqual(listening);
    await Promise.all([node.stop(), node.stop()]);
    await node.stop();
    await expect(node.start()).rejects.toThrow();
    const never = world.node();
    await never.stop();
    await expect(never.start()).rejects.toThrow();
    expect(never.status().listening).toEqual([]);
  });

  test("a start with an aborted signal rejects with its reason and opens nothing", async () => {
    const node = current().node();
    const reason = new Error("not today");
    await expect(node.start({ signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    expect(node.status().listening).toEqual([]);
  });

  test("a stopped node is no peer any more and hears nothing", async () => {
    const [a, b, c] = await three(current());
    await b.gossip.stop();
    await until("its leaving is seen", () =>
      [a, c].every(({ gossip }) => gossip.status().subscribers.length === 1),
    );
    expect(await a.say("after it left")).toBe(1);
    await c.hears("after it left");
    expect(b.heard).toEqual([]);
  });
}
