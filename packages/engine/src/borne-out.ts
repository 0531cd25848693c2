import { gradeOf, type TrusteeSets, type Verify, verifyEvidence } from "@quorate/core";
import type { StandaloneViolation } from "@quorate/ports";

/**
 * Whether a violation found in the tally is backed by its own evidence: genuine signatures, against this peer,
 * in this transaction. Whoever can write to etcd can put any violation there, and copy a genuine one to
 * other transactions, so none lowers a score unless this holds (I6). Silence leaves no signature: it is taken from
 * whoever recorded it, if it names a trustee. Pure.
 */
export function isBorneOut(
  violation: StandaloneViolation["violation"],
  sets: TrusteeSets,
  verify: Verify,
): boolean {
  const { evidence, type, grade, peerId, nodeId, txId } = violation;
  if (evidence.type !== type || grade !== gradeOf(type)) return false;
  if (evidence.type === "SILENT_FAILURE") {
    const named = [...sets.values()].flatMap((set) => set.byPeerId.get(peerId)?.nodeId ?? []);
    return evidence.nodeId === nodeId && named.some((name) => name === nodeId);
  }
  const found = verifyEvidence(evidence, sets, verify);
  return found.ok && found.value.peerId === peerId && found.value.txId === txId;
}
