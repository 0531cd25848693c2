import { randomBytes } from "node:crypto";
import type { Random } from "@quorate/ports";

/** The operating system's generator. */
export const systemRandom: Random = {
  // 32 bits are plenty for a jitter.
  next: () => randomBytes(4).readUInt32BE(0) / 2 ** 32,
  bytes: (length) => Uint8Array.from(randomBytes(length)),
};
