import { concatBytes, equalBytes, fromBase58, toBase58 } from "./bytes.ts";
import type { ClusterId, Epoch, EvmAddress, NodeId, PeerId } from "./ids.ts";
import { parsePeerId } from "./ids.ts";
import { LIMITS } from "./limits.ts";
import { err, ok, type Result, unwrap } from "./result.ts";

/** One member: the operator's name, its network key and its EVM account. */
export interface Trustee {
  readonly nodeId: NodeId;
  readonly peerId: PeerId;
  /** Ed25519, 32 bytes. The peer id is derived from it. */
  readonly publicKey: Uint8Array;
  readonly evmAddress: EvmAddress;
}

/** Who may vote, and how many must agree, during one epoch. Being on the network is not being a trustee: this list is. */
export interface TrusteeSet {
  readonly clusterId: ClusterId;
  readonly epoch: Epoch;
  readonly threshold: number;
  /** Sorted by node id. */
  readonly trustees: readonly Trustee[];
  readonly byNodeId: ReadonlyMap<NodeId, Trustee>;
  readonly byPeerId: ReadonlyMap<PeerId, Trustee>;
}

// Protobuf of libp2p's PublicKey {type: Ed25519, data: 32 bytes} inside an identity multihash.
const PEER_ID_PREFIX = Uint8Array.of(0x00, 0x24, 0x08, 0x01, 0x12, 0x20);

/** The peer id that belongs to an Ed25519 public key. @param publicKey 32 bytes. */
export function peerIdOf(publicKey: Uint8Array): PeerId {
  return unwrap(parsePeerId(toBase58(concatBytes(PEER_ID_PREFIX, publicKey))));
}

/** The Ed25519 public key (32 bytes) that lies inside a peer id; null when what lies there is none. */
export function publicKeyOf(peerId: PeerId): Uint8Array | null {
  const bytes = fromBase58(peerId);
  const prefix = PEER_ID_PREFIX.length;
  if (bytes?.length !== prefix + 32) return null;
  return equalBytes(bytes.subarray(0, prefix), PEER_ID_PREFIX) ? bytes.slice(prefix) : null;
}

/** The peer id's multihash bytes, as gossip messages carry them. @param publicKey 32 bytes. */
export function peerIdBytesOf(publicKey: Uint8Array): Uint8Array {
  return concatBytes(PEER_ID_PREFIX, publicKey);
}

/** Builds a trustee set, or says everything that is wrong with it. */
export function makeTrusteeSet(input: {
  readonly clusterId: ClusterId;
  readonly epoch: Epoch;
  readonly threshold: number;
  readonly trustees: readonly Trustee[];
}): Result<TrusteeSet, readonly string[]> {
  const problems = [...thresholdProblems(input.trustees.length, input.threshold)];
  const trustees = [...input.trustees].sort((a, b) => (a.nodeId < b.nodeId ? -1 : 1));
  const byNodeId = new Map(trustees.map((t) => [t.nodeId, t]));
  const byPeerId = new Map(trustees.map((t) => [t.peerId, t]));
  if (byNodeId.size !== trustees.length) problems.push("two trustees have the same node id");
  if (byPeerId.size !== trustees.length) problems.push("two trustees have the same peer id");
  for (const t of trustees) {
    if (t.publicKey.length !== 32)
      problems.push(`trustee ${t.nodeId}: public key must be 32 bytes`);
    else if (peerIdOf(t.publicKey) !== t.peerId)
      problems.push(`trustee ${t.nodeId}: peer id does not belong to its public key`);
  }
  if (problems.length > 0) return err(problems);
  const { clusterId, epoch, threshold } = input;
  return ok({ clusterId, epoch, threshold, trustees, byNodeId, byPeerId });
}

/** What is impossible about N trustees and threshold t (R8): empty when it can run. @see spec §1.2 */
export function thresholdProblems(trusteeCount: number, threshold: number): readonly string[] {
  const problems: string[] = [];
  if (!Number.isInteger(trusteeCount) || trusteeCount < 1 || trusteeCount > LIMITS.trusteesMax)
    problems.push(`number of trustees must be 1 to ${LIMITS.trusteesMax}, but is ${trusteeCount}`);
  if (!Number.isInteger(threshold) || threshold < 1)
    problems.push(`threshold must be a whole number from 1 up, but is ${threshold}`);
  else if (threshold > trusteeCount)
    problems.push(
      `threshold ${threshold} is more than the ${trusteeCount} trustees, so nothing could ever be decided`,
    );
  return problems;
}

/** What N and t really tolerate (R8). */
export interface FaultBounds {
  /** ⌊(N−t)/2⌋, the specification's informational figure. */
  readonly specified: number;
  /** Liars up to which two values can't both reach t: 2t−N−1. Negative: even honest disagreement can elect two values. */
  readonly safety: number;
  /** Trustees that may be absent while t can still be reached: N−t. */
  readonly liveness: number;
  /** Sentences for the operator; empty at t ≥ ⌈2N/3⌉. */
  readonly warnings: readonly string[];
}

/** @see spec §1.2 */
export function faultBounds(trusteeCount: number, threshold: number): FaultBounds {
  const warnings: string[] = [];
  const recommended = Math.ceil((2 * trusteeCount) / 3);
  if (threshold * 2 <= trusteeCount)
    warnings.push(
      `threshold ${threshold} is at most half of ${trusteeCount} trustees: two different values could both reach it`,
    );
  else if (threshold < recommended)
    warnings.push(
      `threshold ${threshold} is below the recommended ${recommended} (two thirds of ${trusteeCount} trustees)`,
    );
  return {
    specified: Math.floor((trusteeCount - threshold) / 2),
    safety: 2 * threshold - trusteeCount - 1,
    liveness: trusteeCount - threshold,
    warnings,
  };
}
