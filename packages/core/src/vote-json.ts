import { concatBytes, fromBase64, toBase64 } from "./bytes.ts";
import { LIMITS } from "./limits.ts";
import { err, ok, type Result } from "./result.ts";
import { decodeVote, type SignedVote, type VoteError } from "./vote.ts";

/**
 * A vote as etcd, PostgreSQL and evidence files hold it: the specification's four
 * fields for people, and the proof, which alone is believed. @see spec §7.1
 */
export interface VoteJson {
  /** Decimal digits: a JSON number would lose digits above 2^53. */
  readonly value: string;
  readonly timestamp: string;
  readonly signature: string;
  readonly peer_id: string;
  /** The signed bytes. */
  readonly leaf: string;
  readonly index: number;
  readonly size: number;
  /** The siblings joined, 32 bytes each. */
  readonly path: string;
}

export function voteToJson(signed: SignedVote, peerId: string): VoteJson {
  const { vote, proof } = signed;
  return {
    value: vote.value.toString(),
    timestamp: isoTime(vote.issuedAtMs),
    signature: toBase64(proof.signature),
    peer_id: peerId,
    leaf: toBase64(proof.leaf),
    index: proof.index,
    size: proof.size,
    path: toBase64(concatBytes(...proof.path)),
  };
}

/** Reads a stored vote back. Only its proof is used; the readable fields must agree with it. */
export function voteFromJson(json: unknown): Result<SignedVote, VoteError> {
  const bad = (message: string): Result<never, VoteError> => err({ code: "MALFORMED", message });
  if (typeof json !== "object" || json === null) return bad("stored vote is not an object");
  const fields = json as Partial<Record<keyof VoteJson, unknown>>;
  const leaf = bytesOf(fields.leaf, LIMITS.voteLeafBytesMax);
  const signature = bytesOf(fields.signature, 64);
  const joined = bytesOf(fields.path, 32 * 16);
  if (leaf === null || signature === null || joined === null || joined.length % 32 !== 0)
    return bad("stored vote has no readable proof");
  const { index, size } = fields;
  if (typeof index !== "number" || typeof size !== "number")
    return bad("stored vote has no place in its batch");
  const vote = decodeVote(leaf);
  if (!vote.ok) return vote;
  if (fields.value !== vote.value.value.toString())
    return bad("stored vote's value is not the one that was signed");
  const path: Uint8Array[] = [];
  for (let at = 0; at < joined.length; at += 32) path.push(joined.slice(at, at + 32));
  return ok({ vote: vote.value, proof: { leaf, index, size, path, signature } });
}

function bytesOf(text: unknown, bytesMax: number): Uint8Array | null {
  if (typeof text !== "string" || text.length > Math.ceil(bytesMax / 3) * 4) return null;
  return fromBase64(text);
}

/** ISO 8601 in UTC with ms. @param ms since the Unix epoch. */
export function isoTime(ms: number): string {
  return new Date(ms).toISOString();
}
