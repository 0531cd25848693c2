import { createPublicKey, type KeyObject, verify } from "node:crypto";
import { blake3 } from "./blake3.ts";

// What a vote's signature is over, written down from the rulings (R1) and not from the product's code.

const VOTE_DOMAIN = "quorate/vote/v1";
const BATCH_DOMAIN = "quorate/batch/v1";

/** A vote as its signed bytes say it. */
export interface SpokenVote {
  readonly clusterId: string;
  readonly epoch: bigint;
  readonly txId: string;
  readonly value: bigint;
  readonly nodeId: string;
  readonly issuedAtMs: bigint;
}

/** A stored vote: the JSON document below `/votes/{tx}/{node}`. */
export interface StoredVote {
  readonly value: string;
  readonly signature: string;
  readonly leaf: string;
  readonly index: number;
  readonly size: number;
  readonly path: string;
}

/** Domain, clusterId, epoch, txId, value, nodeId, issuedAtMs, each behind its length in 16 bits. */
export function voteBytes(vote: SpokenVote): Buffer {
  return Buffer.concat(
    [
      Buffer.from(VOTE_DOMAIN),
      Buffer.from(vote.clusterId),
      u64(vote.epoch),
      Buffer.from(vote.txId),
      u64(vote.value),
      Buffer.from(vote.nodeId),
      u64(vote.issuedAtMs),
    ].map(behindItsLength),
  );
}

/** @returns null unless the bytes are exactly one vote's canonical ones */
export function readVoteBytes(bytes: Buffer): SpokenVote | null {
  const fields: Buffer[] = [];
  for (let at = 0; at + 2 <= bytes.length; ) {
    const end = at + 2 + bytes.readUInt16BE(at);
    if (end > bytes.length) return null;
    fields.push(bytes.subarray(at + 2, end));
    at = end;
  }
  const [domain, cluster, epoch, tx, value, node, issued] = fields;
  if (fields.length !== 7 || domain === undefined || cluster === undefined || tx === undefined)
    return null;
  if (node === undefined || domain.toString() !== VOTE_DOMAIN) return null;
  if (epoch?.length !== 8 || value?.length !== 8 || issued?.length !== 8) return null;
  const vote = {
    clusterId: cluster.toString("latin1"),
    epoch: epoch.readBigUInt64BE(),
    txId: tx.toString("latin1"),
    value: value.readBigUInt64BE(),
    nodeId: node.toString("latin1"),
    issuedAtMs: issued.readBigUInt64BE(),
  };
  return voteBytes(vote).equals(bytes) ? vote : null;
}

/** A trustee's Ed25519 key for node:crypto. @param hex its 32 bytes */
export function keyOf(hex: string): KeyObject {
  const x = Buffer.from(hex, "hex").toString("base64url");
  return createPublicKey({ key: { kty: "OKP", crv: "Ed25519", x }, format: "jwk" });
}

/** What a stored vote really says, or null when the key did not sign that. */
export function verifiedVote(stored: StoredVote, key: KeyObject): SpokenVote | null {
  const leaf = Buffer.from(stored.leaf, "base64");
  const root = rootOver(leaf, stored.index, stored.size, Buffer.from(stored.path, "base64"));
  if (root === null) return null;
  const size = Buffer.alloc(2);
  size.writeUInt16BE(stored.size);
  const signed = Buffer.concat([behindItsLength(Buffer.from(BATCH_DOMAIN)), size, root]);
  if (!verify(null, signed, key, Buffer.from(stored.signature, "base64"))) return null;
  return readVoteBytes(leaf);
}

/** The Merkle root (RFC 6962's shape, leaves behind a 0, nodes behind a 1) that a leaf and its siblings lead to. */
export function rootOver(leaf: Buffer, index: number, size: number, path: Buffer): Buffer | null {
  if (!Number.isInteger(index) || index < 0 || index >= size || path.length % 32 !== 0) return null;
  const siblings: Buffer[] = [];
  for (let at = 0; at < path.length; at += 32) siblings.push(path.subarray(at, at + 32));
  const climb = (at: number, width: number): Buffer | null => {
    if (width === 1) return hash(0, leaf);
    let left = 1;
    while (2 * left < width) left *= 2;
    const goesLeft = at < left;
    const below = goesLeft ? climb(at, left) : climb(at - left, width - left);
    const sibling = siblings.shift();
    if (below === null || sibling === undefined) return null;
    return goesLeft ? hash(1, below, sibling) : hash(1, sibling, below);
  };
  const root = climb(index, size);
  return siblings.length === 0 ? root : null;
}

const hash = (kind: number, ...parts: readonly Buffer[]): Buffer =>
  Buffer.from(blake3(Buffer.concat([Buffer.of(kind), ...parts])));

function behindItsLength(bytes: Buffer): Buffer {
  const length = Buffer.alloc(2);
  length.writeUInt16BE(bytes.length);
  return Buffer.concat([length, bytes]);
}

function u64(value: bigint): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(value);
  return bytes;
}
