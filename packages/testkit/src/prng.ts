import { assert } from "@quorate/core";
import type { Random } from "@quorate/ports";

/** A seeded source of randomness, with the draws that tests and simulations need. */
export interface SeededRandom extends Random {
  readonly seed: number;
  /** A whole number in [0, limit). @param limit from 1 up. */
  below(limit: number): number;
  /** The items in another order; the input is left alone. */
  shuffled<T>(items: readonly T[]): T[];
}

/**
 * The same seed gives the same draws on every machine (sfc32, whose state is
 * spread from the seed by splitmix32). Never for keys.
 * @param seed a whole number; taken modulo 2^32.
 */
export function prng(seed: number): SeededRandom {
  assert(Number.isSafeInteger(seed), "a seed is a whole number");
  let spread = seed >>> 0;
  const splitmix32 = (): number => {
    spread = (spread + 0x9e3779b9) | 0;
    let z = spread ^ (spread >>> 16);
    z = Math.imul(z, 0x21f0aaad);
    z ^= z >>> 15;
    z = Math.imul(z, 0x735a2d97);
    return z ^ (z >>> 15);
  };
  let a = splitmix32();
  let b = splitmix32();
  let c = splitmix32();
  let counter = 1;
  const u32 = (): number => {
    const sum = (((a + b) | 0) + counter) | 0;
    counter = (counter + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = (((c << 21) | (c >>> 11)) + sum) | 0;
    return sum >>> 0;
  };
  const next = (): number => u32() / 2 ** 32;
  const below = (limit: number): number => {
    assert(Number.isSafeInteger(limit) && limit >= 1 && limit <= 2 ** 32, "limit is 1 to 2^32");
    return Math.floor(next() * limit);
  };
  return {
    seed,
    next,
    below,
    bytes: (length) => Uint8Array.from({ length }, () => u32() & 0xff),
    shuffled: (items) => {
      // Sorted by a draw each: as fair as swapping, and nothing is indexed.
      const drawn = items.map((item, index) => ({ item, index, at: u32() }));
      drawn.sort((x, y) => x.at - y.at || x.index - y.index);
      return drawn.map(({ item }) => item);
    },
  };
}
