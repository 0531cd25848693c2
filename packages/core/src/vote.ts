import { concatBytes, lengthPrefixed, u16, u64, utf8 } from "./bytes.ts";
import {
  type ClusterId,
  type Epoch,
  type NodeId,
  type PeerId,
  parseClusterId,
  parseEpoch,
  parseNodeId,
  parseTxId,
  parseValue,
  type TxId,
  type Value,
} from "./ids.ts";
import { LIMITS } from "./limits.ts";
import { leafHash, merkleRoot, merkleTree, rootFromPath } from "./merkle.ts";
import { assert, err, ok, type Result } from "./result.ts";
import type { TrusteeSet } from "./trustee-set.ts";

/** One trustee's word on one transaction. */
export interface Vote {
  readonly clusterId: ClusterId;
  readonly epoch: Epoch;
  readonly txId: TxId;
  readonly value: Value;
  readonly nodeId: NodeId;
  /** When it was signed, in ms since the Unix epoch, by the trustee's clock. */
  readonly issuedAtMs: number;
}

/**
 * Stands alone: the exact bytes that were signed for, the way up to the signed
 * root, and the signature. A vote signed alone has size 1 and an empty path.
 */
export interface VoteProof {
  readonly leaf: Uint8Array;
  readonly index: number;
  readonly size: number;
  readonly path: readonly Uint8Array[];
  /** Ed25519, 64 bytes, over `rootSigningBytes(size, root)`. */
  readonly signature: Uint8Array;
}

/** A vote that decoded well; its signature is not checked yet. */
export interface SignedVote {
  readonly vote: Vote;
  readonly proof: VoteProof;
}

declare const verified: unique symbol;

/** A vote whose signature was checked against the trustee set. Only `verifyVote` and `verifyFrame` make one. */
export interface VerifiedVote extends SignedVote {
  readonly peerId: PeerId;
  readonly [verified]: true;
}

export type VoteRefusal =
  | "MALFORMED"
  | "TOO_LARGE"
  | "WRONG_CLUSTER"
  | "WRONG_EPOCH"
  | "UNKNOWN_TRUSTEE"
  | "MIXED_AUTHORS"
  | "BAD_SIGNATURE";

export interface VoteError {
  readonly code: VoteRefusal;
  readonly message: string;
}

const VOTE_DOMAIN = "quorate/vote/v1";
const BATCH_DOMAIN = "quorate/batch/v1";
const FRAME_VERSION = 1;
const SIGNATURE_BYTES = 64;

/** One character a byte; ids are ASCII, and the parsers refuse all else. */
function textOf(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return text;
}

const refuse = (code: VoteRefusal, message: string): Result<never, VoteError> =>
  err({ code, message });

/**
 * The canonical bytes of a vote (R1): the domain, then each field behind its
 * length, so that no two different votes share bytes and none is valid in
 * another cluster or epoch.
 */
export function encodeVote(vote: Vote): Uint8Array {
  assert(
    Number.isInteger(vote.issuedAtMs) &&
      vote.issuedAtMs >= 0 &&
      vote.issuedAtMs <= LIMITS.issuedAtMsMax,
    "issuedAtMs is a time",
  );
  const leaf = concatBytes(
    lengthPrefixed(utf8(VOTE_DOMAIN)),
    lengthPrefixed(utf8(vote.clusterId)),
    lengthPrefixed(u64(BigInt(vote.epoch))),
    lengthPrefixed(utf8(vote.txId)),
    lengthPrefixed(u64(vote.value)),
    lengthPrefixed(utf8(vote.nodeId)),
    lengthPrefixed(u64(BigInt(vote.issuedAtMs))),
  );
  assert(leaf.length <= LIMITS.voteLeafBytesMax, "ids are bounded, so the leaf is");
  return leaf;
}

