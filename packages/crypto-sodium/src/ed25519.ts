import type { Ed25519 } from "@quorate/ports";
import sodium from "sodium-native";

/** Length of an Ed25519 public key, in bytes. */
export const PUBLIC_KEY_BYTES = 32;
/** Length of an Ed25519 signature, in bytes. */
export const SIGNATURE_BYTES = 64;

/**
 * The cluster's one Ed25519 verifier, on libsodium. It is strict: S not below the group
 * order, a public key or R of small order, and a public key that is not in canonical form
 * are all invalid. A wrong length is invalid too; nothing throws.
 * @see spec §15.3
 */
export function createEd25519(): Ed25519 {
  return { verify };
}

function verify(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean {
  // The binding throws on a wrong length, and its error is no use to a caller
  // who only asks whether the bytes are a signature.
  if (!isBytes(publicKey, PUBLIC_KEY_BYTES)) return false;
  if (!isBytes(signature, SIGNATURE_BYTES)) return false;
  if (!(message instanceof Uint8Array)) return false;
  return sodium.crypto_sign_verify_detached(signature, message, publicKey);
}

function isBytes(value: unknown, length: number): value is Uint8Array {
  return value instanceof Uint8Array && value.length === length;
}
