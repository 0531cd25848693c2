import { simEd25519 } from "@quorate/testkit";
import type { Roll } from "./law.ts";
import { isSignedBy, type ReadVote, readFrame, readLeaf, readProofJson } from "./wire-reader.ts";

/** Whether evidence bears a violation out, judged from its JSON alone. @returns why not; null when it does */
export function whyUnproven(roll: Roll, peerId: string, evidence: unknown): string | null {
  const fields = Object(evidence) as Record<string, unknown>;
  switch (fields.type) {
    case "DOUBLE_VOTING": {
      const first = genuine(roll, fields.first);
      const second = genuine(roll, fields.second);
      if (first === null || second === null) return "a vote is not signed";
      if (keyOf(roll, first) !== peerId || keyOf(roll, second) !== peerId) return "not the peer's";
      if (first.txId !== second.txId) return "two transactions";
      return first.value === second.value ? "the same value twice" : null;
    }
    case "MINORITY_VOTE": {
      const vote = genuine(roll, fields.vote);
      if (vote === null || keyOf(roll, vote) !== peerId) return "the vote is not the peer's";
      const majority = Array.isArray(fields.majority) ? fields.majority : [];
      const voters = new Map<string, bigint>();
      for (const one of majority) {
        const read = genuine(roll, one);
        if (read === null || read.txId !== vote.txId) return "a majority vote is not signed";
        voters.set(read.nodeId, read.value);
      }
      const values = new Set(voters.values());
      const threshold = roll.epochs.get(Number(vote.epoch))?.threshold ?? Number.POSITIVE_INFINITY;
      if (voters.size < threshold) return "no majority";
      return values.size === 1 && !values.has(vote.value) ? null : "no dissent";
    }
    case "INVALID_SIGNATURE":
      return whyNotForged(roll, peerId, fields.envelope);
    case "SILENT_FAILURE":
    case "LOW_REPUTATION":
      // Observations of the cluster: no signature can bear them out, and no PROOF may rest on them.
      return null;
    default:
      return `unknown evidence ${String(fields.type)}`;
  }
}

function genuine(roll: Roll, json: unknown): ReadVote | null {
  const proof = readProofJson(json);
  const vote = proof === null ? null : readLeaf(proof.leaf);
  if (proof === null || vote === null || vote.clusterId !== roll.clusterId) return null;
  const member = roll.members.find(({ nodeId }) => nodeId === vote.nodeId);
  if (roll.epochs.get(Number(vote.epoch))?.nodeIds.has(vote.nodeId) !== true) return null;
  return member !== undefined && isSignedBy(member.publicKey, proof) ? vote : null;
}

function keyOf(roll: Roll, vote: ReadVote): string | undefined {
  return roll.members.find(({ nodeId }) => nodeId === vote.nodeId)?.peerId;
}

/** The envelope must be the peer's own, and the frame in it signed by nobody it names. */
function whyNotForged(roll: Roll, peerId: string, envelope: unknown): string | null {
  const fields = Object(envelope) as Record<string, unknown>;
  const bytes = (name: string): Buffer => {
    const text = fields[name];
    return Buffer.from(typeof text === "string" ? text : "", "base64");
  };
  const author = roll.members.find((member) => member.peerId === peerId);
  if (author === undefined) return "the peer is unknown";
  const from = bytes("from");
  // libp2p: an Ed25519 peer id is 0x00 0x24, then the key as protobuf (08 01 12 20).
  const expected = Buffer.concat([Buffer.from("002408011220", "hex"), author.publicKey]);
  if (!from.equals(expected)) return "the envelope names another author";
  const data = bytes("data");
  const topic = Buffer.from(typeof fields.topic === "string" ? fields.topic : "", "utf8");
  const message = Buffer.concat([
    Buffer.from("libp2p-pubsub:", "latin1"),
    field(1, from),
    field(2, data),
    field(3, bytes("seqno")),
    field(4, topic),
  ]);
  if (!simEd25519.verify(author.publicKey, Uint8Array.from(message), bytes("signature")))
    return "the envelope is not signed by the peer";
  const frame = readFrame(data);
  const [leaf] = frame?.leaves ?? [];
  if (frame === null || leaf === undefined) return "no frame inside";
  const named = readLeaf(leaf);
  const member = roll.members.find(({ nodeId }) => nodeId === named?.nodeId);
  if (member === undefined) return "the frame names no trustee";
  if (frame.leaves.length !== 1) return null;
  const proof = { leaf, index: 0, size: 1, path: [], signature: frame.signature };
  return isSignedBy(member.publicKey, proof) ? "the inner signature is good" : null;
}

function field(number: number, bytes: Buffer): Buffer {
  const length: number[] = [];
  let rest = bytes.length;
  while (rest > 127) {
    length.push((rest & 127) | 128);
    rest >>= 7;
  }
  length.push(rest);
  return Buffer.concat([Buffer.from([(number << 3) | 2, ...length]), bytes]);
}
