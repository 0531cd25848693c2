import { assert } from "@quorate/core";
import type { Random, VoteSigner } from "@quorate/ports";
import sodium from "sodium-native";
import { PUBLIC_KEY_BYTES, SIGNATURE_BYTES } from "./ed25519.ts";

/** Length of an Ed25519 seed (RFC 8032 calls it the private key), in bytes. */
export const SEED_BYTES = 32;

/**
 * A signer for one trustee key. The expanded key is kept in memory that libsodium guards
 * and keeps out of the swap; the caller may wipe the seed afterwards.
 * @param seed 32 bytes: the private key of RFC 8032, which libp2p calls the seed.
 */
export function createVoteSigner(seed: Uint8Array): VoteSigner {
  assert(seed instanceof Uint8Array && seed.length === SEED_BYTES, "an Ed25519 seed has 32 bytes");
  const publicKey = new Uint8Array(PUBLIC_KEY_BYTES);
  const secretKey = sodium.sodium_malloc(sodium.crypto_sign_SECRETKEYBYTES);
  sodium.crypto_sign_seed_keypair(publicKey, secretKey, seed);
  return {
    // A copy each time: a caller who writes into it must not change the signer's identity.
    get publicKey() {
      return Uint8Array.from(publicKey);
    },
    sign(message) {
      const signature = new Uint8Array(SIGNATURE_BYTES);
      sodium.crypto_sign_detached(signature, message, secretKey);
      return signature;
    },
  };
}

/**
 * A new 32-byte seed.
 * @param random where the bytes come from; libsodium's generator (the operating system's) when absent.
 */
export function generateSeed(random?: Random): Uint8Array {
  if (random !== undefined) {
    const seed = random.bytes(SEED_BYTES);
    assert(seed.length === SEED_BYTES, "the random source gave another number of bytes than asked");
    return seed;
  }
  const seed = new Uint8Array(SEED_BYTES);
  sodium.randombytes_buf(seed);
  return seed;
}