/** Reads canonical vote bytes. Exactly one byte string decodes to a given vote. */
export function decodeVote(leaf: Uint8Array): Result<Vote, VoteError> {
  if (leaf.length > LIMITS.voteLeafBytesMax) return refuse("TOO_LARGE", "vote is too large");
  const fields = readFields(leaf, 7);
  if (fields === null) return refuse("MALFORMED", "vote fields do not fit its length");
  const [domain, cluster, epochBytes, tx, valueBytes, node, issuedBytes] = fields as [
    Uint8Array,
    Uint8Array,
    Uint8Array,
    Uint8Array,
    Uint8Array,
    Uint8Array,
    Uint8Array,
  ];
  if (textOf(domain) !== VOTE_DOMAIN) return refuse("MALFORMED", "not a vote");
  // Ids are ASCII by their grammars, so any other byte fails the parser below.
  const clusterId = parseClusterId(textOf(cluster));
  const txId = parseTxId(textOf(tx));
  const nodeId = parseNodeId(textOf(node));
  const epochNumber = readU64(epochBytes);
  const valueNumber = readU64(valueBytes);
  const issuedAt = readU64(issuedBytes);
  if (epochNumber === null || valueNumber === null || issuedAt === null)
    return refuse("MALFORMED", "a number field is not 8 bytes");
  const epoch = parseEpoch(Number(epochNumber));
  const value = parseValue(valueNumber);
  const issuedAtMs = Number(issuedAt);
  if (!clusterId.ok) return refuse("MALFORMED", clusterId.error.message);
  if (!txId.ok) return refuse("MALFORMED", txId.error.message);
  if (!nodeId.ok) return refuse("MALFORMED", nodeId.error.message);
  if (!epoch.ok) return refuse("MALFORMED", epoch.error.message);
  if (!value.ok) return refuse("MALFORMED", value.error.message);
  if (issuedAtMs > LIMITS.issuedAtMsMax) return refuse("MALFORMED", "issue time is out of range");
  return ok({
    clusterId: clusterId.value,
    epoch: epoch.value,
    txId: txId.value,
    value: value.value,
    nodeId: nodeId.value,
    issuedAtMs,
  });
}

function readFields(bytes: Uint8Array, count: number): Uint8Array[] | null {
  const fields: Uint8Array[] = [];
  let at = 0;
  for (let i = 0; i < count; i++) {
    const high = bytes[at];
    const low = bytes[at + 1];
    if (high === undefined || low === undefined) return null;
    const length = high * 256 + low;
    at += 2;
    if (at + length > bytes.length) return null;
    fields.push(bytes.subarray(at, at + length));
    at += length;
  }
  return at === bytes.length ? fields : null;
}

function readU64(bytes: Uint8Array): bigint | null {
  if (bytes.length !== 8) return null;
  return new DataView(bytes.buffer, bytes.byteOffset, 8).getBigUint64(0);
}

/** What a trustee's key signs: the number of votes and the root over them, under a domain of its own. */
export function rootSigningBytes(size: number, root: Uint8Array): Uint8Array {
  return concatBytes(lengthPrefixed(utf8(BATCH_DOMAIN)), u16(size), root);
}

/** Votes of one trustee under one signature, as gossip carries them. */
export interface VoteFrame {
  readonly signature: Uint8Array;
  readonly leaves: readonly Uint8Array[];
  /**
   * What travels beside the votes (trace contexts), 1 to `LIMITS.frameExtensionBytesMax` bytes. The trustee's signature is
   * not over it and no vote depends on it; the author's outer signature is.
   */
  readonly extension?: Uint8Array;
}

/**
 * Signs votes together: one signature, however many votes.
 * @param votes 1 to LIMITS.votesPerFrameMax votes of one trustee.
 * @param sign makes a 64-byte Ed25519 signature.
 */
export function signFrame(
  votes: readonly Vote[],
  sign: (message: Uint8Array) => Uint8Array,
): VoteFrame {
  assert(votes.length >= 1 && votes.length <= LIMITS.votesPerFrameMax, "1 to 256 votes a frame");
  const leaves = votes.map(encodeVote);
  const root = merkleRoot(leaves.map(leafHash));
  const signature = sign(rootSigningBytes(leaves.length, root));
  assert(signature.length === SIGNATURE_BYTES, "an Ed25519 signature is 64 bytes");
  return { signature, leaves };
}

