import type { GossipSub, TopicValidatorResult } from "@chainsafe/libp2p-gossipsub";
import type { RPC } from "@chainsafe/libp2p-gossipsub/message";
import type { PeerId as Libp2pPeerId } from "@libp2p/interface";
import { LIMITS, type PeerId, parsePeerId } from "@quorate/core";
import type { GossipRefusal, GossipRefusalReason } from "@quorate/ports";
import { BoundedTimeCache } from "./bounded-time-cache.ts";
import { latin1, toPeerId } from "./identity.ts";
import { fastMessageId, IWANT_IDS_MAX } from "./router-options.ts";

/** The parts of GossipSub that its published interface leaves out but its class has. */
export interface Router extends GossipSub {
  readonly mesh: ReadonlyMap<string, Set<string>>;
  readonly peers: ReadonlyMap<string, unknown>;
  /** Subscribers by topic, as they said themselves. */
  readonly topics: ReadonlyMap<string, unknown>;
  readonly streamsOutbound: ReadonlyMap<string, unknown>;
  /** By topic and peer, until when (ms since the Unix epoch) it must not be grafted. */
  readonly backoff: ReadonlyMap<string, Map<string, number>>;
  readonly score: RouterScore;
  handleReceivedRpc(from: Libp2pPeerId, rpc: RPC): Promise<void>;
  reportMessageValidationResult(
    messageId: string,
    forwarder: string,
    acceptance: TopicValidatorResult,
  ): void;
}

export interface RouterScore {
  readonly peerStats: Map<string, PeerStats>;
  readonly scoreCache: Map<string, unknown>;
  removeIP(peer: string, ip: string): void;
  rejectInvalidMessage(from: string, topic: string): void;
}

/** What GossipSub holds for and against a peer. */
export interface PeerStats {
  readonly connected: boolean;
  readonly behaviourPenalty: number;
  readonly knownIPs: ReadonlySet<string>;
  readonly topics: Readonly<
    Record<
      string,
      { readonly invalidMessageDeliveries: number; readonly meshFailurePenalty: number }
    >
  >;
}

/** One RPC as it was read, not decoded. */
export interface RawRpc {
  readonly byteLength: number;
  subarray(): Uint8Array;
}

interface Internals {
  seenCache: object;
  fastMsgIdCache: object;
  publishedMessageIds: object;
  decodeRpc(bytes: Uint8Array): RPC;
  pipePeerReadStream(from: Libp2pPeerId, rpcs: AsyncIterable<RawRpc>): Promise<void>;
}

export interface GuardRules {
  readonly topic: string;
  readonly self: PeerId;
  readonly isBanned: (peer: PeerId) => boolean;
  /** Banned or muted: nothing at all is heard from it. */
  readonly isShut: (peer: PeerId) => boolean;
  readonly isAuthor: (peer: PeerId) => boolean;
  /** The peer id in a `from` field; null unless in canonical form. */
  readonly authorOf: (from: Uint8Array) => PeerId | null;
  /** Whether one more RPC of so many bytes is decoded. */
  readonly allowsRpc: (forwarder: PeerId, bytes: number) => boolean;
  /** Whether one more message is within the forwarder's allowances; takes it from them. */
  readonly allows: (forwarder: PeerId, author: PeerId, bytes: number, isCopy: boolean) => boolean;
  /** Lets everybody else have a turn, if they have waited too long; asked before each RPC. */
  readonly turn: () => Promise<void>;
  /** Whether the validator takes one more message from this forwarder. */
  readonly hasRoom: (forwarder: PeerId) => boolean;
  /** A message was refused before the validator. */
  readonly onRefused: (refusal: GossipRefusal) => void;
  /** A peer sent what no honest peer sends, and it was no message that could be refused. */
  readonly onOffence: (forwarder: PeerId, offence: "unreadable" | "invalid_signature") => void;
  readonly onDuplicate: () => void;
}

/** Longest that a peer may ask not to be grafted again, in seconds; GossipSub's own default is 60. */
const BACKOFF_SECONDS_MAX = 600;

/**
 * Puts our checks in front of GossipSub's: sizes, bans, known authors, canonical form,
 * rates and room, all cheaper than the signature that GossipSub verifies first thing; and
 * bounds its duplicate caches, which it bounds only in time.
 * @throws Error when this GossipSub is not built as expected: an upgrade must not
 *   silently switch the checks off.
 */
export function hardenRouter(router: GossipSub, rules: GuardRules): Router {
  if (!isRouter(router)) throw new Error("this version of gossipsub is not the one known here");
  const bounds = { entriesMax: LIMITS.gossipSeenMax, ttlMs: LIMITS.gossipSeenTtlMs };
  const seen = new BoundedTimeCache<true>(bounds);
  const fast = new BoundedTimeCache<string>({ ...bounds, onHit: () => rules.onDuplicate() });
  router.seenCache = seen;
  router.fastMsgIdCache = fast;
  router.publishedMessageIds = new BoundedTimeCache<true>(bounds);
  watchReading(router, rules);
  const { score } = router;
  const punish = score.rejectInvalidMessage.bind(score);
  // GossipSub calls it for one thing only: a signature that is not valid. (Had it been
  // checked and found good, an honest forwarder would have found the same.)
  score.rejectInvalidMessage = (from, topic) => {
    punish(from, topic);
    const forwarder = parsePeerId(from);
    if (forwarder.ok) rules.onOffence(forwarder.value, "invalid_signature");
  };
  const handle = router.handleReceivedRpc.bind(router);
  router.handleReceivedRpc = async (from, rpc) => {
    const forwarder = toPeerId(from);
    // Nothing at all is heard from a shut-out peer while its connection is closing, nor
    // from one whose connection is gone: GossipSub would remember it for ever.
    if (forwarder === null || rules.isShut(forwarder) || !router.peers.has(forwarder)) return;
    rpc.messages = rpc.messages.filter((message) => {
      const reason = refusalOf(message, forwarder, rules, fast);
      if (reason === null) {
        // The author's id holds its key already. What else stands here nobody has signed and no size
        // has bounded: megabytes of it would be kept, and passed on in the author's name.
        delete message.key;
        return true;
      }
      if (reason === "own") return false;
      rules.onRefused(new Refusal(reason, forwarder, message, rules.authorOf));
      if (BY_FORM.has(reason)) punish(forwarder, rules.topic);
      return false;
    });
    // It may have been muted for the very messages above.
    if (rules.isShut(forwarder)) return;
    trimIhave(rpc, (id) => seen.has(id));
    trimBackoff(rpc);
    await handle(from, rpc);
  };
  return router;
}

