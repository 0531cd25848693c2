import { getRandomValues, randomFillSync } from "node:crypto";
import { assert } from "@quorate/core";
import type { Random } from "@quorate/ports";

/** The operating system's randomness, fit for keys. */
export function systemRandom(): Random {
  return { next, bytes };
}

function next(): number {
  const words = getRandomValues(new Uint32Array(2));
  const [high = 0, low = 0] = words;
  // 27 + 26 bits fill a float's 53-bit mantissa exactly, so every result is below 1 and equally likely.
  return ((high >>> 5) * 2 ** 26 + (low >>> 6)) / 2 ** 53;
}

function bytes(length: number): Uint8Array {
  assert(Number.isSafeInteger(length) && length >= 0, "a length is a whole number of bytes");
  return randomFillSync(new Uint8Array(length));
}