/** No leaf is so long that its length begins with this byte. */
const EXTENSION_MARK = 0xff;

/**
 * Frame bytes: version, signature, count, then each leaf behind its length. After them, if there is one, the
 * extension behind a mark and its length in one byte.
 */
export function encodeFrame(frame: VoteFrame): Uint8Array {
  const { extension } = frame;
  const bytes = concatBytes(
    Uint8Array.of(FRAME_VERSION),
    frame.signature,
    u16(frame.leaves.length),
    ...frame.leaves.map(lengthPrefixed),
    ...(extension === undefined ? [] : [marked(extension)]),
  );
  assert(bytes.length <= LIMITS.voteFrameBytesMax, "publisher splits frames before they grow");
  return bytes;
}

function marked(extension: Uint8Array): Uint8Array {
  const { length } = extension;
  assert(length >= 1 && length <= LIMITS.frameExtensionBytesMax, "an extension has 1 to 255 bytes");
  return concatBytes(Uint8Array.of(EXTENSION_MARK, length), extension);
}

/** Bytes that an extension adds to a frame. */
export function extensionBytesOf(extension: Uint8Array): number {
  return extension.length + 2;
}

/** Bytes that one vote adds to a frame; with `FRAME_OVERHEAD_BYTES` it lets a publisher split in time. */
export function frameBytesOf(leaf: Uint8Array): number {
  return leaf.length + 2;
}
export const FRAME_OVERHEAD_BYTES: number = 1 + SIGNATURE_BYTES + 2;

/** Reads a frame within its limits. Every byte must belong to it. */
export function decodeFrame(bytes: Uint8Array): Result<VoteFrame, VoteError> {
  if (bytes.length > LIMITS.voteFrameBytesMax) return refuse("TOO_LARGE", "frame is too large");
  if (bytes.length < FRAME_OVERHEAD_BYTES) return refuse("MALFORMED", "frame is cut short");
  if (bytes[0] !== FRAME_VERSION) return refuse("MALFORMED", "unknown frame version");
  const signature = bytes.slice(1, 1 + SIGNATURE_BYTES);
  const count = (bytes[65] ?? 0) * 256 + (bytes[66] ?? 0);
  if (count < 1 || count > LIMITS.votesPerFrameMax)
    return refuse("MALFORMED", "frame must hold 1 to 256 votes");
  const rest = bytes.subarray(FRAME_OVERHEAD_BYTES);
  const end = endOfFields(rest, count);
  const leaves = end === null ? null : readFields(rest.subarray(0, end), count);
  if (end === null || leaves === null) return refuse("MALFORMED", "votes do not fit the frame");
  const votes = { signature, leaves: leaves.map((leaf) => leaf.slice()) };
  if (end === rest.length) return ok(votes);
  // Its shape is checked, so that every byte belongs to the frame; what it says is its reader's matter.
  const extension = rest.slice(end + 2);
  if (rest[end] !== EXTENSION_MARK || rest[end + 1] !== extension.length || extension.length === 0)
    return refuse("MALFORMED", "what follows the votes is no extension");
  return ok({ ...votes, extension });
}

/** Where the fields end; null when they reach beyond the bytes. */
function endOfFields(bytes: Uint8Array, count: number): number | null {
  let at = 0;
  for (let i = 0; i < count; i++) {
    const high = bytes[at];
    const low = bytes[at + 1];
    if (high === undefined || low === undefined) return null;
    at += 2 + high * 256 + low;
  }
  return at <= bytes.length ? at : null;
}

/** A frame that decoded well: its votes with their proofs, and what its signature is over. Not verified. */
export interface OpenedFrame {
  readonly signature: Uint8Array;
  readonly root: Uint8Array;
  readonly votes: readonly SignedVote[];
  /** Hashes of the leaves, in order: they name the votes by content. */
  readonly leafHashes: readonly Uint8Array[];
}

