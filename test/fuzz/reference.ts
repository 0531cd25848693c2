import { hash } from "@quorate/core";
import { CLUSTER, epochOf, type Person } from "./people.ts";

/**
 * The fuzzer's own reading of frames, written a second time from R1 and sharing nothing with core but the hash:
 * what it calls genuine was signed, byte for byte, with a key that the fuzzer itself holds.
 */

export interface RawVote {
  readonly clusterId: string;
  readonly epoch: bigint;
  readonly txId: string;
  readonly value: bigint;
  readonly nodeId: string;
  readonly issuedAtMs: bigint;
}

export interface RawFrame {
  readonly signature: Uint8Array;
  readonly leaves: readonly Uint8Array[];
}

const DOMAIN = Buffer.from("quorate/vote/v1");
const BATCH = Buffer.from("quorate/batch/v1");
const LABEL = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;
const TX = /^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$/;
const TIME_MAX = 8_640_000_000_000_000n;

const u16 = (n: number): Buffer => Buffer.from([n >> 8, n & 255]);
const u64 = (n: bigint): Buffer => {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(BigInt.asUintN(64, n));
  return bytes;
};
const field = (bytes: Uint8Array): Buffer => Buffer.concat([u16(bytes.length & 0xffff), bytes]);

/** A vote's bytes, whatever its fields hold. */
export function writeVote(vote: RawVote, domain: Uint8Array = DOMAIN): Uint8Array {
  return Buffer.concat([
    field(domain),
    field(Buffer.from(vote.clusterId, "latin1")),
    field(u64(vote.epoch)),
    field(Buffer.from(vote.txId, "latin1")),
    field(u64(vote.value)),
    field(Buffer.from(vote.nodeId, "latin1")),
    field(u64(vote.issuedAtMs)),
  ]);
}

/** @param count what the frame says that it holds. */
export function writeFrame(frame: RawFrame, count: number = frame.leaves.length): Uint8Array {
  return Buffer.concat([
    Buffer.from([1]),
    frame.signature,
    u16(count & 0xffff),
    ...frame.leaves.map(field),
  ]);
}

/** @param after what may follow the last part */
function split(
  bytes: Uint8Array,
  count: number,
  after: (rest: Uint8Array) => boolean = (rest) => rest.length === 0,
): Uint8Array[] | null {
  const parts: Uint8Array[] = [];
  let rest = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let i = 0; i < count; i++) {
    if (rest.length < 2) return null;
    const end = 2 + rest.readUInt16BE(0);
    if (rest.length < end) return null;
    parts.push(rest.subarray(2, end));
    rest = rest.subarray(end);
  }
  return after(rest) ? parts : null;
}

/** An extension is a mark, its length, and so many bytes; it makes no difference to the votes. */
const isExtension = (rest: Uint8Array): boolean =>
  rest.length === 0 || (rest.length > 2 && rest[0] === 255 && rest[1] === rest.length - 2);

/** Null unless it is a frame to the last byte. */
export function readFrame(bytes: Uint8Array): RawFrame | null {
  if (bytes.length < 67 || bytes.length > 65_536 || bytes[0] !== 1) return null;
  const count = (bytes[65] ?? 0) * 256 + (bytes[66] ?? 0);
  if (count < 1 || count > 256) return null;
  const leaves = split(bytes.subarray(67), count, isExtension);
  return leaves === null ? null : { signature: bytes.subarray(1, 65), leaves };
}

/** Null unless it is a vote to the last byte, each field within its grammar. */
export function readVote(leaf: Uint8Array): RawVote | null {
  const fields = leaf.length > 512 ? null : split(leaf, 7);
  if (fields === null) return null;
  const [domain, cluster, epoch, tx, value, node, issued] = fields.map((f) => Buffer.from(f));
  if (
    domain === undefined ||
    cluster === undefined ||
    epoch === undefined ||
    tx === undefined ||
    value === undefined ||
    node === undefined ||
    issued === undefined ||
    !domain.equals(DOMAIN) ||
    [epoch, value, issued].some((n) => n.length !== 8)
  )
    return null;
  const vote = {
    clusterId: cluster.toString("latin1"),
    epoch: epoch.readBigUInt64BE(),
    txId: tx.toString("latin1"),
    value: value.readBigUInt64BE(),
    nodeId: node.toString("latin1"),
    issuedAtMs: issued.readBigUInt64BE(),
  };
  const { clusterId, txId, nodeId, issuedAtMs } = vote;
  const fits = LABEL.test(clusterId) && LABEL.test(nodeId) && TX.test(txId);
  return fits && vote.epoch >= 1n && vote.epoch < 2n ** 53n && issuedAtMs <= TIME_MAX ? vote : null;
}

