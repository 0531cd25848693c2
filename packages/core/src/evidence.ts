import { concatBytes, equalBytes, fromBase64, hash, toBase64, utf8 } from "./bytes.ts";
import type { Epoch, NodeId, PeerId, TxId } from "./ids.ts";
import { LIMITS } from "./limits.ts";
import { assert, assertNever, err, ok, type Result } from "./result.ts";
import { peerIdBytesOf, type Trustee, type TrusteeSet } from "./trustee-set.ts";
import {
  decodeFrame,
  decodeVote,
  type SignedVote,
  type VerifiedVote,
  type Verify,
  verifyFrame,
  verifyVote,
} from "./vote.ts";
import { type VoteJson, voteFromJson, voteToJson } from "./vote-json.ts";

/** The outer signature of a gossip message, base64 throughout: it proves who published `data`. */
export interface EnvelopeJson {
  readonly from: string;
  readonly data: string;
  readonly seqno: string;
  readonly topic: string;
  readonly signature: string;
}

/** What a violation rests on, as JSON: kept in etcd and PostgreSQL, and exported to files. */
export type Evidence =
  | { readonly type: "DOUBLE_VOTING"; readonly first: VoteJson; readonly second: VoteJson }
  | {
      readonly type: "MINORITY_VOTE";
      readonly vote: VoteJson;
      readonly threshold: number;
      /** The votes that reached the threshold for another value. */
      readonly majority: readonly VoteJson[];
    }
  | { readonly type: "INVALID_SIGNATURE"; readonly envelope: EnvelopeJson }
  | {
      readonly type: "SILENT_FAILURE";
      readonly nodeId: string;
      readonly openedAtMs: number;
      readonly deadlineAtMs: number;
      readonly voted: readonly string[];
    }
  /** No violation of its own: many small ones, each with its own evidence, have brought the score below the bound (§7.3). */
  | {
      readonly type: "LOW_REPUTATION";
      readonly nodeId: string;
      readonly score: number;
      readonly bound: number;
      readonly violations: readonly {
        readonly txId: string;
        readonly type: string;
        readonly detectedAtMs: number;
      }[];
    };

/** The trustee sets that votes may belong to, by epoch. */
export type TrusteeSets = ReadonlyMap<Epoch, TrusteeSet>;

/** The sets as a map: for what is known to be of one epoch. */
export function onlySet(set: TrusteeSet): TrusteeSets {
  return new Map([[set.epoch, set]]);
}

const json = (signed: SignedVote, set: TrusteeSet): VoteJson =>
  voteToJson(signed, set.byNodeId.get(signed.vote.nodeId)?.peerId ?? "");

/** @param first by the same key as the second, in whatever epoch. */
export function doubleVotingEvidence(first: SignedVote, second: VerifiedVote): Evidence {
  const { peerId } = second;
  return {
    type: "DOUBLE_VOTING",
    first: voteToJson(first, peerId),
    second: voteToJson(second, peerId),
  };
}

export function minorityEvidence(
  vote: SignedVote,
  majority: readonly SignedVote[],
  set: TrusteeSet,
): Evidence {
  return {
    type: "MINORITY_VOTE",
    vote: json(vote, set),
    threshold: set.threshold,
    majority: majority.slice(0, set.threshold).map((v) => json(v, set)),
  };
}

/** Names a piece of evidence: BLAKE3 of its JSON text, base64. */
export function evidenceHash(evidence: Evidence): string {
  return toBase64(hash(utf8(JSON.stringify(evidence))));
}

/** What verified evidence proves, in one sentence, and against whom. */
export interface Finding {
  readonly nodeId: NodeId;
  readonly peerId: PeerId;
  readonly txId: TxId;
  readonly sentence: string;
}