/** Opens a frame, hashing each vote once. All its votes must be by one node of one epoch. */
export function openFrame(frame: VoteFrame): Result<OpenedFrame, VoteError> {
  const leafHashes = frame.leaves.map(leafHash);
  const { root, paths } = merkleTree(leafHashes);
  const { signature } = frame;
  const size = frame.leaves.length;
  const votes: SignedVote[] = [];
  for (const [index, leaf] of frame.leaves.entries()) {
    const vote = decodeVote(leaf);
    if (!vote.ok) return vote;
    votes.push({
      vote: vote.value,
      proof: { leaf, index, size, path: paths[index] ?? [], signature },
    });
  }
  const first = votes[0]?.vote;
  const mixed = votes.some((s) => s.vote.nodeId !== first?.nodeId || s.vote.epoch !== first.epoch);
  if (mixed) return refuse("MIXED_AUTHORS", "votes of one frame must be by one trustee");
  return ok({ signature, root, votes, leafHashes });
}

export type Verify = (publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array) => boolean;

function checkMembership(vote: Vote, set: TrusteeSet): Result<PeerId, VoteError> {
  if (vote.clusterId !== set.clusterId)
    return refuse("WRONG_CLUSTER", `vote is for cluster ${vote.clusterId}`);
  if (vote.epoch !== set.epoch)
    return refuse("WRONG_EPOCH", `vote is for epoch ${vote.epoch}, the set is of ${set.epoch}`);
  const trustee = set.byNodeId.get(vote.nodeId);
  if (trustee === undefined)
    return refuse("UNKNOWN_TRUSTEE", `${vote.nodeId} is not a trustee of epoch ${set.epoch}`);
  return ok(trustee.peerId);
}

const brand = (signed: SignedVote, peerId: PeerId): VerifiedVote =>
  ({ ...signed, peerId }) as VerifiedVote;

/** Checks one vote with its own proof. The key comes from the trustee set, never from the message. */
export function verifyVote(
  signed: SignedVote,
  set: TrusteeSet,
  verify: Verify,
): Result<VerifiedVote, VoteError> {
  // The fields are read from the signed bytes again: what was decoded elsewhere proves nothing.
  const vote = decodeVote(signed.proof.leaf);
  if (!vote.ok) return vote;
  const member = checkMembership(vote.value, set);
  if (!member.ok) return member;
  const { leaf, index, size, path, signature } = signed.proof;
  const root = rootFromPath(leaf, index, size, path);
  if (root === null || size > LIMITS.votesPerFrameMax)
    return refuse("MALFORMED", "inclusion path does not fit");
  const key = set.byNodeId.get(vote.value.nodeId)?.publicKey;
  assert(key !== undefined, "membership was checked");
  if (!verify(key, rootSigningBytes(size, root), signature))
    return refuse("BAD_SIGNATURE", `signature is not by ${vote.value.nodeId}`);
  return ok(brand({ vote: vote.value, proof: signed.proof }, member.value));
}

/** Checks all votes of a frame with one signature check. */
export function verifyFrame(
  frame: VoteFrame,
  set: TrusteeSet,
  verify: Verify,
): Result<readonly VerifiedVote[], VoteError> {
  const opened = openFrame(frame);
  return opened.ok ? verifyOpenedFrame(opened.value, set, verify) : opened;
}

/** The same for a frame that was opened before. @param opened as `openFrame` returned it, unchanged */
export function verifyOpenedFrame(
  opened: OpenedFrame,
  set: TrusteeSet,
  verify: Verify,
): Result<readonly VerifiedVote[], VoteError> {
  const first = opened.votes[0];
  assert(first !== undefined, "a frame holds at least one vote");
  for (const signed of opened.votes) {
    const member = checkMembership(signed.vote, set);
    if (!member.ok) return member;
  }
  const trustee = set.byNodeId.get(first.vote.nodeId);
  assert(trustee !== undefined, "membership was checked");
  const signedBytes = rootSigningBytes(opened.votes.length, opened.root);
  if (!verify(trustee.publicKey, signedBytes, opened.signature))
    return refuse("BAD_SIGNATURE", `signature is not by ${trustee.nodeId}`);
  return ok(opened.votes.map((signed) => brand(signed, trustee.peerId)));
}
