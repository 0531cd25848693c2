import { createPrivateKey, createPublicKey, type KeyObject, sign, verify } from "node:crypto";
import { assert, concatBytes, hexToBytes } from "@quorate/core";
import type { Ed25519, VoteSigner } from "@quorate/ports";

// The DER that goes before the raw 32 bytes (RFC 8410).
const PKCS8_PREFIX = hexToBytes("302e020100300506032b657004220420");
const SPKI_PREFIX = hexToBytes("302a300506032b6570032100");
// Parsing a key costs as much as a verification. Tests use a few hundred keys at most.
const CACHED_KEYS_MAX = 1_024;

const publicKeys = new Map<string, KeyObject>();

function publicKeyObject(publicKey: Uint8Array): KeyObject {
  const name = Buffer.from(publicKey).toString("latin1");
  const known = publicKeys.get(name);
  if (known !== undefined) return known;
  const key = createPublicKey({
    key: Buffer.from(concatBytes(SPKI_PREFIX, publicKey)),
    format: "der",
    type: "spki",
  });
  if (publicKeys.size >= CACHED_KEYS_MAX) publicKeys.clear();
  publicKeys.set(name, key);
  return key;
}

/**
 * Ed25519 by Node itself, for tests of the rules: no native module to load. Good
 * for honest keys only; the cluster's own verifier is stricter about odd ones.
 */
export const nodeEd25519: Ed25519 = {
  verify(publicKey, message, signature) {
    if (publicKey.length !== 32 || signature.length !== 64) return false;
    return verify(null, message, publicKeyObject(publicKey), signature);
  },
};

/** A signer with the key of a 32-byte seed. */
export function nodeVoteSigner(seed: Uint8Array): VoteSigner {
  assert(seed.length === 32, "an Ed25519 seed has 32 bytes");
  const key = createPrivateKey({
    key: Buffer.from(concatBytes(PKCS8_PREFIX, seed)),
    format: "der",
    type: "pkcs8",
  });
  const der = createPublicKey(key).export({ format: "der", type: "spki" });
  return {
    publicKey: Uint8Array.from(der.subarray(SPKI_PREFIX.length)),
    sign: (message) => Uint8Array.from(sign(null, message, key)),
  };
}
