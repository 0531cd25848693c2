import { generateKeyPairSync, sign, verify } from "node:crypto";
import { cpus } from "node:os";

/** The machine a figure comes from. */
export interface Machine {
  readonly verifyMicros: number;
  readonly cpus: number;
  readonly model: string;
  readonly node: string;
}

export function measureMachine(): Machine {
  return {
    verifyMicros: Math.round(verifyMicros()),
    cpus: cpus().length,
    model: cpus()[0]?.model ?? "unknown",
    node: process.version,
  };
}

/** What one Ed25519 verification takes here, in µs: figures of other machines compare by it. */
function verifyMicros(): number {
  const { publicKey, privateKey } = generateKeyPairSync("ed25519");
  const message = Buffer.alloc(160, 7);
  const signature = sign(null, message, privateKey);
  const round = (times: number): number => {
    const startedMs = performance.now();
    for (let i = 0; i < times; i++) verify(null, message, publicKey, signature);
    return ((performance.now() - startedMs) * 1_000) / times;
  };
  round(1_000);
  return round(5_000);
}