const leafHash = (leaf: Uint8Array): Uint8Array => hash(Uint8Array.of(0), leaf);
const nodeHash = (left: Uint8Array, right: Uint8Array): Uint8Array =>
  hash(Uint8Array.of(1), left, right);

function splitPoint(size: number): number {
  return 2 ** (Math.ceil(Math.log2(size)) - 1);
}

/** The root over leaves, by RFC 6962's definition. */
export function rootOf(leaves: readonly Uint8Array[]): Uint8Array {
  const [only] = leaves;
  if (leaves.length === 1 && only !== undefined) return leafHash(only);
  const at = splitPoint(leaves.length);
  return nodeHash(rootOf(leaves.slice(0, at)), rootOf(leaves.slice(at)));
}

/** The root that a path leads to; null when it has another length than the place asks for. */
export function rootByPath(
  leaf: Uint8Array,
  index: number,
  size: number,
  path: readonly Uint8Array[],
): Uint8Array | null {
  const whole = Number.isInteger(index) && Number.isInteger(size);
  if (!whole || index < 0 || index >= size || size > 256) return null;
  if (path.some((sibling) => sibling.length !== 32)) return null;
  const climb = (at: number, width: number, from: readonly Uint8Array[]): Uint8Array | null => {
    if (width === 1) return from.length === 0 ? leafHash(leaf) : null;
    const sibling = from.at(-1);
    if (sibling === undefined) return null;
    const left = splitPoint(width);
    const below = from.slice(0, -1);
    if (at < left) {
      const node = climb(at, left, below);
      return node === null ? null : nodeHash(node, sibling);
    }
    const node = climb(at - left, width - left, below);
    return node === null ? null : nodeHash(sibling, node);
  };
  return climb(index, size, path);
}

/** What is signed for a root. */
export function signedBytes(size: number, root: Uint8Array): Uint8Array {
  return Buffer.concat([field(BATCH), u16(size), root]);
}

export function signLeaves(leaves: readonly Uint8Array[], by: Person): Uint8Array {
  return by.signer.sign(signedBytes(leaves.length, rootOf(leaves)));
}

const SIGNATURES_MAX = 512;
const signatures = new Map<string, Buffer>();

/**
 * Whether somebody's key signed these bytes. Ed25519 has one signature for each key and message, and only the
 * fuzzer has the keys: what equals it can't have come from anywhere else.
 */
export function hasSigned(by: Person, message: Uint8Array, signature: Uint8Array): boolean {
  const key = `${by.peerId} ${Buffer.from(message).toString("latin1")}`;
  const known = signatures.get(key);
  const own = known ?? Buffer.from(by.signer.sign(message));
  if (known === undefined) {
    if (signatures.size >= SIGNATURES_MAX) signatures.clear();
    signatures.set(key, own);
  }
  return own.equals(signature);
}

/** Who a vote says that it is by, in its own cluster and epoch; null when that is nobody. */
export function namedBy(vote: RawVote, epochsMade: number): Person | null {
  if (vote.clusterId !== CLUSTER || vote.epoch > BigInt(epochsMade)) return null;
  return epochOf(Number(vote.epoch)).byName.get(vote.nodeId) ?? null;
}

/** What a frame really is, as far as blame goes. */
export type FrameTruth =
  | { readonly kind: "malformed" }
  /** Of a cluster, epoch or trustee that this one does not have. */
  | { readonly kind: "foreign" }
  | { readonly kind: "genuine"; readonly by: Person; readonly votes: readonly RawVote[] }
  | { readonly kind: "forged"; readonly named: Person };

export function truthOf(bytes: Uint8Array, epochsMade: number): FrameTruth {
  const frame = readFrame(bytes);
  if (frame === null) return { kind: "malformed" };
  const votes = frame.leaves.map(readVote).filter((vote) => vote !== null);
  const [first] = votes;
  if (first === undefined || votes.length < frame.leaves.length) return { kind: "malformed" };
  if (votes.some((v) => v.nodeId !== first.nodeId || v.epoch !== first.epoch))
    return { kind: "malformed" };
  const by = namedBy(first, epochsMade);
  if (by === null || votes.some((v) => v.clusterId !== CLUSTER)) return { kind: "foreign" };
  return hasSigned(by, signedBytes(votes.length, rootOf(frame.leaves)), frame.signature)
    ? { kind: "genuine", by, votes }
    : { kind: "forged", named: by };
}
