import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { bytesToHex, concatBytes, hash, utf8 } from "./bytes.ts";
import { leafHash, merklePaths, merkleRoot, rootFromPath } from "./merkle.ts";

const SIZES = [1, 2, 3, 4, 5, 6, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 100, 127, 129, 255, 256];

const leavesOf = (size: number): Uint8Array[] =>
  Array.from({ length: size }, (_, i) => utf8(`leaf ${i}`));

function treeOf(size: number) {
  const leaves = leavesOf(size);
  const hashes = leaves.map(leafHash);
  return { leaves, root: bytesToHex(merkleRoot(hashes)), paths: merklePaths(hashes) };
}

const rootHex = (...args: Parameters<typeof rootFromPath>): string | null => {
  const root = rootFromPath(...args);
  return root === null ? null : bytesToHex(root);
};

describe("Merkle tree", () => {
  it.each(SIZES)("leads every leaf of %d to the root by its own path", (size) => {
    const { leaves, root, paths } = treeOf(size);
    expect(paths).toHaveLength(size);
    for (const [i, leaf] of leaves.entries())
      expect(rootHex(leaf, i, size, paths[i] ?? [])).toBe(root);
  });

  it("is RFC 6962's shape: the left part is the largest power of two below the size", () => {
    const [a, b, c] = leavesOf(3).map(leafHash) as [Uint8Array, Uint8Array, Uint8Array];
    const node = (left: Uint8Array, right: Uint8Array): Uint8Array =>
      hash(Uint8Array.of(1), left, right);
    expect(merkleRoot([a])).toEqual(a);
    expect(merkleRoot([a, b, c])).toEqual(node(node(a, b), c));
    expect(merkleRoot([a, b, c, a, b])).toEqual(node(node(node(a, b), node(c, a)), b));
  });

  it("leads nowhere near the root with another index, another size, leaf or sibling", () => {
    const cases = fc.integer({ min: 2, max: 256 }).chain((size) =>
      fc.record({
        size: fc.constant(size),
        index: fc.nat(size - 1),
        otherIndex: fc.nat(size - 1),
        byte: fc.nat(31),
        level: fc.nat(7),
      }),
    );
    fc.assert(
      fc.property(cases, ({ size, index, otherIndex, byte, level }) => {
        const { leaves, root, paths } = treeOf(size);
        const leaf = leaves[index] ?? new Uint8Array();
        const path = paths[index] ?? [];
        if (otherIndex !== index) expect(rootHex(leaf, otherIndex, size, path)).not.toBe(root);
        expect(rootHex(utf8("another leaf"), index, size, path)).not.toBe(root);
        expect(rootHex(leaf, index, size, path.slice(1))).toBeNull();
        expect(rootHex(leaf, index, size, [...path, new Uint8Array(32)])).toBeNull();
        const at = level % path.length;
        const altered = path.map((sibling, i) =>
          i === at ? sibling.map((b, j) => (j === byte ? b ^ 1 : b)) : sibling,
        );
        expect(rootHex(leaf, index, size, altered)).not.toBe(root);
        const short = path.map((sibling, i) => (i === at ? sibling.slice(1) : sibling));
        expect(rootHex(leaf, index, size, short)).toBeNull();
      }),
      { numRuns: 60 },
    );
  });

  it.each([
    [-1, 4],
    [4, 4],
    [0, 0],
    [0.5, 4],
    [NaN, 4],
    [0, NaN],
    [0, Infinity],
    [0, 4.5],
  ])("refuses index %d of size %d", (index, size) => {
    const { leaves, paths } = treeOf(4);
    expect(rootFromPath(leaves[0] ?? new Uint8Array(), index, size, paths[0] ?? [])).toBeNull();
  });

  it("ends for a size that nobody could have built", () => {
    expect(rootFromPath(utf8("x"), 0, Number.MAX_VALUE, [])).toBeNull();
  });

  it("never takes an inner node for a leaf", () => {
    const { leaves, root, paths } = treeOf(4);
    const joined = concatBytes(...leaves.slice(0, 2).map(leafHash));
    // What the left inner node hashes, put forward as a leaf: two siblings higher it would lead to the root.
    const right = (paths[0] ?? []).slice(1);
    expect(right).toHaveLength(1);
    expect(rootHex(joined, 0, 2, right)).not.toBe(root);
    expect(rootHex(concatBytes(Uint8Array.of(1), joined), 0, 2, right)).not.toBe(root);
  });

  it("has a root that depends on order and number", () => {
    const hashes = leavesOf(5).map(leafHash);
    const root = bytesToHex(merkleRoot(hashes));
    expect(bytesToHex(merkleRoot(hashes.toReversed()))).not.toBe(root);
    expect(bytesToHex(merkleRoot([...hashes, hashes[4] ?? new Uint8Array()]))).not.toBe(root);
  });
});
