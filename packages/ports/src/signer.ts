/**
 * The one Ed25519 implementation. Libraries differ on edge cases (small-order
 * keys, S not below L), and two verdicts on the same bytes would split the cluster.
 */
export interface Ed25519 {
  /** Whether the signature is valid. Never throws: malformed keys and signatures are simply invalid. */
  verify(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean;
}

/** Signs a trustee's votes with its Ed25519 network key. */
export interface VoteSigner {
  /** 32 bytes. */
  readonly publicKey: Uint8Array;
  /** 64 bytes; deterministic. */
  sign(message: Uint8Array): Uint8Array;
}
