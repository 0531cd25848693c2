import type { RPC } from "@chainsafe/libp2p-gossipsub/message";
import type { ConnectionGater, PeerId as Libp2pPeerId } from "@libp2p/interface";
import { LIMITS, type PeerId } from "@quorate/core";
import type { GossipRefusal } from "@quorate/ports";
import { describe, expect, it } from "vitest";
import { banGater } from "./ban-gater.ts";
import { BoundedTimeCache } from "./bounded-time-cache.ts";
import {
  peerIdFromCanonicalMultihash,
  peerIdFromSeed,
  toLibp2pPeerId,
  toPeerId,
} from "./identity.ts";
import { hardenRouter, type RawRpc } from "./router-guard.ts";
import { fastMessageId } from "./router-options.ts";
import { seedOf } from "./test-kit.ts";

const TOPIC = "quorate/test/votes/1";
const self = peerIdFromSeed(seedOf(1));
const author = peerIdFromSeed(seedOf(2));
const forwarder = peerIdFromSeed(seedOf(3));
const fromOf = (peer: PeerId) => Uint8Array.from(toLibp2pPeerId(peer).toMultihash().bytes);

const good: RPC.Message = {
  from: fromOf(author),
  data: Uint8Array.of(1),
  seqno: new Uint8Array(8),
  topic: TOPIC,
  signature: new Uint8Array(64),
};

interface Rules {
  readonly banned?: PeerId[];
  readonly muted?: PeerId[];
  readonly authors?: PeerId[];
  readonly gone?: PeerId[];
  readonly room?: boolean;
  readonly allows?: (isCopy: boolean) => boolean;
  readonly allowsRpc?: () => boolean;
}

/** Stands where GossipSub's class does: records what the guard lets through to it. */
function guarded(rules: Rules = {}) {
  const passed: RPC[] = [];
  const refused: GossipRefusal[] = [];
  const offences: string[] = [];
  const punished: string[] = [];
  const decoded: Uint8Array[] = [];
  const inner = {
    mesh: new Map(),
    peers: { has: (peer: string) => !(rules.gone ?? []).some((one) => one === peer) },
    topics: new Map(),
    backoff: new Map(),
    streamsOutbound: new Map(),
    score: {
      peerStats: new Map(),
      scoreCache: new Map(),
      removeIP: () => {},
      rejectInvalidMessage: (peer: string) => punished.push(peer),
    },
    handleReceivedRpc: async (_from: unknown, rpc: RPC) => {
      passed.push(rpc);
    },
    reportMessageValidationResult: () => {},
    decodeRpc: (bytes: Uint8Array) => {
      if (bytes[0] === 0xff) throw new Error("no RPC");
      decoded.push(bytes);
    },
    // As GossipSub reads: what can't be decoded is passed over.
    async pipePeerReadStream(_from: unknown, rpcs: AsyncIterable<RawRpc>) {
      for await (const rpc of rpcs) {
        try {
          this.decodeRpc(rpc.subarray());
        } catch {}
      }
    },
    seenCache: {},
    fastMsgIdCache: { put: (_id: string, _value: string) => false },
    publishedMessageIds: {},
  };
  const shut = [...(rules.banned ?? []), ...(rules.muted ?? [])];
  const fake = Object.assign(Object.create(null), inner);
  const router = hardenRouter(fake, {
    topic: TOPIC,
    self,
    isBanned: (peer) => rules.banned?.includes(peer) ?? false,
    isShut: (peer) => shut.includes(peer),
    isAuthor: (peer) => rules.authors?.includes(peer) ?? true,
    authorOf: peerIdFromCanonicalMultihash,
    allowsRpc: rules.allowsRpc ?? (() => true),
    allows: (_forwarder, _author, _bytes, isCopy) => rules.allows?.(isCopy) ?? true,
    turn: async () => {},
    hasRoom: () => rules.room ?? true,
    onRefused: (refusal) => refused.push(refusal),
    onOffence: (peer, offence) => offences.push(`${peer} ${offence}`),
    onDuplicate: () => {},
  });
  const receive = async (message: RPC.Message, from = forwarder) => {
    await router.handleReceivedRpc(toLibp2pPeerId(from), {
      subscriptions: [],
      messages: [message],
    });
    return {
      passed: passed.flatMap((rpc) => rpc.messages),
      refused,
      reasons: refused.map(({ reason }) => reason),
      punished,
      rpcs: passed.length,
    };
  };
  /** Bytes as they come from a peer's stream. */
  const read = async (chunks: readonly Uint8Array[], from = forwarder) => {
    async function* stream(): AsyncIterable<RawRpc> {
      for (const bytes of chunks) yield { byteLength: bytes.length, subarray: () => bytes };
    }
    await fake.pipePeerReadStream(toLibp2pPeerId(from), stream());
    return { decoded, offences };
  };
  /** As GossipSub does with a message whose signature it verified. */
  const verified = (message: RPC.Message) =>
    fake.fastMsgIdCache.put(fastMessageId(message), "its id");
  return { receive, read, verified, router, offences, shut };
}

