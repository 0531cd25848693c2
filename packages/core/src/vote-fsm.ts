import { assertNever, err, ok, type Result } from "./result.ts";

/** The states of one transaction's vote. @see spec §6.2 Table 3 */
export type VoteState = "Idle" | "Collecting" | "Threshold" | "Submitted" | "Confirmed" | "Aborted";

/**
 * What moves it. The specification's five, and those that its rules need but its
 * table leaves out: an abort without an offender, and a threshold that is lost
 * again when an equivocator's vote is set aside.
 */
export type VoteEvent =
  | "VoteReceived"
  | "ThresholdReached"
  | "ThresholdLost"
  | "ByzantineDetected"
  | "QuorumImpossible"
  | "DeadlinePassed"
  | "SubmitSuccess"
  | "ConfirmationReceived";

export const VOTE_STATES: readonly VoteState[] = [
  "Idle",
  "Collecting",
  "Threshold",
  "Submitted",
  "Confirmed",
  "Aborted",
];
export const VOTE_EVENTS: readonly VoteEvent[] = [
  "VoteReceived",
  "ThresholdReached",
  "ThresholdLost",
  "ByzantineDetected",
  "QuorumImpossible",
  "DeadlinePassed",
  "SubmitSuccess",
  "ConfirmationReceived",
];

/** The whole table; a pair that is not here is refused. */
const MOVES: Readonly<Record<VoteState, Partial<Readonly<Record<VoteEvent, VoteState>>>>> = {
  Idle: { VoteReceived: "Collecting" }, // [spec eq. 17]
  Collecting: {
    VoteReceived: "Collecting", // [spec eq. 18]
    ThresholdReached: "Threshold", // [spec eq. 18]
    ByzantineDetected: "Aborted", // [spec eq. 19]
    QuorumImpossible: "Aborted",
    DeadlinePassed: "Aborted",
  },
  Threshold: {
    // Votes go on being recorded; whether they change anything is another event.
    VoteReceived: "Threshold",
    ThresholdLost: "Collecting",
    // Dissent inside the settle window still aborts (§3.4); the specification's table has no such edge.
    ByzantineDetected: "Aborted",
    QuorumImpossible: "Aborted",
    DeadlinePassed: "Threshold",
    SubmitSuccess: "Submitted", // [spec eq. 20]
  },
  // From here on nothing is taken back: late votes are recorded and judged, no more.
  Submitted: {
    VoteReceived: "Submitted",
    ByzantineDetected: "Submitted",
    DeadlinePassed: "Submitted",
    ConfirmationReceived: "Confirmed", // [spec eq. 21]
  },
  Confirmed: {
    VoteReceived: "Confirmed",
    ByzantineDetected: "Confirmed",
    DeadlinePassed: "Confirmed",
  },
  Aborted: { VoteReceived: "Aborted", ByzantineDetected: "Aborted", DeadlinePassed: "Aborted" },
};

export interface IllegalMove {
  readonly code: "ILLEGAL_MOVE";
  readonly state: VoteState;
  readonly event: VoteEvent;
}

/** One step. An undefined pair is refused, never ignored. @see spec §6.3 */
export function transition(state: VoteState, event: VoteEvent): Result<VoteState, IllegalMove> {
  const next = MOVES[state][event];
  return next === undefined ? err({ code: "ILLEGAL_MOVE", state, event }) : ok(next);
}

/** The words that etcd holds under `/transaction_status/{tx}`; Idle is the absent key. @see spec §7.1 */
export type TxStatus =
  | "COLLECTING"
  | "THRESHOLD_REACHED"
  | "SUBMITTED"
  | "CONFIRMED"
  | "ABORTED_BYZANTINE";

export const TX_STATUSES: readonly TxStatus[] = [
  "COLLECTING",
  "THRESHOLD_REACHED",
  "SUBMITTED",
  "CONFIRMED",
  "ABORTED_BYZANTINE",
];

export function stateOf(status: TxStatus | null): VoteState {
  switch (status) {
    case null:
      return "Idle";
    case "COLLECTING":
      return "Collecting";
    case "THRESHOLD_REACHED":
      return "Threshold";
    case "SUBMITTED":
      return "Submitted";
    case "CONFIRMED":
      return "Confirmed";
    case "ABORTED_BYZANTINE":
      return "Aborted";
    default:
      return assertNever(status);
  }
}

export function statusOf(state: VoteState): TxStatus | null {
  switch (state) {
    case "Idle":
      return null;
    case "Collecting":
      return "COLLECTING";
    case "Threshold":
      return "THRESHOLD_REACHED";
    case "Submitted":
      return "SUBMITTED";
    case "Confirmed":
      return "CONFIRMED";
    case "Aborted":
      return "ABORTED_BYZANTINE";
    default:
      return assertNever(state);
  }
}

/** Whether the outcome can no longer change. */
export function isSettled(status: TxStatus | null): boolean {
  return status === "SUBMITTED" || status === "CONFIRMED" || status === "ABORTED_BYZANTINE";
}
