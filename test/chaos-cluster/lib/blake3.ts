// BLAKE3 of up to one chunk, written down from its specification: the invariant check must not lean on the library that the
// product hashes with. A vote's bytes are at most 319 and an inner node's 65, so one chunk of 1,024 bytes is enough.

const IV = [
  0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
] as const;
const PERMUTATION = [2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8] as const;
const BLOCK_BYTES = 64;
const CHUNK_BYTES = 1_024;
const ROUNDS = 7;
const CHUNK_START = 1;
const CHUNK_END = 2;
const ROOT = 8;

/** The 32-byte digest. @throws RangeError for more than 1,024 bytes */
export function blake3(input: Uint8Array): Uint8Array {
  if (input.length > CHUNK_BYTES) throw new RangeError("this BLAKE3 takes one chunk only");
  const blocks = Math.max(1, Math.ceil(input.length / BLOCK_BYTES));
  let chaining: readonly number[] = IV;
  for (let index = 0; index < blocks; index++) {
    const part = input.subarray(index * BLOCK_BYTES, (index + 1) * BLOCK_BYTES);
    const block = new Uint8Array(BLOCK_BYTES);
    block.set(part);
    const last = index === blocks - 1;
    const flags = (index === 0 ? CHUNK_START : 0) | (last ? CHUNK_END | ROOT : 0);
    chaining = compress(chaining, wordsOf(block), part.length, flags);
  }
  const digest = new Uint8Array(32);
  const view = new DataView(digest.buffer);
  for (const [at, word] of chaining.entries()) view.setUint32(4 * at, word, true);
  return digest;
}

function wordsOf(block: Uint8Array): readonly number[] {
  const view = new DataView(block.buffer);
  return Array.from({ length: 16 }, (_, at) => view.getUint32(4 * at, true));
}

/** The first eight words of the state; the counter of a first chunk is 0. */
function compress(
  chaining: readonly number[],
  block: readonly number[],
  length: number,
  flags: number,
): readonly number[] {
  const v = Uint32Array.from([...chaining, ...IV.slice(0, 4), 0, 0, length, flags]);
  let m = block;
  for (let round = 0; round < ROUNDS; round++) {
    mix(v, [0, 4, 8, 12], m[0], m[1]);
    mix(v, [1, 5, 9, 13], m[2], m[3]);
    mix(v, [2, 6, 10, 14], m[4], m[5]);
    mix(v, [3, 7, 11, 15], m[6], m[7]);
    mix(v, [0, 5, 10, 15], m[8], m[9]);
    mix(v, [1, 6, 11, 12], m[10], m[11]);
    mix(v, [2, 7, 8, 13], m[12], m[13]);
    mix(v, [3, 4, 9, 14], m[14], m[15]);
    m = PERMUTATION.map((at) => m[at] ?? 0);
  }
  return Array.from({ length: 8 }, (_, at) => ((v[at] ?? 0) ^ (v[at + 8] ?? 0)) >>> 0);
}

function mix(
  v: Uint32Array,
  [a, b, c, d]: readonly [number, number, number, number],
  x = 0,
  y = 0,
): void {
  const at = (index: number): number => v[index] ?? 0;
  v[a] = at(a) + at(b) + x;
  v[d] = turned(at(d) ^ at(a), 16);
  v[c] = at(c) + at(d);
  v[b] = turned(at(b) ^ at(c), 12);
  v[a] = at(a) + at(b) + y;
  v[d] = turned(at(d) ^ at(a), 8);
  v[c] = at(c) + at(d);
  v[b] = turned(at(b) ^ at(c), 7);
}

const turned = (word: number, bits: number): number => (word >>> bits) | (word << (32 - bits));
