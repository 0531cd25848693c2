import { describe, expect, it } from "vitest";
import { parseClusterId, parseEpoch, parseEvmAddress, parseNodeId } from "./ids.ts";
import { LIMITS } from "./limits.ts";
import { unwrap } from "./result.ts";
import {
  faultBounds,
  makeTrusteeSet,
  peerIdBytesOf,
  peerIdOf,
  type Trustee,
  thresholdProblems,
} from "./trustee-set.ts";

const trustee = (name: string, keyByte: number, changes: Partial<Trustee> = {}): Trustee => {
  const publicKey = new Uint8Array(32).fill(keyByte);
  return {
    nodeId: unwrap(parseNodeId(name)),
    peerId: peerIdOf(publicKey),
    publicKey,
    evmAddress: unwrap(parseEvmAddress(`0x${"00".repeat(20)}`)),
    ...changes,
  };
};
const make = (threshold: number, trustees: readonly Trustee[]) =>
  makeTrusteeSet({
    clusterId: unwrap(parseClusterId("test")),
    epoch: unwrap(parseEpoch(1)),
    threshold,
    trustees,
  });

describe("makeTrusteeSet", () => {
  it("sorts by node id and finds members by both names", () => {
    const b = trustee("b", 2);
    const a = trustee("a", 1);
    const set = unwrap(make(2, [b, a]));
    expect(set.trustees).toEqual([a, b]);
    expect(set.byNodeId.get(b.nodeId)).toBe(b);
    expect(set.byPeerId.get(a.peerId)).toBe(a);
  });

  it("says all problems at once", () => {
    const other = trustee("z", 9);
    const result = make(9, [
      trustee("a", 1),
      trustee("a", 2),
      trustee("b", 1),
      trustee("c", 3, { publicKey: new Uint8Array(31) }),
      trustee("d", 4, { peerId: other.peerId }),
    ]);
    expect(result).toEqual({
      ok: false,
      error: [
        "threshold 9 is more than the 5 trustees, so nothing could ever be decided",
        "two trustees have the same node id",
        "two trustees have the same peer id",
        "trustee c: public key must be 32 bytes",
        "trustee d: peer id does not belong to its public key",
      ],
    });
  });

  it("refuses a set without trustees and one that is too large", () => {
    expect(make(1, []).ok).toBe(false);
    expect(thresholdProblems(LIMITS.trusteesMax, 51)).toEqual([]);
    expect(thresholdProblems(LIMITS.trusteesMax + 1, 51)).toEqual([
      `number of trustees must be 1 to ${LIMITS.trusteesMax}, but is ${LIMITS.trusteesMax + 1}`,
    ]);
  });

  it.each([0, -1, 1.5, NaN, Infinity])("refuses a threshold of %d", (threshold) => {
    expect(thresholdProblems(5, threshold)).toHaveLength(1);
  });

  it.each([
    [1, 1],
    [5, 1],
    [5, 5],
  ])("lets any 1 ≤ t ≤ N run: N=%d, t=%d [spec §1.2]", (trustees, threshold) => {
    expect(thresholdProblems(trustees, threshold)).toEqual([]);
  });
});

describe("peer ids", () => {
  it("are libp2p's text for an Ed25519 key", () => {
    // RFC 8032 test 1's public key, and the text that @libp2p/peer-id prints for it.
    const key = Uint8Array.from(
      "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a".match(/../g) ?? [],
      (pair) => Number.parseInt(pair, 16),
    );
    expect(peerIdBytesOf(key)).toHaveLength(38);
    expect(peerIdOf(key)).toBe("12D3KooWQK1wnefoLrcVHbbnf5tLzbopUd3K3bFAoJpA7YJgL5pV");
  });
});

describe("faultBounds", () => {
  it.each([
    { trustees: 10, threshold: 7, specified: 1, safety: 3, liveness: 3, warnings: 0 },
    { trustees: 10, threshold: 4, specified: 3, safety: -3, liveness: 6, warnings: 1 },
    { trustees: 5, threshold: 4, specified: 0, safety: 2, liveness: 1, warnings: 0 },
    { trustees: 10, threshold: 6, specified: 2, safety: 1, liveness: 4, warnings: 1 },
    { trustees: 1, threshold: 1, specified: 0, safety: 0, liveness: 0, warnings: 0 },
  ])(
    "N=$trustees, t=$threshold: f=$specified as the specification counts [spec §1.2]",
    ({ trustees, threshold, warnings, ...bounds }) => {
      const found = faultBounds(trustees, threshold);
      expect(found).toMatchObject(bounds);
      expect(found.warnings).toHaveLength(warnings);
    },
  );

  it("warns that two values could win when t is at most half of N", () => {
    expect(faultBounds(10, 5).warnings).toEqual([
      "threshold 5 is at most half of 10 trustees: two different values could both reach it",
    ]);
  });

  it("warns below two thirds", () => {
    expect(faultBounds(10, 6).warnings).toEqual([
      "threshold 6 is below the recommended 7 (two thirds of 10 trustees)",
    ]);
  });
});
