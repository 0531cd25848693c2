import { createPublicKey, verify as nodeVerify } from "node:crypto";
import { hash, LIMITS, makeEvidenceFile, trusteeSetFingerprint, unwrap } from "@quorate/core";
import { describe, expect, it } from "vitest";
import { INPUTS, set, sign, TYPES, verify } from "./evidence-cases.ts";

/**
 * The recipe of docs/EVIDENCE.md, "Checking a file without our code", carried out by its words alone: of ours only BLAKE3
 * is used. When this fails, either the page or the format has changed.
 */

const blake3 = (...parts: readonly Uint8Array[]): Buffer => Buffer.from(hash(...parts));
const bytesOf = (base64: unknown): Buffer => Buffer.from(String(base64), "base64");
const u16 = (n: number): Buffer => Buffer.of(n >> 8, n & 255);
const lp = (bytes: Uint8Array): Buffer => Buffer.concat([u16(bytes.length), bytes]);
const text = (ascii: string): Buffer => Buffer.from(ascii, "ascii");

interface Named {
  readonly nodeId: string;
  readonly peerId: string;
  readonly publicKey: string;
}
interface VoteText {
  readonly leaf: string;
  readonly index: number;
  readonly size: number;
  readonly path: string;
  readonly signature: string;
}

function signedBy(hex: string, message: Uint8Array, signature: Uint8Array): boolean {
  const der = Buffer.concat([
    Buffer.from("302a300506032b6570032100", "hex"),
    Buffer.from(hex, "hex"),
  ]);
  return nodeVerify(
    null,
    message,
    createPublicKey({ key: der, format: "der", type: "spki" }),
    signature,
  );
}

function fieldsOf(leaf: Buffer): readonly Buffer[] {
  const fields: Buffer[] = [];
  for (let at = 0; at < leaf.length; ) {
    const length = leaf.readUInt16BE(at);
    fields.push(leaf.subarray(at + 2, at + 2 + length));
    at += 2 + length;
  }
  return fields;
}

function readLeaf(leaf: Buffer) {
  const [domain, cluster, epoch, tx, value, node, at, ...rest] = fieldsOf(leaf);
  expect(rest).toEqual([]);
  expect(String(domain)).toBe("quorate/vote/v1");
  return {
    cluster: String(cluster),
    epoch: Number(epoch?.readBigUInt64BE()),
    tx: String(tx),
    value: value?.readBigUInt64BE(),
    node: String(node),
    at: Number(at?.readBigUInt64BE()),
  };
}

/** The root from a leaf's hash, as RFC 6962 splits. */
function rootOf(leafHash: Buffer, index: number, size: number, path: Buffer): Buffer {
  if (size === 1) return leafHash;
  let left = 1;
  while (left * 2 < size) left *= 2;
  const sibling = path.subarray(-32);
  const below = path.subarray(0, -32);
  return index < left
    ? blake3(Buffer.of(1), rootOf(leafHash, index, left, below), sibling)
    : blake3(Buffer.of(1), sibling, rootOf(leafHash, index - left, size - left, below));
}

function root(leaves: readonly Buffer[]): Buffer {
  const [first] = leaves;
  if (first !== undefined && leaves.length === 1) return blake3(Buffer.of(0), first);
  let left = 1;
  while (left * 2 < leaves.length) left *= 2;
  return blake3(Buffer.of(1), root(leaves.slice(0, left)), root(leaves.slice(left)));
}

const batchBytes = (size: number, rootHash: Buffer): Buffer =>
  Buffer.concat([lp(text("quorate/batch/v1")), u16(size), rootHash]);

function checkVote(vote: VoteText, trustees: readonly Named[]) {
  const leaf = bytesOf(vote.leaf);
  const said = readLeaf(leaf);
  const found = rootOf(blake3(Buffer.of(0), leaf), vote.index, vote.size, bytesOf(vote.path));
  const key = trustees.find((t) => t.nodeId === said.node)?.publicKey ?? "";
  expect(signedBy(key, batchBytes(vote.size, found), bytesOf(vote.signature))).toBe(true);
  return { ...said, key };
}