describe("the guard before the signature check", () => {
  it("lets a well-formed message through", async () => {
    const { passed, reasons } = await guarded().receive(good);
    expect(passed).toEqual([good]);
    expect(reasons).toEqual([]);
  });

  it("passes a message on without what its key field holds: nobody has signed that, and no size bounds it", async () => {
    const { passed, reasons } = await guarded().receive({
      ...good,
      key: new Uint8Array(4_000_000),
    });
    expect(passed).toEqual([good]);
    expect(reasons).toEqual([]);
  });

  it.each([
    ["no data", { data: undefined }],
    ["empty data, which signs differently from none", { data: new Uint8Array() }],
    ["a short sequence number", { seqno: new Uint8Array(7) }],
    ["no signature", { signature: undefined }],
    ["a long signature", { signature: new Uint8Array(65) }],
    ["another topic", { topic: "another" }],
    ["no author", { from: undefined }],
    ["a truncated author", { from: fromOf(author).subarray(0, 37) }],
    [
      "an author in another spelling (a two-byte length varint)",
      { from: Uint8Array.of(0, 0xa4, 0, ...fromOf(author).subarray(2)) },
    ],
  ])("rejects %s and lowers the forwarder's score", async (_name, change) => {
    const message: RPC.Message = { ...good };
    for (const [key, value] of Object.entries(change))
      if (value === undefined) Reflect.deleteProperty(message, key);
      else Reflect.set(message, key, value);
    const { passed, reasons, punished } = await guarded().receive(message);
    expect(passed).toEqual([]);
    expect(reasons).toEqual(["malformed_envelope"]);
    expect(punished).toEqual([forwarder]);
  });

  it("rejects a byte too many as oversized, with who claims to have written it, and lowers the forwarder's score", async () => {
    const data = new Uint8Array(LIMITS.voteFrameBytesMax + 1);
    const { passed, refused, punished } = await guarded().receive({ ...good, data });
    expect(passed).toEqual([]);
    expect(refused).toHaveLength(1);
    const { reason, claimedAuthor, forwarder: by, data: dropped } = refused[0] ?? {};
    expect([reason, claimedAuthor, by, dropped]).toEqual(["oversized", author, forwarder, data]);
    expect(punished).toEqual([forwarder]);
  });

  it("names no author where there is none to be read", async () => {
    const { refused } = await guarded().receive({ ...good, from: Uint8Array.of(1) });
    expect(refused.map(({ claimedAuthor }) => claimedAuthor)).toEqual([null]);
  });

  it.each<[string, Rules, RPC.Message, string[]]>([
    ["a banned author's", { banned: [author] }, good, ["author_banned"]],
    ["an unknown author's", { authors: [self] }, good, ["unknown_author"]],
    ["any beyond the allowance", { allows: () => false }, good, ["rate_limited"]],
    ["any when there is no room", { room: false }, good, ["no_room"]],
    ["our own come back", {}, { ...good, from: fromOf(self) }, []],
    ["our own though we are no author", { authors: [author] }, { ...good, from: fromOf(self) }, []],
  ])("drops %s and lowers nobody's score", async (_name, rules, message, expected) => {
    const { passed, refused, reasons, punished } = await guarded(rules).receive(message);
    expect(passed).toEqual([]);
    expect(reasons).toEqual(expected);
    expect(punished).toEqual([]);
    for (const refusal of refused)
      expect([refusal.claimedAuthor, refusal.forwarder]).toEqual([author, forwarder]);
  });

  it("asks for a copy's allowance as for a copy's, and needs no room for it", async () => {
    const asked: boolean[] = [];
    const { receive, verified } = guarded({
      room: false,
      allows: (isCopy) => asked.push(isCopy) > 0,
    });
    expect((await receive(good)).reasons).toEqual(["no_room"]);
    verified(good);
    expect((await receive(good)).passed).toEqual([good]);
    expect(asked).toEqual([false, true]);
  });

  it("hears nothing from a muted forwarder, nor from one whose connection is gone", async () => {
    expect((await guarded({ muted: [forwarder] }).receive(good)).rpcs).toBe(0);
    expect((await guarded({ gone: [forwarder] }).receive(good)).rpcs).toBe(0);
  });

  it("tells of an invalid signature that GossipSub found, and of what can't be decoded, by who sent it", async () => {
    const { router, read, offences } = guarded();
    router.score.rejectInvalidMessage(forwarder, TOPIC);
    expect(offences).toEqual([`${forwarder} invalid_signature`]);
    const { decoded } = await read([Uint8Array.of(1), Uint8Array.of(0xff), Uint8Array.of(2)]);
    expect(decoded).toEqual([Uint8Array.of(1), Uint8Array.of(2)]);
    expect(offences.slice(1)).toEqual([`${forwarder} unreadable`]);
  });

  it("does not decode what is beyond a peer's allowance of RPCs, and reads no further once it is shut out", async () => {
    let calls = 0;
    const allowing = guarded({ allowsRpc: () => ++calls !== 2 });
    const chunks = [1, 2, 3].map((n) => Uint8Array.of(n));
    expect((await allowing.read(chunks)).decoded).toEqual([Uint8Array.of(1), Uint8Array.of(3)]);
    const shutting: ReturnType<typeof guarded> = guarded({
      allowsRpc: () => shutting.shut.push(forwarder) > 0,
    });
    expect((await shutting.read(chunks)).decoded).toEqual([Uint8Array.of(1)]);
  });

  it("lets no peer have itself remembered as pruned for longer than ten minutes", async () => {
    const { router } = guarded();
    const prune = [{ topicID: TOPIC, peers: [], backoff: Number.MAX_SAFE_INTEGER }];
    const control = { ihave: [], iwant: [], graft: [], prune, idontwant: [] };
    const rpc: RPC = { subscriptions: [], messages: [], control };
    await router.handleReceivedRpc(toLibp2pPeerId(forwarder), rpc);
    expect(rpc.control?.prune[0]?.backoff).toBe(600);
  });

  it("hears nothing at all from a banned forwarder, control messages included", async () => {
    expect((await guarded({ banned: [forwarder] }).receive(good)).rpcs).toBe(0);
  });

  it("asks for no more offered messages than one answer can carry", async () => {
    const { router } = guarded();
    const messageIDs = Array.from({ length: 200 }, (_, i) => Uint8Array.of(i));
    const ihave = [{ topicID: TOPIC, messageIDs }];
    const control = { ihave, iwant: [], graft: [], prune: [], idontwant: [] };
    const rpc: RPC = { subscriptions: [], messages: [], control };
    await router.handleReceivedRpc(toLibp2pPeerId(forwarder), rpc);
    expect(rpc.control?.ihave[0]?.messageIDs).toHaveLength(48);
  });

  it("refuses to run on a gossipsub that is built otherwise", () => {
    const rules = {
      topic: TOPIC,
      self,
      isBanned: () => false,
      isShut: () => false,
      isAuthor: () => true,
      authorOf: () => null,
      allowsRpc: () => true,
      allows: () => true,
      turn: async () => {},
      hasRoom: () => true,
      onRefused: () => {},
      onOffence: () => {},
      onDuplicate: () => {},
    };
    expect(() => hardenRouter(Object.create(null), rules)).toThrow("not the one known");
  });
});

