import { hash } from "./bytes.ts";
import { assert } from "./result.ts";

// Leaves and inner nodes are hashed with different first bytes, so that an inner
// node can never pass for a leaf (the second-preimage trick on plain Merkle trees).
const LEAF = Uint8Array.of(0);
const NODE = Uint8Array.of(1);

/** Hash of one leaf. */
export function leafHash(leaf: Uint8Array): Uint8Array {
  return hash(LEAF, leaf);
}

/** Root over leaf hashes, split as in RFC 6962 (left part: the largest power of two below the size). */
export function merkleRoot(leafHashes: readonly Uint8Array[]): Uint8Array {
  assert(leafHashes.length > 0, "a Merkle tree has at least one leaf");
  if (leafHashes.length === 1) return leafHashes[0] as Uint8Array;
  const split = splitOf(leafHashes.length);
  return hash(NODE, merkleRoot(leafHashes.slice(0, split)), merkleRoot(leafHashes.slice(split)));
}

/** All inclusion paths at once, one per leaf, bottom up. */
export function merklePaths(leafHashes: readonly Uint8Array[]): readonly (readonly Uint8Array[])[] {
  assert(leafHashes.length > 0, "a Merkle tree has at least one leaf");
  return walk(leafHashes).paths;
}

/** Root and all inclusion paths in one pass over the tree. */
export function merkleTree(leafHashes: readonly Uint8Array[]): {
  readonly root: Uint8Array;
  readonly paths: readonly (readonly Uint8Array[])[];
} {
  assert(leafHashes.length > 0, "a Merkle tree has at least one leaf");
  return walk(leafHashes);
}

function walk(leafHashes: readonly Uint8Array[]): { root: Uint8Array; paths: Uint8Array[][] } {
  if (leafHashes.length === 1) return { root: leafHashes[0] as Uint8Array, paths: [[]] };
  const split = splitOf(leafHashes.length);
  const left = walk(leafHashes.slice(0, split));
  const right = walk(leafHashes.slice(split));
  for (const path of left.paths) path.push(right.root);
  for (const path of right.paths) path.push(left.root);
  return { root: hash(NODE, left.root, right.root), paths: [...left.paths, ...right.paths] };
}

/** The root that a leaf and its path lead to; null when the path does not fit the index and size. */
export function rootFromPath(
  leaf: Uint8Array,
  index: number,
  size: number,
  path: readonly Uint8Array[],
): Uint8Array | null {
  if (!Number.isInteger(index) || !Number.isInteger(size) || index < 0 || index >= size)
    return null;
  // Down from the root: at each level, on which side does the leaf lie?
  const goesRight: boolean[] = [];
  let at = index;
  let width = size;
  while (width > 1) {
    const split = splitOf(width);
    const right = at >= split;
    goesRight.push(right);
    if (right) at -= split;
    width = right ? width - split : split;
  }
  if (goesRight.length !== path.length) return null;
  let node = leafHash(leaf);
  for (const [level, sibling] of path.entries()) {
    if (sibling.length !== 32) return null;
    node = goesRight[goesRight.length - 1 - level]
      ? hash(NODE, sibling, node)
      : hash(NODE, node, sibling);
  }
  return node;
}

function splitOf(size: number): number {
  let split = 1;
  while (split * 2 < size) split *= 2;
  return split;
}
