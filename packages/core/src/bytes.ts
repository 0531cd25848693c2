import { blake3 } from "@noble/hashes/blake3.js";
import { bytesToHex, concatBytes, hexToBytes, utf8ToBytes } from "@noble/hashes/utils.js";
import { assert } from "./result.ts";

export { bytesToHex, concatBytes, hexToBytes };

/** BLAKE3-256 of the parts joined. */
export function hash(...parts: readonly Uint8Array[]): Uint8Array {
  const h = blake3.create();
  for (const part of parts) h.update(part);
  return h.digest();
}

/** UTF-8 bytes of a text. */
export function utf8(text: string): Uint8Array {
  return utf8ToBytes(text);
}

/** A u64 in 8 bytes, big-endian. */
export function u64(value: bigint): Uint8Array {
  assert(value >= 0n && value < 2n ** 64n, "u64 out of range");
  const out = new Uint8Array(8);
  new DataView(out.buffer).setBigUint64(0, value);
  return out;
}

/** A u16 in 2 bytes, big-endian. */
export function u16(value: number): Uint8Array {
  assert(Number.isInteger(value) && value >= 0 && value < 65_536, "u16 out of range");
  return Uint8Array.of(value >> 8, value & 0xff);
}

/** A field with its length before it (u16, big-endian), so that no two different field lists join to the same bytes. */
export function lengthPrefixed(bytes: Uint8Array): Uint8Array {
  return concatBytes(u16(bytes.length), bytes);
}

export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

const BASE64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/** Standard base64 with padding. Written here because core may use neither Node's Buffer nor the DOM's btoa. */
export function toBase64(bytes: Uint8Array): string {
  let out = "";
  for (let i = 0; i < bytes.length; i += 3) {
    const a = bytes[i] ?? 0;
    const b = bytes[i + 1];
    const c = bytes[i + 2];
    const n = (a << 16) | ((b ?? 0) << 8) | (c ?? 0);
    out += BASE64.charAt(n >> 18) + BASE64.charAt((n >> 12) & 63);
    out += b === undefined ? "=" : BASE64.charAt((n >> 6) & 63);
    out += c === undefined ? "=" : BASE64.charAt(n & 63);
  }
  return out;
}

// By character code; 255 is no base64 digit. A table of bytes, for every stored vote is read through it.
const BASE64_VALUES = new Uint8Array(128).fill(255);
for (let i = 0; i < BASE64.length; i++) BASE64_VALUES[BASE64.charCodeAt(i)] = i;

/** Reads canonical base64; anything else (wrong padding, stray bits) is null. */
export function fromBase64(text: string): Uint8Array | null {
  const length = text.length;
  if (length % 4 !== 0) return null;
  const padding = text.endsWith("==") ? 2 : text.endsWith("=") ? 1 : 0;
  const digits = length - padding;
  const out = new Uint8Array((length / 4) * 3 - padding);
  let bits = 0;
  let accumulator = 0;
  let at = 0;
  for (let i = 0; i < digits; i++) {
    const value = BASE64_VALUES[text.charCodeAt(i)] ?? 255;
    if (value === 255) return null;
    accumulator = ((accumulator << 6) | value) & 0xffffff;
    bits += 6;
    if (bits >= 8) {
      bits -= 8;
      out[at++] = (accumulator >> bits) & 0xff;
    }
  }
  // Bits left over must be zero, or two texts would decode to the same bytes.
  if ((accumulator & ((1 << bits) - 1)) !== 0) return null;
  return out;
}

const BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";

/** Base58btc text. @param bytes short input (a peer id); the cost is quadratic. */
export function toBase58(bytes: Uint8Array): string {
  let zeros = 0;
  while (zeros < bytes.length && bytes[zeros] === 0) zeros++;
  let n = 0n;
  for (const byte of bytes) n = n * 256n + BigInt(byte);
  let out = "";
  while (n > 0n) {
    out = BASE58.charAt(Number(n % 58n)) + out;
    n /= 58n;
  }
  return "1".repeat(zeros) + out;
}

/** Reads base58btc text; a character of another alphabet makes it null. @param text short, as for `toBase58`. */
export function fromBase58(text: string): Uint8Array | null {
  let zeros = 0;
  while (zeros < text.length && text[zeros] === "1") zeros++;
  let n = 0n;
  for (const digit of text) {
    const value = BASE58.indexOf(digit);
    if (value < 0) return null;
    n = n * 58n + BigInt(value);
  }
  const bytes: number[] = [];
  for (; n > 0n; n /= 256n) bytes.push(Number(n % 256n));
  return concatBytes(new Uint8Array(zeros), Uint8Array.from(bytes.reverse()));
}
