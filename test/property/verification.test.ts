import {
  bytesToHex,
  decodeFrame,
  encodeFrame,
  LIMITS,
  openFrame,
  rootSigningBytes,
  type SignedVote,
  signFrame,
  unwrap,
  type VoteJson,
  verifyFrame,
  verifyVote,
  voteFromJson,
  voteToJson,
} from "@quorate/core";
import {
  nodeAt,
  nodeEd25519,
  nodeVoteSigner,
  signedFrame,
  tamper,
  testCluster,
  unsignedVote,
  vote,
  votes,
} from "@quorate/testkit";
import fc from "fast-check";
import { describe, expect, it } from "vitest";

const cluster = testCluster({ trustees: 4, threshold: 3 });
const { set, verify } = cluster;

const batch = (size: number): readonly SignedVote[] =>
  votes(
    cluster,
    0,
    Array.from({ length: size }, (_, i) => ({ txId: `tx-${i}`, value: i })),
  );

describe("the tests' own Ed25519", () => {
  it("signs and verifies RFC 8032's second vector, and throws for nothing", () => {
    const seed = Buffer.from(
      "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
      "hex",
    );
    const signer = nodeVoteSigner(seed);
    expect(bytesToHex(signer.publicKey)).toBe(
      "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
    );
    const message = Uint8Array.of(0x72);
    const signature = signer.sign(message);
    expect(bytesToHex(signature)).toBe(
      "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    );
    expect(nodeEd25519.verify(signer.publicKey, message, signature)).toBe(true);
    expect(nodeEd25519.verify(signer.publicKey, Uint8Array.of(0x73), signature)).toBe(false);
    expect(nodeEd25519.verify(new Uint8Array(31), message, signature)).toBe(false);
    expect(nodeEd25519.verify(signer.publicKey, message, new Uint8Array(3))).toBe(false);
  });

  it("gives the same cluster again, and another for another seed", () => {
    const again = testCluster({ trustees: 4, threshold: 3 });
    expect(again.set).toEqual(set);
    expect(testCluster({ trustees: 4, threshold: 3, seed: 2 }).set).not.toEqual(set);
  });
});

describe("verifyFrame and verifyVote", () => {
  it("agree on every vote of a good frame, whatever its size", () => {
    for (const size of [1, 2, 3, 5, 8, 64, 100, LIMITS.votesPerFrameMax]) {
      const good = batch(size);
      expect(good).toHaveLength(size);
      // Verifying 256 votes one by one costs 256 signature checks; some places tell as much.
      for (const at of new Set([0, 1, size >> 1, size - 1])) {
        const signed = good[at];
        if (signed !== undefined)
          expect(verifyVote(signed, set, verify)).toEqual({ ok: true, value: signed });
      }
    }
  });

  it("agree on every bad frame: any changed byte spoils both, or changes nothing that is believed", () => {
    const frame = encodeFrame(
      signedFrame(cluster, 0, [
        { txId: "a", value: 1 },
        { txId: "b", value: 2 },
        { txId: "c", value: 3 },
      ]),
    );
    fc.assert(
      fc.property(fc.nat(frame.length - 1), fc.integer({ min: 1, max: 255 }), (at, mask) => {
        const decoded = decodeFrame(tamper(frame, at, mask));
        if (!decoded.ok) return;
        expect(verifyFrame(decoded.value, set, verify).ok).toBe(false);
        const opened = openFrame(decoded.value);
        if (!opened.ok) return;
        for (const signed of opened.value.votes)
          expect(verifyVote(signed, set, verify).ok).toBe(false);
      }),
      { numRuns: 400 },
    );
  });

  it.each([
    ["WRONG_CLUSTER", { clusterId: "elsewhere" }],
    ["WRONG_EPOCH", { epoch: 2 }],
  ] as const)("refuse a vote that was signed for another set: %s", (code, options) => {
    const other = testCluster({ trustees: 4, threshold: 3, ...options });
    const frame = signedFrame(other, 0, [{ txId: "tx", value: 1 }]);
    expect(verifyFrame(frame, set, verify)).toMatchObject({ ok: false, error: { code } });
    const [signed] = unwrap(openFrame(frame)).votes;
    expect(verifyVote(signed!, set, verify)).toMatchObject({ ok: false, error: { code } });
  });

  it("refuse a vote by somebody who is no trustee", () => {
    const larger = testCluster({ trustees: 5, threshold: 3 });
    const frame = signedFrame(larger, 4, [{ txId: "tx", value: 1 }]);
    expect(verifyFrame(frame, set, verify)).toMatchObject({ error: { code: "UNKNOWN_TRUSTEE" } });
  });

  it("take the key from the trustee set: a vote in another's name is refused", () => {
    const forged = signFrame([unsignedVote(cluster, 1, { txId: "tx", value: 1 })], (message) =>
      nodeAt(cluster, 0).signer.sign(message),
    );
    expect(verifyFrame(forged, set, verify)).toMatchObject({ error: { code: "BAD_SIGNATURE" } });
    const [signed] = unwrap(openFrame(forged)).votes;
    expect(verifyVote(signed!, set, verify)).toMatchObject({ error: { code: "BAD_SIGNATURE" } });
  });

  it("do not let a signature over one batch pass for a batch of another size", () => {
    const [first] = batch(2);
    const { leaf, path } = first!.proof;
    for (const proof of [
      { leaf, path, index: 0, size: 3 },
      { leaf, path: [], index: 0, size: 1 },
      { leaf, path, index: 1, size: 2 },
      { leaf, path: [...path, ...path], index: 0, size: 4 },
      { leaf, path: Array.from({ length: 9 }, () => new Uint8Array(32)), index: 0, size: 512 },
    ])
      expect(
        verifyVote(
          { ...first!, proof: { ...proof, signature: first!.proof.signature } },
          set,
          verify,
        ).ok,
      ).toBe(false);
  });

  it("believe only the signed bytes, not what was read from them elsewhere", () => {
    const honest = vote(cluster, 0, "tx", 1);
    const lied = {
      ...honest,
      vote: { ...honest.vote, value: vote(cluster, 0, "tx", 2).vote.value },
    };
    expect(unwrap(verifyVote(lied, set, verify)).vote.value).toBe(1n);
  });

  it("sign the batch, so that the same root under another count has another signature", () => {
    const root = new Uint8Array(32);
    expect(rootSigningBytes(1, root)).not.toEqual(rootSigningBytes(2, root));
  });
});

describe("a vote's JSON", () => {
  const signed = batch(5)[3]!;
  const { peerId } = nodeAt(cluster, 0);
  const json = voteToJson(signed, peerId);

  it("has the specification's four fields and its proof [spec §7.1]", () => {
    expect(json).toMatchObject({
      value: "3",
      timestamp: "2023-11-14T22:13:20.000Z",
      peer_id: peerId,
      index: 3,
      size: 5,
    });
    expect(Object.keys(json).sort()).toEqual(
      ["index", "leaf", "path", "peer_id", "signature", "size", "timestamp", "value"].sort(),
    );
  });

  it("comes back through JSON text as it was, and verifies alone", () => {
    for (const one of [...batch(1), ...batch(6)]) {
      const read = unwrap(voteFromJson(JSON.parse(JSON.stringify(voteToJson(one, peerId)))));
      expect({ vote: read.vote, proof: read.proof }).toEqual({ vote: one.vote, proof: one.proof });
      expect(verifyVote(read, set, verify).ok).toBe(true);
    }
  });

  it.each<[string, unknown]>([
    ["nothing", null],
    ["a text", "vote"],
    ["an array", []],
    ["no fields", {}],
    ["another value than was signed", { ...json, value: "4" }],
    ["a value as a number", { ...json, value: 3 }],
    ["the value in another spelling", { ...json, value: "03" }],
    ["an index as text", { ...json, index: "3" }],
    ["no size", { ...json, size: undefined }],
    ["base64 without padding", { ...json, signature: json.signature.replace(/=+$/, "") }],
    ["a path that is no whole number of siblings", { ...json, path: "AAAA" }],
    ["a path of a megabyte", { ...json, path: "AAAA".repeat(250_000) }],
    ["a leaf of a megabyte", { ...json, leaf: "AAAA".repeat(250_000) }],
    ["fields that are objects", { ...json, leaf: { toString: () => json.leaf } }],
    ["fields from the prototype only", Object.create(null)],
  ])("is refused with %s", (_, bad) => {
    expect(voteFromJson(bad).ok).toBe(false);
  });

  it("does not verify once any byte of its proof was changed", () => {
    const fields = fc.constantFrom("leaf", "signature", "path") as fc.Arbitrary<keyof VoteJson>;
    fc.assert(
      fc.property(fields, fc.nat(1_000), fc.nat(7), (field, at, bit) => {
        const bytes = Buffer.from(String(json[field]), "base64");
        const changed = tamper(bytes, at % bytes.length, 1 << bit);
        const read = voteFromJson({ ...json, [field]: Buffer.from(changed).toString("base64") });
        expect(read.ok && verifyVote(read.value, set, verify).ok).toBe(false);
      }),
      { numRuns: 200 },
    );
  });

  it("does not verify at another place of the batch or in one of another size", () => {
    for (let index = -1; index < 6; index++)
      for (let size = 0; size < 9; size++) {
        if (index === json.index && size === json.size) continue;
        const read = unwrap(voteFromJson({ ...json, index, size }));
        expect(verifyVote(read, set, verify).ok).toBe(false);
      }
  });
});
