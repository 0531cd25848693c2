import { hash as digest } from "node:crypto";
import { concatBytes } from "@quorate/core";
import type { Ed25519, VoteSigner } from "@quorate/ports";

/*
 * NOT SIGNATURES. A keyed hash stands behind the Ed25519 port, a hundred times cheaper, so that a seed costs a second.
 * Whoever knows the public key could forge one; nothing in a simulation tries. What is kept of the real thing: the same
 * bytes verify, any other bytes, key or signature do not. Real signatures are in every other test.
 */
const DOMAIN = new TextEncoder().encode("quorate/simulated-signature");

const tagOf = (publicKey: Uint8Array, message: Uint8Array): Buffer =>
  digest("sha512", concatBytes(DOMAIN, publicKey, message), "buffer");

export const simEd25519: Ed25519 = {
  verify: (publicKey, message, signature) =>
    signature.length === 64 && tagOf(publicKey, message).equals(signature),
};

/** A signer whose public key is made of the seed. */
export function simVoteSigner(seed: Uint8Array): VoteSigner {
  const publicKey = Uint8Array.from(digest("sha256", seed, "buffer"));
  return { publicKey, sign: (message) => Uint8Array.from(tagOf(publicKey, message)) };
}
