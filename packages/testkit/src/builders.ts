import {
  assert,
  bytesToHex,
  decodeFrame,
  type EnvelopeJson,
  encodeFrame,
  envelopeSigningBytes,
  hash,
  makeTrusteeSet,
  type NodeId,
  type PeerId,
  parseClusterId,
  parseEpoch,
  parseEvmAddress,
  parseNodeId,
  parseTxId,
  parseValue,
  peerIdBytesOf,
  peerIdOf,
  signFrame,
  type Trustee,
  type TrusteeSet,
  type TxId,
  toBase64,
  unwrap,
  utf8,
  type Value,
  type VerifiedVote,
  type Verify,
  type Vote,
  type VoteFrame,
  verifyFrame,
} from "@quorate/core";
import type { VoteSigner } from "@quorate/ports";
import { nodeEd25519, nodeVoteSigner } from "./node-ed25519.ts";

/** A trustee together with its secret. */
export interface TestNode {
  readonly nodeId: NodeId;
  readonly peerId: PeerId;
  /** 32 bytes: the Ed25519 seed, which libp2p's key is made of too. */
  readonly seed: Uint8Array;
  readonly signer: VoteSigner;
  readonly trustee: Trustee;
}

export interface TestCluster {
  readonly set: TrusteeSet;
  /** In the order of the trustee set: node-001, node-002, … */
  readonly nodes: readonly TestNode[];
  readonly verify: Verify;
}

export interface TestClusterOptions {
  readonly trustees: number;
  readonly threshold: number;
  readonly clusterId?: string;
  readonly epoch?: number;
  /** Other seeds give other keys. */
  readonly seed?: number;
  /** Another kind of key than Ed25519's; `verify` is then of no use. */
  readonly signerOf?: (seed: Uint8Array) => VoteSigner;
}

const nodeVerify: Verify = (key, message, signature) => nodeEd25519.verify(key, message, signature);

/** A cluster with keys of its own, the same at each call. */
export function testCluster(options: TestClusterOptions): TestCluster {
  const { trustees, threshold, clusterId = "test", epoch = 1, seed = 1 } = options;
  const { signerOf = nodeVoteSigner } = options;
  const nodes = Array.from({ length: trustees }, (_, index) => testNode(seed, index, signerOf));
  const set = makeTrusteeSet({
    clusterId: unwrap(parseClusterId(clusterId)),
    epoch: unwrap(parseEpoch(epoch)),
    threshold,
    trustees: nodes.map((node) => node.trustee),
  });
  return { set: unwrap(set), nodes, verify: nodeVerify };
}

function testNode(
  clusterSeed: number,
  index: number,
  signerOf: (seed: Uint8Array) => VoteSigner,
): TestNode {
  const seed = hash(utf8(`quorate/testkit/${clusterSeed}/${index}`));
  const signer = signerOf(seed);
  const { publicKey } = signer;
  const trustee: Trustee = {
    nodeId: unwrap(parseNodeId(`node-${String(index + 1).padStart(3, "0")}`)),
    peerId: peerIdOf(publicKey),
    publicKey,
    evmAddress: unwrap(parseEvmAddress(`0x${bytesToHex(hash(publicKey)).slice(0, 40)}`)),
  };
  return { nodeId: trustee.nodeId, peerId: trustee.peerId, seed, signer, trustee };
}

/** The node at an index; out of range is a mistake in the test. */
export function nodeAt(cluster: TestCluster, index: number): TestNode {
  const node = cluster.nodes[index];
  assert(
    node !== undefined,
    `the cluster has ${cluster.nodes.length} nodes, but no index ${index}`,
  );
  return node;
}

/** A transaction id out of a literal. */
export function txIdOf(text: string): TxId {
  return unwrap(parseTxId(text));
}

/** A value out of a literal. */
export function valueOf(value: number | bigint): Value {
  return unwrap(parseValue(BigInt(value)));
}

/** What a vote is made of; ids may be plain texts. */
export interface VoteSpec {
  readonly txId: string;
  readonly value: number | bigint;
  /** In ms since the Unix epoch. */
  readonly issuedAtMs?: number;
}

const ISSUED_AT_MS = 1_700_000_000_000;

/** A vote before it is signed, in the cluster's name and epoch. */
export function unsignedVote(cluster: TestCluster, nodeIndex: number, spec: VoteSpec): Vote {
  return {
    clusterId: cluster.set.clusterId,
    epoch: cluster.set.epoch,
    txId: txIdOf(spec.txId),
    value: valueOf(spec.value),
    nodeId: nodeAt(cluster, nodeIndex).nodeId,
    issuedAtMs: spec.issuedAtMs ?? ISSUED_AT_MS,
  };
}

/** One node's votes under one signature. @param specs 1 to LIMITS.votesPerFrameMax. */
export function signedFrame(
  cluster: TestCluster,
  nodeIndex: number,
  specs: readonly VoteSpec[],
): VoteFrame {
  const { signer } = nodeAt(cluster, nodeIndex);
  return signFrame(
    specs.map((spec) => unsignedVote(cluster, nodeIndex, spec)),
    (message) => signer.sign(message),
  );
}

/** One node's votes as the others get them: signed, encoded, decoded, verified. */
export function votes(
  cluster: TestCluster,
  nodeIndex: number,
  specs: readonly VoteSpec[],
): readonly VerifiedVote[] {
  const bytes = encodeFrame(signedFrame(cluster, nodeIndex, specs));
  return unwrap(verifyFrame(unwrap(decodeFrame(bytes)), cluster.set, cluster.verify));
}

/** One vote, signed alone, as the others get it. */
export function vote(
  cluster: TestCluster,
  nodeIndex: number,
  txId: string,
  value: number | bigint,
  issuedAtMs: number = ISSUED_AT_MS,
): VerifiedVote {
  const [only] = votes(cluster, nodeIndex, [{ txId, value, issuedAtMs }]);
  assert(only !== undefined, "one vote in, one vote out");
  return only;
}

/** A gossip envelope around bytes, signed by a node as strict signing does. */
export function signedEnvelope(
  cluster: TestCluster,
  nodeIndex: number,
  data: Uint8Array,
  topic = "quorate/test/votes",
): EnvelopeJson {
  const { signer } = nodeAt(cluster, nodeIndex);
  const from = peerIdBytesOf(signer.publicKey);
  const sequenceNumber = Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 1);
  const signature = signer.sign(envelopeSigningBytes({ from, data, sequenceNumber, topic }));
  return {
    from: toBase64(from),
    data: toBase64(data),
    seqno: toBase64(sequenceNumber),
    topic,
    signature: toBase64(signature),
  };
}

/** A copy with some bits of one byte flipped. @param mask 1 to 255. */
export function tamper(bytes: Uint8Array, at: number, mask = 1): Uint8Array {
  assert(at >= 0 && at < bytes.length, "the place lies inside the bytes");
  assert(mask >= 1 && mask <= 255, "a mask of 0 would change nothing");
  const copy = Uint8Array.from(bytes);
  copy[at] = (copy[at] ?? 0) ^ mask;
  return copy;
}
