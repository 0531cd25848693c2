import type { RPC } from "@chainsafe/libp2p-gossipsub/message";
import { LIMITS, type PeerId } from "@quorate/core";
import type { GossipVerdict } from "@quorate/ports";
import { describe, expect, it } from "vitest";
import { banGater } from "./ban-gater.ts";
import { BoundedTimeCache } from "./bounded-time-cache.ts";
import {
  peerIdFromCanonicalMultihash,
  peerIdFromSeed,
  toLibp2pPeerId,
  toPeerId,
} from "./identity.ts";
import { hardenRouter } from "./router-guard.ts";
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

/** Stands where GossipSub's class does: records what the guard lets through to it. */
function guarded(rules: { banned?: PeerId[]; room?: boolean } = {}) {
  const passed: RPC[] = [];
  const refused: GossipVerdict[] = [];
  const punished: string[] = [];
  const inner = {
    mesh: new Map(),
    streamsOutbound: new Map(),
    score: { rejectInvalidMessage: (peer: string) => punished.push(peer) },
    handleReceivedRpc: async (_from: unknown, rpc: RPC) => {
      passed.push(rpc);
    },
    reportMessageValidationResult: () => {},
    seenCache: {},
    fastMsgIdCache: {},
    publishedMessageIds: {},
  };
  const router = hardenRouter(Object.assign(Object.create(null), inner), {
    topic: TOPIC,
    self,
    isBanned: (peer) => rules.banned?.includes(peer) ?? false,
    hasRoom: () => rules.room ?? true,
    onRefused: (verdict) => refused.push(verdict),
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
      punished,
      rpcs: passed.length,
    };
  };
  return { receive, router };
}

describe("the guard before the signature check", () => {
  it("lets a well-formed message through", async () => {
    const { passed, refused } = await guarded().receive(good);
    expect(passed).toEqual([good]);
    expect(refused).toEqual([]);
  });

  it.each([
    ["no data", { data: undefined }],
    ["empty data, which signs differently from none", { data: new Uint8Array() }],
    ["a byte too many", { data: new Uint8Array(LIMITS.voteFrameBytesMax + 1) }],
    ["a short sequence number", { seqno: new Uint8Array(7) }],
    ["no signature", { signature: undefined }],
    ["a long signature", { signature: new Uint8Array(65) }],
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
    const { passed, refused, punished } = await guarded().receive(message);
    expect(passed).toEqual([]);
    expect(refused).toEqual(["REJECT"]);
    expect(punished).toEqual([forwarder]);
  });

  it("ignores a banned author's message, our own come back, and any when there is no room, blaming nobody", async () => {
    const cases = [
      { rules: { banned: [author] }, message: good },
      { rules: {}, message: { ...good, from: fromOf(self) } },
      { rules: { room: false }, message: good },
    ];
    for (const { rules, message } of cases) {
      const { passed, refused, punished } = await guarded(rules).receive(message);
      expect(passed).toEqual([]);
      expect(refused).toEqual(["IGNORE"]);
      expect(punished).toEqual([]);
    }
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
      hasRoom: () => true,
      onRefused: () => {},
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
  it("denies a banned peer at every hook that names a peer, and nobody else", () => {
    const gater = banGater((peer) => peer === author);
    const bad = toLibp2pPeerId(author);
    const other = toLibp2pPeerId(forwarder);
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
      const deny: unknown = gater[hook];
      if (typeof deny !== "function") throw new Error(`${hook} is missing`);
      expect(deny(bad), hook).toBe(true);
      expect(deny(other), hook).toBe(false);
    }
    for (const [one, two] of [
      [bad, other],
      [other, bad],
    ] as const) {
      expect(gater.denyInboundRelayedConnection?.(one, two)).toBe(true);
      expect(gater.denyOutboundRelayedConnection?.(one, two)).toBe(true);
    }
    expect(gater.denyInboundRelayedConnection?.(other, other)).toBe(false);
  });
});
