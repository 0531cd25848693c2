/** The only source of randomness. A seeded one stands behind the same interface. */
export interface Random {
  /** A float in [0, 1). */
  next(): number;
  /** `length` random bytes, fit for keys and nonces in the real implementation. */
  bytes(length: number): Uint8Array;
}
