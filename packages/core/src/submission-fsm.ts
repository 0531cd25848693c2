/** Where one transaction id stands on its way to the chain. @see spec §8.1 */
export type SubmissionState =
  | "QUEUED"
  | "ASSIGNED"
  | "INCLUDED"
  | "FINALIZED"
  | "ABORTED"
  | "QUARANTINED";

/** Where one nonce of one sender stands. */
export type SlotState =
  | "SIGNED"
  | "INCLUDED"
  | "FINALIZED_OK"
  | "FINALIZED_REVERTED"
  | "FINALIZED_FOREIGN"
  | "FINALIZED_CANCEL";

/** Why a signed transaction exists for a nonce. */
export type AttemptKind = "ORIGINAL" | "BUMP" | "CANCEL" | "GAPFILL";

/** The moves a submission may make. FINALIZED, ABORTED and QUARANTINED are terminal for the program; a person may release the last. */
export const SUBMISSION_MOVES: Readonly<Record<SubmissionState, readonly SubmissionState[]>> = {
  QUEUED: ["ASSIGNED", "FINALIZED", "ABORTED", "QUARANTINED"],
  ASSIGNED: ["INCLUDED", "QUEUED", "FINALIZED", "QUARANTINED"],
  INCLUDED: ["FINALIZED", "ASSIGNED", "QUARANTINED"],
  FINALIZED: [],
  ABORTED: [],
  QUARANTINED: [],
};

/** The moves a nonce slot may make. A finalized slot never moves again. */
export const SLOT_MOVES: Readonly<Record<SlotState, readonly SlotState[]>> = {
  SIGNED: [
    "INCLUDED",
    "FINALIZED_OK",
    "FINALIZED_REVERTED",
    "FINALIZED_FOREIGN",
    "FINALIZED_CANCEL",
  ],
  INCLUDED: [
    "SIGNED",
    "FINALIZED_OK",
    "FINALIZED_REVERTED",
    "FINALIZED_FOREIGN",
    "FINALIZED_CANCEL",
  ],
  FINALIZED_OK: [],
  FINALIZED_REVERTED: [],
  FINALIZED_FOREIGN: [],
  FINALIZED_CANCEL: [],
};

/** Whether a submission may go from one state to another. Staying is always allowed (a repeated step is a no-op). */
export function submissionMayMove(from: SubmissionState, to: SubmissionState): boolean {
  return from === to || SUBMISSION_MOVES[from].includes(to);
}

/** Whether a slot may go from one state to another. */
export function slotMayMove(from: SlotState, to: SlotState): boolean {
  return from === to || SLOT_MOVES[from].includes(to);
}
