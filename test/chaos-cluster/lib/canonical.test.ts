import {
  encodeVote,
  leafHash,
  merklePaths,
  merkleRoot,
  openFrame,
  parseClusterId,
  parseEpoch,
  parseNodeId,
  parseTxId,
  parseValue,
  signFrame,
  unwrap,
  type Vote,
  voteToJson,
} from "@quorate/core";
import { createVoteSigner } from "@quorate/crypto-sodium";
import { expect, test } from "vitest";
import { blake3 } from "./blake3.ts";
import { keyOf, readVoteBytes, rootOver, verifiedVote, voteBytes } from "./canonical.ts";

const signer = createVoteSigner(new Uint8Array(32).fill(7));
const key = keyOf(Buffer.from(signer.publicKey).toString("hex"));

const vote = (n: number): Vote => ({
  clusterId: unwrap(parseClusterId("chaos-1")),
  epoch: unwrap(parseEpoch(3)),
  txId: unwrap(parseTxId(`tx-${n}`)),
  value: unwrap(parseValue((2n ** 64n - 1n - BigInt(n)).toString())),
  nodeId: unwrap(parseNodeId("trustee-2")),
  issuedAtMs: 1_700_000_000_000 + n,
});

test("the digest is BLAKE3's", () => {
  const hex = (text: string): string => Buffer.from(blake3(Buffer.from(text))).toString("hex");
  expect(hex("")).toBe("af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262");
  expect(hex("abc")).toBe("6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85");
  // Block boundaries, against the product's own library through a leaf's hash.
  for (const length of [0, 1, 62, 63, 64, 127, 128, 319, 1_023]) {
    const bytes = Uint8Array.from({ length }, (_, i) => i % 251);
    expect(blake3(Buffer.concat([Buffer.of(0), bytes]))).toEqual(leafHash(bytes));
  }
});

test("the bytes written down here are the product's, and read back as one vote only", () => {
  const { epoch, issuedAtMs, ...rest } = vote(1);
  const spoken = { ...rest, epoch: BigInt(epoch), issuedAtMs: BigInt(issuedAtMs) };
  expect([...voteBytes(spoken)]).toEqual([...encodeVote(vote(1))]);
  expect(readVoteBytes(voteBytes(spoken))).toEqual(spoken);
  expect(readVoteBytes(Buffer.concat([voteBytes(spoken), Buffer.of(0)]))).toBeNull();
});

test("a vote of a frame of any size verifies, and no other word does", () => {
  for (const size of [1, 2, 3, 5, 8, 13]) {
    const votes = Array.from({ length: size }, (_, n) => vote(n));
    const opened = unwrap(openFrame(signFrame(votes, (message) => signer.sign(message))));
    for (const [n, signed] of opened.votes.entries()) {
      const stored = voteToJson(signed, "peer");
      expect(verifiedVote(stored, key)).toMatchObject({ txId: `tx-${n}` });
      const leaf = Buffer.from(encodeVote(vote(99))).toString("base64");
      expect(verifiedVote({ ...stored, leaf }, key)).toBeNull();
      expect(verifiedVote({ ...stored, size: size + 1 }, key)).toBeNull();
    }
  }
});

test("a root is RFC 6962's", () => {
  const leaves = Array.from({ length: 7 }, (_, n) => encodeVote(vote(n)));
  const hashes = leaves.map(leafHash);
  for (const [n, path] of merklePaths(hashes).entries()) {
    const root = rootOver(
      Buffer.from(leaves[n] ?? []),
      n,
      7,
      Buffer.concat(path.map((p) => Buffer.from(p))),
    );
    expect([...(root ?? [])]).toEqual([...merkleRoot(hashes)]);
  }
});
