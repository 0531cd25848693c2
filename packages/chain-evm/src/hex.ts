import { type EvmAddress, parseEvmAddress, unwrap } from "@quorate/core";
import type { Hex } from "@quorate/ports";

const HEX = /^0x[0-9a-f]*$/;

function isHex(text: string): text is Hex {
  return HEX.test(text);
}

/** Lower-cases 0x-prefixed hexadecimal text; null when it is not that. */
export function parseHex(input: unknown): Hex | null {
  if (typeof input !== "string") return null;
  const text = input.toLowerCase();
  return isHex(text) ? text : null;
}

/** The address as viem's types want it. An EvmAddress is 0x and 40 lower-case digits already. */
export function addressHex(address: EvmAddress): Hex {
  const hex = parseHex(address);
  if (hex === null)
    throw new Error("an EvmAddress is not hexadecimal: it did not come from parseEvmAddress");
  return hex;
}

/** Brings an address that viem or our own code computed back into the domain. */
export function toEvmAddress(address: string): EvmAddress {
  return unwrap(parseEvmAddress(address));
}