/** Checks a piece of evidence with nothing but the trustee sets of its epochs. */
export function verifyEvidence(
  evidence: Evidence,
  sets: TrusteeSets,
  verify: Verify,
): Result<Finding, string> {
  switch (evidence.type) {
    case "DOUBLE_VOTING":
      return verifyDoubleVoting(evidence, sets, verify);
    case "MINORITY_VOTE":
      return verifyMinority(evidence, sets, verify);
    case "INVALID_SIGNATURE":
      return verifyInvalidSignature(evidence.envelope, sets, verify);
    case "LOW_REPUTATION":
      return err("a low score leaves no signature: each violation behind it has its own evidence");
    case "SILENT_FAILURE":
      return err("silence leaves no signature: it is an observation of the cluster, not a proof");
    default:
      return assertNever(evidence);
  }
}

function checked(vote: VoteJson, sets: TrusteeSets, verify: Verify): Result<VerifiedVote, string> {
  const read = voteFromJson(vote);
  if (!read.ok) return err(read.error.message);
  const { epoch } = read.value.vote;
  const set = sets.get(epoch);
  if (set === undefined) return err(`the trustee set of epoch ${epoch} is not known`);
  const good = verifyVote(read.value, set, verify);
  if (!good.ok) return err(good.error.message);
  // People read these two, so they must not say anything else than what was signed.
  if (vote.peer_id !== good.value.peerId)
    return err(`the peer id is not ${good.value.vote.nodeId}'s`);
  if (Date.parse(vote.timestamp) !== good.value.vote.issuedAtMs)
    return err("the timestamp is not the one that was signed");
  return ok(good.value);
}

function verifyDoubleVoting(
  evidence: { readonly first: VoteJson; readonly second: VoteJson },
  sets: TrusteeSets,
  verify: Verify,
): Result<Finding, string> {
  const first = checked(evidence.first, sets, verify);
  if (!first.ok) return err(`first vote: ${first.error}`);
  const second = checked(evidence.second, sets, verify);
  if (!second.ok) return err(`second vote: ${second.error}`);
  const a = first.value.vote;
  const b = second.value.vote;
  // By the key, for a name may get another one with a new epoch.
  if (first.value.peerId !== second.value.peerId)
    return err("the two votes are by different trustees");
  if (a.txId !== b.txId) return err("the two votes are for different transactions");
  if (a.value === b.value) return err("the two votes are for the same value");
  const when = a.epoch === b.epoch ? `epoch ${a.epoch}` : `epochs ${a.epoch} and ${b.epoch}`;
  return ok({
    nodeId: b.nodeId,
    peerId: second.value.peerId,
    txId: b.txId,
    sentence: `${b.nodeId} signed two votes for ${a.txId} in ${when}: ${a.value} and ${b.value}.`,
  });
}

function verifyMinority(
  evidence: {
    readonly vote: VoteJson;
    readonly threshold: number;
    readonly majority: readonly VoteJson[];
  },
  sets: TrusteeSets,
  verify: Verify,
): Result<Finding, string> {
  const dissent = checked(evidence.vote, sets, verify);
  if (!dissent.ok) return err(`the dissenting vote: ${dissent.error}`);
  const { vote } = dissent.value;
  const set = sets.get(vote.epoch);
  assert(set !== undefined, "the vote was checked against its set");
  if (evidence.threshold !== set.threshold)
    return err(`the threshold of epoch ${set.epoch} is ${set.threshold}`);
  const voters = new Set<NodeId>();
  let value: bigint | null = null;
  for (const majorityVote of evidence.majority) {
    const good = checked(majorityVote, sets, verify);
    if (!good.ok) return err(`a majority vote: ${good.error}`);
    const other = good.value.vote;
    if (other.txId !== vote.txId) return err("a majority vote is for another transaction");
    if (other.epoch !== vote.epoch) return err("a majority vote is of another epoch");
    if (value !== null && other.value !== value) return err("the majority votes differ");
    value = other.value;
    voters.add(other.nodeId);
  }
  if (value === null || voters.size < set.threshold)
    return err(`only ${voters.size} of ${set.threshold} needed trustees are in the majority`);
  if (value === vote.value) return err("the vote agrees with the majority");
  return ok({
    nodeId: vote.nodeId,
    peerId: dissent.value.peerId,
    txId: vote.txId,
    sentence: `${vote.nodeId} voted ${vote.value} for ${vote.txId} in epoch ${vote.epoch}, against ${voters.size} trustees who voted ${value}.`,
  });
}

