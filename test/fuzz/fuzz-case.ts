import { bytesToHex, hexToBytes } from "@quorate/core";
import { type Who, whoBytes, whoFrom } from "./people.ts";

/**
 * The door a case comes to: "frame" is what gossip has authenticated, "rpc" is bytes off a stream, "proof"
 * is a stored vote with its inclusion path.
 */
export type Target = "frame" | "rpc" | "proof";
const TARGETS: readonly Target[] = ["frame", "rpc", "proof"];

/** One input, with all that it takes to run it alone. */
export interface FuzzCase {
  readonly target: Target;
  /** Who seals the envelope around a frame. */
  readonly author: Who;
  /** Who delivers it. */
  readonly forwarder: Who;
  /** The epoch in force. */
  readonly epoch: number;
  /** Wall time, in ms since 1970. */
  readonly atMs: number;
  readonly bytes: Uint8Array;
}

const VERSION = 1;
const HEAD_BYTES = 20;

export function caseToHex({ target, author, forwarder, epoch, atMs, bytes }: FuzzCase): string {
  const head = Buffer.alloc(HEAD_BYTES);
  head.set([VERSION, TARGETS.indexOf(target), ...whoBytes(author), ...whoBytes(forwarder)]);
  head.writeUInt16BE(epoch, 10);
  head.writeBigUInt64BE(BigInt(Math.floor(atMs)), 12);
  return bytesToHex(head) + bytesToHex(bytes);
}

/** @throws Error when the text is not what `caseToHex` wrote. */
export function caseFromHex(hex: string): FuzzCase {
  if (!/^(?:[0-9a-f]{2})+$/.test(hex)) throw new Error("a case is written in hexadecimal digits");
  const all = Buffer.from(hexToBytes(hex));
  const target = TARGETS[all[1] ?? TARGETS.length];
  if (all.length < HEAD_BYTES || all[0] !== VERSION || target === undefined)
    throw new Error("this is not a case that the fuzzer wrote");
  return {
    target,
    author: whoFrom(all.subarray(2, 6)),
    forwarder: whoFrom(all.subarray(6, 10)),
    epoch: Math.max(1, all.readUInt16BE(10)),
    atMs: Number(all.readBigUInt64BE(12)),
    bytes: Uint8Array.from(all.subarray(HEAD_BYTES)),
  };
}

/** A stored vote's proof as bytes, so that it can be mutated and written down like all else. */
export interface RawProof {
  readonly index: number;
  readonly size: number;
  readonly path: readonly Uint8Array[];
  readonly signature: Uint8Array;
  readonly leaf: Uint8Array;
}

export function writeProof({ index, size, path, signature, leaf }: RawProof): Uint8Array {
  const numbers = Buffer.alloc(16);
  numbers.writeDoubleBE(index, 0);
  numbers.writeDoubleBE(size, 8);
  const parts = [...path, signature].map((part) => [Buffer.from([part.length]), part]);
  return Buffer.concat([numbers, Buffer.from([path.length]), ...parts.flat(), leaf]);
}

/** Reads whatever there is: any bytes are some proof. */
export function readProof(bytes: Uint8Array): RawProof {
  const all = Buffer.alloc(Math.max(17, bytes.length));
  all.set(bytes);
  let at = 17;
  const next = (): Uint8Array => {
    const part = all.subarray(at + 1, at + 1 + (all[at] ?? 0));
    at += 1 + part.length;
    return part;
  };
  const path = Array.from({ length: all[16] ?? 0 }, next);
  const signature = next();
  const leaf = all.subarray(at);
  return { index: all.readDoubleBE(0), size: all.readDoubleBE(8), path, signature, leaf };
}
