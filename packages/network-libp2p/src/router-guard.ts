import type { GossipSub, TopicValidatorResult } from "@chainsafe/libp2p-gossipsub";
import type { RPC } from "@chainsafe/libp2p-gossipsub/message";
import type { PeerId as Libp2pPeerId } from "@libp2p/interface";
import { LIMITS, type PeerId } from "@quorate/core";
import type { GossipVerdict } from "@quorate/ports";
import { BoundedTimeCache } from "./bounded-time-cache.ts";
import { latin1, peerIdFromCanonicalMultihash, toPeerId } from "./identity.ts";
import { IWANT_IDS_MAX } from "./router-options.ts";

/** The parts of GossipSub that its published interface leaves out but its class has. */
export interface Router extends GossipSub {
  readonly mesh: ReadonlyMap<string, Set<string>>;
  readonly streamsOutbound: ReadonlyMap<string, unknown>;
  readonly score: { rejectInvalidMessage(from: string, topic: string): void };
  handleReceivedRpc(from: Libp2pPeerId, rpc: RPC): Promise<void>;
  reportMessageValidationResult(
    messageId: string,
    forwarder: string,
    acceptance: TopicValidatorResult,
  ): void;
}

interface DuplicateCaches {
  seenCache: object;
  fastMsgIdCache: object;
  publishedMessageIds: object;
}

export interface GuardRules {
  readonly topic: string;
  readonly self: PeerId;
  readonly isBanned: (peer: PeerId) => boolean;
  /** Whether the validator takes one more message from this forwarder. */
  readonly hasRoom: (forwarder: PeerId) => boolean;
  /** A message was refused before the validator. */
  readonly onRefused: (verdict: GossipVerdict) => void;
  readonly onDuplicate: () => void;
}

/**
 * Puts our checks in front of GossipSub's: sizes, bans, canonical form and room, all
 * cheaper than the signature that GossipSub verifies first thing; and bounds its
 * duplicate caches, which it bounds only in time.
 * @throws Error when this GossipSub is not built as expected: an upgrade must not
 *   silently switch the checks off.
 */
export function hardenRouter(router: GossipSub, rules: GuardRules): Router {
  if (!isRouter(router)) throw new Error("this version of gossipsub is not the one known here");
  const seen = new BoundedTimeCache<true>({
    entriesMax: LIMITS.gossipSeenMax,
    ttlMs: LIMITS.gossipSeenTtlMs,
  });
  router.seenCache = seen;
  router.fastMsgIdCache = new BoundedTimeCache<string>({
    entriesMax: LIMITS.gossipSeenMax,
    ttlMs: LIMITS.gossipSeenTtlMs,
    onHit: () => rules.onDuplicate(),
  });
  router.publishedMessageIds = new BoundedTimeCache<true>({
    entriesMax: LIMITS.gossipSeenMax,
    ttlMs: LIMITS.gossipSeenTtlMs,
  });
  const handle = router.handleReceivedRpc.bind(router);
  router.handleReceivedRpc = async (from, rpc) => {
    const forwarder = toPeerId(from);
    // Nothing at all is heard from a banned peer while its connection is closing.
    if (forwarder === null || rules.isBanned(forwarder)) return;
    rpc.messages = rpc.messages.filter((message) => {
      const refusal = refusalOf(message, forwarder, rules);
      if (refusal === null) return true;
      rules.onRefused(refusal);
      if (refusal === "REJECT") router.score.rejectInvalidMessage(forwarder, rules.topic);
      return false;
    });
    trimIhave(rpc, (id) => seen.has(id));
    await handle(from, rpc);
  };
  return router;
}

/** Why a message is not even passed on to have its signature verified; null when it is. */
function refusalOf(
  message: RPC.Message,
  forwarder: PeerId,
  rules: GuardRules,
): GossipVerdict | null {
  if (message.topic !== rules.topic) return "IGNORE";
  const { from, data, seqno, signature } = message;
  // Absent and empty data are one to the reader but not to the signature, so an
  // envelope with either could not be rebuilt. No frame is empty anyway.
  if (data === undefined || data.length === 0) return "REJECT";
  if (data.length > LIMITS.voteFrameBytesMax) return "REJECT";
  if (seqno?.length !== 8 || signature?.length !== 64) return "REJECT";
  const author = from === undefined ? null : peerIdFromCanonicalMultihash(from);
  if (author === null) return "REJECT";
  // Our own, come round a loop; it needs no second judgement.
  if (author === rules.self) return "IGNORE";
  // [spec §3.3] The forwarder may not know of the ban yet and is not to blame.
  if (rules.isBanned(author)) return "IGNORE";
  // Not put among the seen: it can still be fetched when there is room again.
  if (!rules.hasRoom(forwarder)) return "IGNORE";
  return null;
}

/** Leaves in an IHAVE only as many unseen ids as one RPC can answer. The rest is offered again next heartbeat. */
function trimIhave(rpc: RPC, isSeen: (id: string) => boolean): void {
  let room = IWANT_IDS_MAX;
  for (const ihave of rpc.control?.ihave ?? []) {
    ihave.messageIDs = ihave.messageIDs.filter((id) => {
      if (room === 0 || isSeen(latin1(id))) return false;
      room--;
      return true;
    });
  }
}

function isRouter(router: GossipSub): router is Router & DuplicateCaches {
  return (
    has(router, "mesh", "object") &&
    has(router, "streamsOutbound", "object") &&
    has(router, "score", "object") &&
    has(router, "handleReceivedRpc", "function") &&
    has(router, "reportMessageValidationResult", "function") &&
    has(router, "seenCache", "object") &&
    has(router, "fastMsgIdCache", "object") &&
    has(router, "publishedMessageIds", "object")
  );
}

function has(owner: object, key: string, type: "object" | "function"): boolean {
  const value: unknown = Reflect.get(owner, key);
  return value !== null && typeof value === type;
}
