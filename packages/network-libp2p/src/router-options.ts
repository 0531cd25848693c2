import { type GossipsubOpts, StrictSign } from "@chainsafe/libp2p-gossipsub";
import type { RPC } from "@chainsafe/libp2p-gossipsub/message";
import { LIMITS } from "@quorate/core";
import { messageId } from "./envelope.ts";
import { latin1 } from "./identity.ts";

/** Messages asked for in one IWANT: their answer must still fit `RPC_BYTES_MAX`. */
export const IWANT_IDS_MAX = 48;
/**
 * One RPC, in bytes. An answer to an IWANT carries all its messages in one RPC, and a
 * peer whose RPC is too long is dropped, so the two bounds belong together.
 */
const RPC_BYTES_MAX = (IWANT_IDS_MAX + 16) * LIMITS.voteFrameBytesMax;
/** Bytes waiting to be sent to one peer: a slow reader is cut off (and re-dialled) beyond it. */
const OUTBOUND_BUFFER_BYTES_MAX = RPC_BYTES_MAX;

/** Below this a peer's gossip is not answered; below the next nothing is sent to it; below the last nothing is heard from it. */
const SCORE_GOSSIP = -50;
const SCORE_PUBLISH = -100;
const SCORE_GRAYLIST = -200;
/** A banned peer's score, far below every threshold and beyond any good it may have earned. */
const SCORE_BANNED = -1_000_000;

const SECOND_MS = 1_000;

/** What an exact copy of a message is recognised by, without verifying anything. */
export function fastMessageId(message: RPC.Message): string {
  const { signature, from } = message;
  if (signature === undefined || from === undefined) return "";
  return latin1(signature) + latin1(from);
}

/**
 * GossipSub's settings, all of them that matter.
 * @see spec §5.3 Configuration
 */
