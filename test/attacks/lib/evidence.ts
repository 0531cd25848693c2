import { randomInt } from "node:crypto";
import { verifyEvidenceFile } from "@quorate/core";
import { createEd25519 } from "@quorate/crypto-sodium";

/** What a check of evidence says, and about whom. */
export interface EvidenceVerdict {
  readonly verified: boolean;
  readonly nodeId: string | null;
  readonly sentence: string;
}

/** Bytes that are changed one at a time to see that each change is noticed; core's own tests change every one. */
const FLIPS = 32;

/**
 * Checks an exported evidence file with nothing but its bytes: no network, no database.
 * The one place where the kit decides what "verified offline" means.
 */
export function checkEvidence(file: Uint8Array): EvidenceVerdict {
  const ed25519 = createEd25519();
  const check = (bytes: Uint8Array): ReturnType<typeof verifyEvidenceFile> =>
    verifyEvidenceFile(bytes, (key, message, signature) => ed25519.verify(key, message, signature));
  const found = check(file);
  if (!found.ok) return { verified: false, nodeId: null, sentence: found.error };
  for (let i = 0; i < FLIPS; i++) {
    const changed = Uint8Array.from(file);
    const at = randomInt(changed.length);
    changed[at] = (changed[at] ?? 0) ^ (1 << randomInt(8));
    if (check(changed).ok)
      return {
        verified: false,
        nodeId: null,
        sentence: `the file is still good with its byte ${at} changed`,
      };
  }
  return { verified: true, nodeId: found.value.accused.nodeId, sentence: found.value.finding };
}
