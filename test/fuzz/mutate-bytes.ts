import type { SeededRandom } from "@quorate/testkit";

const INTERESTING = [0, 1, 2, 8, 15, 16, 32, 64, 127, 128, 255] as const;

type Mutation = (bytes: Uint8Array, random: SeededRandom, other: Uint8Array) => Uint8Array;

const cut = (bytes: Uint8Array, from: number, to: number, put: Uint8Array): Uint8Array =>
  Buffer.concat([bytes.subarray(0, from), put, bytes.subarray(to)]);
const place = (bytes: Uint8Array, random: SeededRandom): number =>
  random.below(Math.max(1, bytes.length));
const withByte = (bytes: Uint8Array, at: number, to: (byte: number) => number): Uint8Array =>
  cut(bytes, at, at + 1, Uint8Array.of(to(bytes[at] ?? 0)));

/** Mutations that know nothing of what the bytes mean. */
const MUTATIONS: readonly Mutation[] = [
  (bytes, random) => withByte(bytes, place(bytes, random), (byte) => byte ^ (1 << random.below(8))),
  (bytes, random) => withByte(bytes, place(bytes, random), () => random.below(256)),
  (bytes, random) =>
    withByte(bytes, place(bytes, random), (byte) => byte + (random.below(2) === 0 ? 1 : 255)),
  (bytes, random) => {
    const at = place(bytes, random);
    return withByte(bytes, at, () => INTERESTING[random.below(INTERESTING.length)] ?? 0);
  },
  (bytes, random) => {
    const at = place(bytes, random);
    return cut(bytes, at, at, random.bytes(1 + random.below(4)));
  },
  (bytes, random) => {
    const at = place(bytes, random);
    return cut(bytes, at, at + 1 + random.below(4), Uint8Array.of());
  },
  (bytes, random) => {
    const at = place(bytes, random);
    const piece = bytes.subarray(at, at + 1 + random.below(64));
    const to = place(bytes, random);
    return cut(bytes, to, to, piece);
  },
  (bytes, random) => bytes.subarray(0, place(bytes, random)),
  // Two inputs, each cut where it happens to be.
  (bytes, random, other) =>
    Buffer.concat([bytes.subarray(0, place(bytes, random)), other.subarray(place(other, random))]),
  // And at the same place, so that the lengths before it stay true.
  (bytes, random, other) => {
    const at = random.below(Math.max(1, Math.min(bytes.length, other.length)));
    return Buffer.concat([bytes.subarray(0, at), other.subarray(at)]);
  },
  // Two bytes together are a length, more often than not.
  (bytes, random) => {
    const at = place(bytes, random);
    const length = [0, 1, 7, 8, 9, 255, 256, 257, 512, 513, 65_535][random.below(11)] ?? 0;
    return cut(bytes, at, at + 2, Uint8Array.of(length >> 8, length & 255));
  },
];

/** One to four blind changes. @param other what may be spliced in */
export function mutateBytes(
  bytes: Uint8Array,
  random: SeededRandom,
  other: Uint8Array,
): Uint8Array {
  let mutated = bytes;
  for (let left = 1 + random.below(4); left > 0; left--) {
    const mutation = MUTATIONS[random.below(MUTATIONS.length)];
    if (mutation !== undefined) mutated = mutation(mutated, random, other);
  }
  return Uint8Array.from(mutated);
}