/** The bytes that a strict-signing gossip author signs: the prefix and the protobuf of from, data, seqno and topic. */
export function envelopeSigningBytes(envelope: {
  readonly from: Uint8Array;
  readonly data: Uint8Array;
  readonly sequenceNumber: Uint8Array;
  readonly topic: string;
}): Uint8Array {
  const field = (tag: number, bytes: Uint8Array): Uint8Array =>
    concatBytes(Uint8Array.of((tag << 3) | 2), varint(bytes.length), bytes);
  return concatBytes(
    utf8("libp2p-pubsub:"),
    field(1, envelope.from),
    field(2, envelope.data),
    field(3, envelope.sequenceNumber),
    field(4, utf8(envelope.topic)),
  );
}

function varint(n: number): Uint8Array {
  const out: number[] = [];
  let rest = n;
  while (rest > 0x7f) {
    out.push((rest & 0x7f) | 0x80);
    rest >>>= 7;
  }
  out.push(rest);
  return Uint8Array.from(out);
}

function verifyInvalidSignature(
  envelope: EnvelopeJson,
  sets: TrusteeSets,
  verify: Verify,
): Result<Finding, string> {
  const from = fromBase64(envelope.from);
  const data = fromBase64(envelope.data);
  const sequenceNumber = fromBase64(envelope.seqno);
  const signature = fromBase64(envelope.signature);
  if (from === null || data === null || sequenceNumber === null || signature === null)
    return err("the envelope is not readable");
  const named = namedVote(data);
  if (named === null) return err("the published bytes are no vote");
  const set = sets.get(named.epoch);
  if (set === undefined) return err(`the trustee set of epoch ${named.epoch} is not known`);
  const author = authorOf(from, set, sets);
  if (author === undefined) return err("the publisher is not a trustee");
  const signed = envelopeSigningBytes({ from, data, sequenceNumber, topic: envelope.topic });
  if (!verify(author.publicKey, signed, signature))
    return err("the publisher's own signature is not valid, so it proves nothing");
  const frame = decodeFrame(data);
  if (!frame.ok) return err("the published bytes are no vote");
  const inner = verifyFrame(frame.value, set, verify);
  if (inner.ok) return err("the vote's signature is valid");
  if (inner.error.code !== "BAD_SIGNATURE") return err(inner.error.message);
  return ok({
    nodeId: author.nodeId,
    peerId: author.peerId,
    txId: named.txId,
    sentence: `${author.nodeId} published a vote in the name of ${named.nodeId} for ${named.txId} whose signature is not ${named.nodeId}'s.`,
  });
}

/** Who published, under the name that it has in the vote's epoch, or else in any. */
function authorOf(from: Uint8Array, set: TrusteeSet, sets: TrusteeSets): Trustee | undefined {
  const isAuthor = (t: Trustee): boolean => equalBytes(peerIdBytesOf(t.publicKey), from);
  const others = [...sets.values()].flatMap((other) => other.trustees);
  return set.trustees.find(isAuthor) ?? others.find(isAuthor);
}

/** Whose vote, and on what, a frame claims to be; null when it is no frame. Believes nothing. */
export function namedVote(
  frameBytes: Uint8Array,
): { readonly nodeId: NodeId; readonly txId: TxId; readonly epoch: Epoch } | null {
  if (frameBytes.length > LIMITS.voteFrameBytesMax) return null;
  const frame = decodeFrame(frameBytes);
  const leaf = frame.ok ? frame.value.leaves[0] : undefined;
  if (leaf === undefined) return null;
  const vote = decodeVote(leaf);
  if (!vote.ok) return null;
  const { nodeId, txId, epoch } = vote.value;
  return { nodeId, txId, epoch };
}