describe("identity", () => {
  it("reads an author only from the canonical multihash, which rebuilds to the same bytes", () => {
    const bytes = fromOf(author);
    expect(peerIdFromCanonicalMultihash(bytes)).toBe(author);
    expect(toPeerId(toLibp2pPeerId(author))).toBe(author);
    for (let at = 0; at < 6; at++)
      expect(
        peerIdFromCanonicalMultihash(bytes.map((byte, i) => (i === at ? byte ^ 1 : byte))),
      ).toBeNull();
  });
});

describe("duplicate cache", () => {
  it("forgets the oldest entry beyond its bound, and reports hits", () => {
    let hits = 0;
    const cache = new BoundedTimeCache<string>({
      entriesMax: 2,
      ttlMs: 60_000,
      onHit: () => hits++,
    });
    expect(cache.put("a", "1")).toBe(false);
    expect(cache.put("a", "2")).toBe(true);
    cache.put("b", "1");
    cache.put("c", "1");
    expect(cache.size).toBe(2);
    expect(cache.has("a")).toBe(false);
    expect(cache.get("c")).toBe("1");
    expect(cache.get("a")).toBeUndefined();
    expect(hits).toBe(1);
  });
});

describe("ban gater", () => {
  const bad = toLibp2pPeerId(author);
  const other = toLibp2pPeerId(forwarder);
  const settled: object[] = [];
  const open = {
    isShut: (peer: PeerId) => peer === author,
    isKnown: () => true,
    hasPlace: () => true,
    door: { admit: () => true, settle: (connection: object) => settled.push(connection) },
  };
  const connection = {};
  const ask = (
    gater: ConnectionGater,
    hook: keyof ConnectionGater,
    peer: Libp2pPeerId,
  ): unknown => {
    const deny: unknown = gater[hook];
    if (typeof deny !== "function") throw new Error(`${hook} is missing`);
    return deny(peer, connection);
  };

  it("denies a shut-out peer at every hook that names a peer, and nobody else", () => {
    const gater = banGater(open);
    const hooks = [
      "denyDialPeer",
      "denyOutboundConnection",
      "denyInboundEncryptedConnection",
      "denyOutboundEncryptedConnection",
      "denyInboundUpgradedConnection",
      "denyOutboundUpgradedConnection",
      "denyInboundRelayReservation",
    ] as const;
    for (const hook of hooks) {
      expect(ask(gater, hook, bad), hook).toBe(true);
      expect(ask(gater, hook, other), hook).toBe(false);
    }
    for (const [one, two] of [
      [bad, other],
      [other, bad],
    ] as const) {
      expect(gater.denyInboundRelayedConnection?.(one, two)).toBe(true);
      expect(gater.denyOutboundRelayedConnection?.(one, two)).toBe(true);
    }
    expect(gater.denyInboundRelayedConnection?.(other, other)).toBe(false);
    // Refused or not, a handshake that got so far is over.
    expect(settled).toEqual([connection, connection]);
  });

  it("refuses whoever finds no place as soon as its peer id is known, and before it is dialled", () => {
    const gater = banGater({ ...open, hasPlace: () => false });
    expect(ask(gater, "denyInboundEncryptedConnection", other)).toBe(true);
    expect(ask(gater, "denyDialPeer", other)).toBe(true);
  });

  it("reserves no place on the relay for a stranger", () => {
    const gater = banGater({ ...open, isKnown: () => false });
    expect(ask(gater, "denyInboundRelayReservation", other)).toBe(true);
    expect(ask(gater, "denyInboundEncryptedConnection", other)).toBe(false);
  });
});