/** Refusals that show in the message itself: no honest peer can have sent it. */
const BY_FORM: ReadonlySet<GossipRefusalReason> = new Set(["malformed_envelope", "oversized"]);

/** A refused message; its author's id, dear to spell, is spelt only when asked for. */
class Refusal implements GossipRefusal {
  readonly reason: GossipRefusalReason;
  readonly forwarder: PeerId;
  readonly #message: RPC.Message;
  readonly #authorOf: GuardRules["authorOf"];

  constructor(
    reason: GossipRefusalReason,
    forwarder: PeerId,
    message: RPC.Message,
    authorOf: GuardRules["authorOf"],
  ) {
    this.reason = reason;
    this.forwarder = forwarder;
    this.#message = message;
    this.#authorOf = authorOf;
  }

  get claimedAuthor(): PeerId | null {
    const { from } = this.#message;
    return from === undefined ? null : this.#authorOf(from);
  }

  get data(): Uint8Array {
    return this.#message.data ?? new Uint8Array();
  }
}

/** Counts what a peer sends before it is decoded, stops reading from one shut out, and tells of what can't be decoded. */
function watchReading(router: Router & Internals, rules: GuardRules): void {
  let reading: PeerId | null = null;
  async function* watched(from: PeerId, rpcs: AsyncIterable<RawRpc>): AsyncIterable<RawRpc> {
    for await (const rpc of rpcs) {
      await rules.turn();
      if (rules.isShut(from)) return;
      const { byteLength } = rpc;
      if (!rules.allowsRpc(from, byteLength)) continue;
      // GossipSub decodes in the same breath in which it takes the bytes.
      const subarray = (): Uint8Array => {
        reading = from;
        return rpc.subarray();
      };
      yield { byteLength, subarray };
    }
  }
  const pipe = router.pipePeerReadStream.bind(router);
  router.pipePeerReadStream = async (from, rpcs) => {
    const forwarder = toPeerId(from);
    if (forwarder !== null) await pipe(from, watched(forwarder, rpcs));
  };
  const decode = router.decodeRpc.bind(router);
  router.decodeRpc = (bytes) => {
    try {
      return decode(bytes);
    } catch (error) {
      if (reading !== null) rules.onOffence(reading, "unreadable");
      throw error;
    }
  };
}

/** Why a message is not even passed on to have its signature verified; null when it is. */
function refusalOf(
  message: RPC.Message,
  forwarder: PeerId,
  rules: GuardRules,
  seen: { has(id: string): boolean },
): GossipRefusalReason | "own" | null {
  if (message.topic !== rules.topic) return "malformed_envelope";
  const { from, data, seqno, signature } = message;
  // Absent and empty data are one to the reader but not to the signature, so an
  // envelope with either could not be rebuilt. No frame is empty anyway.
  if (data === undefined || data.length === 0) return "malformed_envelope";
  if (data.length > LIMITS.voteFrameBytesMax) return "oversized";
  if (seqno?.length !== 8 || signature?.length !== 64) return "malformed_envelope";
  const author = from === undefined ? null : rules.authorOf(from);
  if (author === null) return "malformed_envelope";
  // [spec §3.3] The forwarder may not know of the ban yet and is not to blame.
  if (rules.isBanned(author)) return "author_banned";
  const isOwn = author === rules.self;
  // The message id leaves the author out, so a copy under an outsider's name would have
  // the original's id and make that look like a duplicate. It must get no further.
  if (!isOwn && !rules.isAuthor(author)) return "unknown_author";
  const isCopy = isOwn || seen.has(fastMessageId(message));
  if (!rules.allows(forwarder, author, data.length, isCopy)) return "rate_limited";
  // Our own, come round a loop; it needs no second judgement.
  if (isOwn) return "own";
  // Not put among the seen: it can still be fetched when there is room again.
  if (!isCopy && !rules.hasRoom(forwarder)) return "no_room";
  return null;
}

/** A peer may not have itself remembered as pruned for ever. */
function trimBackoff(rpc: RPC): void {
  for (const prune of rpc.control?.prune ?? [])
    if (prune.backoff !== undefined)
      prune.backoff = Math.min(Number(prune.backoff), BACKOFF_SECONDS_MAX);
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

function isRouter(router: GossipSub): router is Router & Internals {
  const score: unknown = Reflect.get(router, "score");
  return (
    typeof score === "object" &&
    score !== null &&
    has(score, "peerStats", "object") &&
    has(score, "scoreCache", "object") &&
    has(score, "removeIP", "function") &&
    has(score, "rejectInvalidMessage", "function") &&
    has(router, "mesh", "object") &&
    has(router, "streamsOutbound", "object") &&
    has(router, "peers", "object") &&
    has(router, "topics", "object") &&
    has(router, "backoff", "object") &&
    has(router, "decodeRpc", "function") &&
    has(router, "pipePeerReadStream", "function") &&
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
