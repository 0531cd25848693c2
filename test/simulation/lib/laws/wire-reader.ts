import { hash } from "@quorate/core";
import { simEd25519 } from "@quorate/testkit";

// A reader of its own of what trustees sign, from the words of docs/SPEC-NOTES.md (R1). Of the product it
// uses the hash function alone.

export interface ReadVote {
  readonly clusterId: string;
  readonly epoch: bigint;
  readonly txId: string;
  readonly value: bigint;
  readonly nodeId: string;
  readonly issuedAtMs: bigint;
}

export interface ReadProof {
  readonly leaf: Uint8Array;
  readonly index: number;
  readonly size: number;
  readonly path: readonly Uint8Array[];
  readonly signature: Uint8Array;
}

const latin1 = (bytes: Uint8Array): string => Buffer.from(bytes).toString("latin1");
const number = (bytes: Uint8Array): bigint =>
  bytes.length === 8 ? Buffer.from(bytes).readBigUInt64BE(0) : -1n;

/** Null when it is no vote. */
export function readLeaf(leaf: Uint8Array): ReadVote | null {
  const fields = readPrefixed(leaf, 7);
  if (fields === null) return null;
  const [domain, cluster, epoch, tx, value, node, issued] = fields;
  if (domain === undefined || cluster === undefined || epoch === undefined) return null;
  if (tx === undefined || value === undefined || node === undefined || issued === undefined)
    return null;
  if (latin1(domain) !== "quorate/vote/v1") return null;
  return {
    clusterId: latin1(cluster),
    epoch: number(epoch),
    txId: latin1(tx),
    value: number(value),
    nodeId: latin1(node),
    issuedAtMs: number(issued),
  };
}

function readPrefixed(bytes: Uint8Array, count: number): Uint8Array[] | null {
  const buffer = Buffer.from(bytes);
  const fields: Uint8Array[] = [];
  let at = 0;
  for (let i = 0; i < count; i++) {
    if (at + 2 > buffer.length) return null;
    const end = at + 2 + buffer.readUInt16BE(at);
    if (end > buffer.length) return null;
    fields.push(buffer.subarray(at + 2, end));
    at = end;
  }
  return at === buffer.length ? fields : null;
}

/** A gossip frame: version, signature, number of votes, votes. */
export function readFrame(
  data: Uint8Array,
): { readonly signature: Uint8Array; readonly leaves: readonly Uint8Array[] } | null {
  const buffer = Buffer.from(data);
  if (buffer.length < 67 || buffer[0] !== 1) return null;
  const leaves = readPrefixed(buffer.subarray(67), buffer.readUInt16BE(65));
  return leaves === null ? null : { signature: buffer.subarray(1, 65), leaves };
}

/** Whether the key signed this vote, by its own proof. */
export function isSignedBy(publicKey: Uint8Array, proof: ReadProof): boolean {
  const root = climb(proof.leaf, proof.index, proof.size, proof.path);
  if (root === null) return false;
  const domain = Buffer.from("quorate/batch/v1", "latin1");
  const head = Buffer.alloc(2);
  head.writeUInt16BE(domain.length);
  const size = Buffer.alloc(2);
  size.writeUInt16BE(proof.size);
  const message = Uint8Array.from(Buffer.concat([head, domain, size, root]));
  return simEd25519.verify(publicKey, message, proof.signature);
}

/** RFC 6962: a leaf's hash begins with 0, an inner node's with 1; the left part is the largest power of two below the size. */
function climb(
  leaf: Uint8Array,
  index: number,
  size: number,
  path: readonly Uint8Array[],
): Uint8Array | null {
  if (index < 0 || index >= size) return null;
  if (size === 1) return path.length === 0 ? hash(Uint8Array.of(0), leaf) : null;
  const sibling = path.at(-1);
  if (sibling === undefined) return null;
  let left = 1;
  while (left * 2 < size) left *= 2;
  const below = path.slice(0, -1);
  if (index < left) {
    const own = climb(leaf, index, left, below);
    return own === null ? null : hash(Uint8Array.of(1), own, sibling);
  }
  const own = climb(leaf, index - left, size - left, below);
  return own === null ? null : hash(Uint8Array.of(1), sibling, own);
}

/** A stored vote's proof as evidence carries it; null when it is not readable. */
export function readProofJson(json: unknown): ReadProof | null {
  const { leaf, signature, path, index, size } = Object(json) as Record<string, unknown>;
  if (typeof leaf !== "string" || typeof signature !== "string" || typeof path !== "string")
    return null;
  if (typeof index !== "number" || typeof size !== "number") return null;
  const siblings = Buffer.from(path, "base64");
  const steps: Uint8Array[] = [];
  for (let at = 0; at < siblings.length; at += 32) steps.push(siblings.subarray(at, at + 32));
  return {
    leaf: Buffer.from(leaf, "base64"),
    signature: Buffer.from(signature, "base64"),
    path: steps,
    index,
    size,
  };
}