export function routerOptions(
  topic: string,
  isBanned: (peerId: string) => boolean,
): Partial<GossipsubOpts> {
  return {
    // Every message is signed by its author and refused otherwise: the signature is what
    // an INVALID_SIGNATURE verdict is proved with.
    globalSignaturePolicy: StrictSign,
    // The spec's mesh.
    D: 6,
    Dlo: 4,
    Dhi: 12,
    Dlazy: 6,
    // GossipSub's recommendation for these D: the best-scored kept when a mesh is cut
    // back, and the links we chose ourselves, against an eclipse by inbound peers.
    Dscore: 4,
    Dout: 2,
    heartbeatInterval: SECOND_MS,
    // How many heartbeats a message is kept for IWANT and told of in IHAVE. Five seconds
    // is also what the validator has (`validationTimeoutMs` is below it).
    mcacheLength: 5,
    mcacheGossip: 3,
    gossipFactor: 0.25,
    fanoutTTL: 60 * SECOND_MS,
    // The spec's duplicate window; the entry bound is put on in `hardenRouter`.
    seenTTL: LIMITS.gossipSeenTtlMs,
    msgIdFn: messageId,
    // Recognises an exact copy before its signature is verified, which costs most of a
    // message's CPU. The whole of author and signature is the key, and only a verified
    // message enters the cache, so nobody can shadow another's message with it.
    fastMsgIdFn: fastMessageId,
    msgIdToStrFn: latin1,
    // The author knows its own message already.
    emitSelf: false,
    // A vote goes to every subscriber at once: one hop instead of several, and a peer
    // outside the mesh is not left to the next heartbeat.
    floodPublish: true,
    // Encodes a message once for all peers.
    batchPublish: true,
    // Peers are found by the DHT; a peer list from whoever prunes us is an eclipse vector.
    doPX: false,
    directPeers: [],
    // Nobody in a cluster speaks floodsub, which has neither scores nor a mesh.
    fallbackToFloodsub: false,
    // Nobody connected yet is not an error: publish then reports 0 recipients.
    allowPublishToZeroTopicPeers: true,
    // Sequence numbers only grow, so a duplicate of our own would be a bug worth seeing.
    ignoreDuplicatePublishError: false,
    // Messages wait for our verdict before they are forwarded.
    asyncValidation: true,
    // One RPC of a peer at a time: a flood is held back by its own stream.
    awaitRpcHandler: true,
    awaitRpcMessageHandler: true,
    // Without it one peer could plant any number of topics (20,000 were seen) in memory.
    allowedTopics: [topic],
    maxTopicBytesPerPeer: 16 * 1_024,
    // Finite: the default allows thousands of sub-messages of each kind in one RPC.
    decodeRpcLimits: {
      maxSubscriptions: 16,
      // No honest RPC has more: an answer to an IWANT has the most.
      maxMessages: IWANT_IDS_MAX + 16,
      maxIhaveMessageIDs: 5_000,
      maxIwantMessageIDs: 1_024,
      maxIdontwantMessageIDs: 512,
      // Of each kind: there is one topic. Each may carry thousands of ids, which cost to decode.
      maxControlMessages: 4,
      maxPeerInfos: 0,
    },
    maxInboundDataLength: RPC_BYTES_MAX,
    maxOutboundBufferSize: OUTBOUND_BUFFER_BYTES_MAX,
    // One stream each way per connection; a second is the overlap of a re-opened one.
    maxInboundStreams: 2,
    maxOutboundStreams: 2,
    // Votes flow over a relay as well; that is what relays are here for.
    runOnLimitedConnection: true,
    // IDONTWANT saves a copy of a large frame; below this the notice costs as much.
    idontwantMinDataSize: 1_024,
    idontwantMaxMessages: 512,
    // Mesh peers are not to be closed when connections run short.
    tagMeshPeers: true,
    scoreThresholds: {
      gossipThreshold: SCORE_GOSSIP,
      publishThreshold: SCORE_PUBLISH,
      graylistThreshold: SCORE_GRAYLIST,
      // Unattainable: peer exchange stays off on the receiving side too.
      acceptPXThreshold: 1_000_000,
      opportunisticGraftThreshold: 1,
    },
    scoreParams: {
      topicScoreCap: 50,
      appSpecificScore: (peerId) => (isBanned(peerId) ? SCORE_BANNED : 0),
      appSpecificWeight: 1,
      // Many nodes of a cluster share an address (one host, one NAT). With a weight the
      // mesh was empty at 14 nodes on one machine, and floodPublish hid it.
      IPColocationFactorWeight: 0,
      IPColocationFactorThreshold: 10,
      IPColocationFactorWhitelist: new Set<string>(),
      // Broken IWANT promises and early GRAFTs. A loaded honest node breaks a few.
      behaviourPenaltyWeight: -1,
      behaviourPenaltyThreshold: 6,
      behaviourPenaltyDecay: 0.9,
      decayInterval: SECOND_MS,
      decayToZero: 0.01,
      // Long enough that reconnecting does not wash a score clean.
      retainScore: 10 * 60 * SECOND_MS,
      topics: {
        [topic]: {
          topicWeight: 1,
          // Time in the mesh and first deliveries earn a little, so that a single
          // misjudged message does not cost an honest peer its place.
          timeInMeshWeight: 0.05,
          timeInMeshQuantum: SECOND_MS,
          timeInMeshCap: 300,
          firstMessageDeliveriesWeight: 0.2,
          firstMessageDeliveriesDecay: 0.98,
          firstMessageDeliveriesCap: 100,
          // Off: votes come in bursts, and a peer with nothing to deliver is not at fault.
          meshMessageDeliveriesWeight: 0,
          meshMessageDeliveriesDecay: 0.5,
          meshMessageDeliveriesCap: 100,
          meshMessageDeliveriesThreshold: 1,
          meshMessageDeliveriesWindow: 10,
          meshMessageDeliveriesActivation: 60 * SECOND_MS,
          meshFailurePenaltyWeight: 0,
          meshFailurePenaltyDecay: 0.5,
          // REJECT: the count squared. Five in half a minute and the peer is not heard.
          invalidMessageDeliveriesWeight: -10,
          invalidMessageDeliveriesDecay: 0.98,
        },
      },
    },
  };
}