describe("the recipe for checking a file without our code", () => {
  it.each(TYPES)("leads through a file of %s", (type) => {
    const bytes = unwrap(makeEvidenceFile(INPUTS[type], sign, verify));
    const file = JSON.parse(bytes);
    // 1, and the bound that the page names.
    expect(`${JSON.stringify(file, null, 2)}\n`).toBe(bytes);
    expect(LIMITS.evidenceFileBytesMax).toBe(512 * 1_024);
    // 2
    const trustees: readonly Named[] = file.trusteeSets[0].trustees;
    for (const { peerId, publicKey } of trustees) {
      const multihash = Buffer.from(`002408011220${publicKey}`, "hex");
      expect(peerId).toBe(base58(multihash));
    }
    // 3
    const exporter = trustees.find((t) => t.peerId === file.exportedBy.peerId)?.publicKey ?? "";
    const bare = bytes.replace(/,\n {2}"signature": "[^"]*"\n\}\n$/, "\n}\n");
    const signed = Buffer.concat([lp(text("quorate/evidence-file/v1")), blake3(text(bare))]);
    expect(signedBy(exporter, signed, bytesOf(file.signature))).toBe(true);
    // 4 to 7
    const { evidence, tally } = file;
    const votes = (list: readonly VoteText[]) => list.map((vote) => checkVote(vote, trustees));
    const recorded =
      tally === null ? [] : votes(tally.votes.map((v: { vote: VoteText }) => v.vote));
    if (type === "DOUBLE_VOTING") {
      const [a, b] = votes([evidence.first, evidence.second]);
      expect([a?.key, a?.tx]).toEqual([b?.key, b?.tx]);
      expect(a?.key).toBe(file.accused.publicKey);
      expect(a?.value).not.toBe(b?.value);
    } else if (type === "MINORITY_VOTE") {
      const [dissent] = votes([evidence.vote]);
      const majority = votes(evidence.majority);
      expect(new Set(majority.map((v) => v.node)).size).toBe(evidence.threshold);
      expect(new Set(majority.map((v) => `${v.tx} ${v.epoch} ${v.value}`)).size).toBe(1);
      expect(dissent).toMatchObject({ tx: majority[0]?.tx, key: file.accused.publicKey });
      expect(dissent?.value).not.toBe(majority[0]?.value);
      for (const vote of [...majority, dissent]) expect(recorded).toContainEqual(vote);
    } else if (type === "INVALID_SIGNATURE")
      checkEnvelope(evidence.envelope, file.accused, trustees);
    else {
      expect(recorded.map((v) => v.node)).toEqual(evidence.voted);
      expect(tally.record.absent).toEqual([file.accused.nodeId]);
      expect(evidence.voted).not.toContain(file.accused.nodeId);
    }
  });

  it("makes a trustee set's fingerprint", () => {
    const file = JSON.parse(unwrap(makeEvidenceFile(INPUTS.DOUBLE_VOTING, sign, verify)));
    const { epoch, threshold, trustees } = file.trusteeSets[0];
    const content = JSON.stringify({ clusterId: file.clusterId, epoch, threshold, trustees });
    const fingerprint = blake3(text(`quorate/trustee-set/v1\n${content}`)).toString("hex");
    expect(fingerprint).toBe(trusteeSetFingerprint(set));
  });
});

function checkEnvelope(
  envelope: Readonly<Record<string, string>>,
  accused: Named,
  trustees: readonly Named[],
): void {
  const from = bytesOf(envelope["from"]);
  expect(from.toString("hex")).toBe(`002408011220${accused.publicKey}`);
  const data = bytesOf(envelope["data"]);
  const parts = [from, data, bytesOf(envelope["seqno"]), text(envelope["topic"] ?? "")];
  const field = (part: Buffer, i: number): Buffer =>
    Buffer.concat([Buffer.of(((i + 1) << 3) | 2), varint(part.length), part]);
  const outer = Buffer.concat([text("libp2p-pubsub:"), ...parts.map(field)]);
  expect(signedBy(accused.publicKey, outer, bytesOf(envelope["signature"]))).toBe(true);
  expect(data[0]).toBe(1);
  const leaves = fieldsOf(data.subarray(67));
  expect(data.readUInt16BE(65)).toBe(leaves.length);
  const named = readLeaf(leaves[0] ?? Buffer.alloc(0)).node;
  expect(named).not.toBe(accused.nodeId);
  const key = trustees.find((t) => t.nodeId === named)?.publicKey ?? "";
  const inner = batchBytes(leaves.length, root(leaves));
  expect(signedBy(key, inner, data.subarray(1, 65))).toBe(false);
}

function varint(n: number): Buffer {
  return n < 128 ? Buffer.of(n) : Buffer.concat([Buffer.of((n & 127) | 128), varint(n >> 7)]);
}

function base58(bytes: Buffer): string {
  const digits = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
  let n = BigInt(`0x${bytes.toString("hex")}`);
  let out = "";
  for (; n > 0n; n /= 58n) out = digits.charAt(Number(n % 58n)) + out;
  return "1".repeat(bytes.findIndex((byte) => byte !== 0)) + out;
}
