/** The four ways to be Byzantine. @see spec §3.1 */
export type ViolationType =
  | "DOUBLE_VOTING"
  | "MINORITY_VOTE"
  | "INVALID_SIGNATURE"
  | "SILENT_FAILURE";

export const VIOLATION_TYPES: readonly ViolationType[] = [
  "DOUBLE_VOTING",
  "MINORITY_VOTE",
  "INVALID_SIGNATURE",
  "SILENT_FAILURE",
];

/**
 * How sure a violation is (R7). PROOF: signatures that only the offender could
 * have made; its ban is permanent. OPINION: true of this transaction, but an
 * honest node can come into it; an operator may lift its ban.
 */
export type EvidenceGrade = "PROOF" | "OPINION";

/** Why a peer is out: a violation, or a score that many small ones have brought too low (§7.3). */
export type BanReason = ViolationType | "LOW_REPUTATION";

export function gradeOf(type: ViolationType): EvidenceGrade {
  return type === "DOUBLE_VOTING" || type === "INVALID_SIGNATURE" ? "PROOF" : "OPINION";
}
