/** Where one transaction id stands on its way to the chain. @see spec §8.1 */
export type SubmissionState =
  | "QUEUED"
  | "ASSIGNED"
  | "INCLUDED"
  | "FINALIZED"
  | "ABORTED"
  | "QUARANTINED";

/** Where one nonce of one sender stands. RESERVED: taken for a batch, and nothing signed for it is known yet (a remote signer is asked outside the database transaction). */
export type SlotState =
  | "RESERVED"
  | "SIGNED"
  | "INCLUDED"
  | "FINALIZED_OK"
  | "FINALIZED_REVERTED"
  | "FINALIZED_FOREIGN"
  | "FINALIZED_CANCEL";

/** Why a signed transaction exists for a nonce. */
export type AttemptKind = "ORIGINAL" | "BUMP" | "CANCEL" | "GAPFILL";

/**
 * The moves a submission may make. FINALIZED and ABORTED are terminal; QUARANTINED is for the program, and a person may
 * release it to QUEUED, once the nonce it had, if any, is final.
 */
export const SUBMISSION_MOVES: Readonly<Record<SubmissionState, readonly SubmissionState[]>> = {
  QUEUED: ["ASSIGNED", "FINALIZED", "ABORTED", "QUARANTINED"],
  ASSIGNED: ["INCLUDED", "QUEUED", "FINALIZED", "QUARANTINED"],
  INCLUDED: ["FINALIZED", "ASSIGNED", "QUARANTINED"],
  FINALIZED: [],
  ABORTED: [],
  QUARANTINED: ["QUEUED"],
};

/** The moves a nonce slot may make. A finalized slot never moves again. */
export const SLOT_MOVES: Readonly<Record<SlotState, readonly SlotState[]>> = {
  // Never sent, so only somebody else's transaction can use it.
  RESERVED: ["SIGNED", "FINALIZED_FOREIGN"],
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

/** Whether a slot can still change: its nonce is not final. */
export function isLiveSlot(state: SlotState): boolean {
  return SLOT_MOVES[state].length > 0;
}

/** Whether a submission may go from one state to another. Staying is always allowed (a repeated step is a no-op). */
export function submissionMayMove(from: SubmissionState, to: SubmissionState): boolean {
  return from === to || SUBMISSION_MOVES[from].includes(to);
}

/** Whether a slot may go from one state to another. */
export function slotMayMove(from: SlotState, to: SlotState): boolean {
  return from === to || SLOT_MOVES[from].includes(to);
}
