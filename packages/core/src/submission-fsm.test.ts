import { describe, expect, it } from "vitest";
import {
  isLiveSlot,
  SLOT_MOVES,
  type SlotState,
  SUBMISSION_MOVES,
  type SubmissionState,
  slotMayMove,
  submissionMayMove,
} from "./submission-fsm.ts";

const SUBMISSION_TABLE: Record<SubmissionState, string> = {
  QUEUED: "ASSIGNED FINALIZED ABORTED QUARANTINED",
  ASSIGNED: "QUEUED INCLUDED FINALIZED QUARANTINED",
  INCLUDED: "ASSIGNED FINALIZED QUARANTINED",
  FINALIZED: "",
  ABORTED: "",
  QUARANTINED: "QUEUED",
};

const FINAL_SLOTS = "FINALIZED_OK FINALIZED_REVERTED FINALIZED_FOREIGN FINALIZED_CANCEL";
const SLOT_TABLE: Record<SlotState, string> = {
  RESERVED: "SIGNED FINALIZED_FOREIGN",
  SIGNED: `INCLUDED ${FINAL_SLOTS}`,
  INCLUDED: `SIGNED ${FINAL_SLOTS}`,
  FINALIZED_OK: "",
  FINALIZED_REVERTED: "",
  FINALIZED_FOREIGN: "",
  FINALIZED_CANCEL: "",
};

const statesOf = <T extends string>(moves: Readonly<Record<T, readonly T[]>>): readonly T[] =>
  Object.keys(moves) as T[];

function reachable<T extends string>(
  states: readonly T[],
  mayMove: (from: T, to: T) => boolean,
): Record<string, string> {
  return Object.fromEntries(
    states.map((from) => [from, states.filter((to) => to !== from && mayMove(from, to)).join(" ")]),
  );
}

describe("a submission", () => {
  const states = statesOf(SUBMISSION_MOVES);

  it("moves exactly as its table says", () => {
    expect(reachable(states, submissionMayMove)).toEqual(SUBMISSION_TABLE);
  });

  it("may always stay: a repeated step is no error", () => {
    for (const state of states) expect(submissionMayMove(state, state)).toBe(true);
  });

  it("is never aborted once a nonce was signed for it", () => {
    expect(submissionMayMove("ASSIGNED", "ABORTED")).toBe(false);
    expect(submissionMayMove("INCLUDED", "ABORTED")).toBe(false);
  });
});

describe("a nonce slot", () => {
  const states = statesOf(SLOT_MOVES);

  it("moves exactly as its table says", () => {
    expect(reachable(states, slotMayMove)).toEqual(SLOT_TABLE);
  });

  it("may always stay: a repeated step is no error", () => {
    for (const state of states) expect(slotMayMove(state, state)).toBe(true);
  });

  it("is live until its nonce is final, and never unsigned again", () => {
    const live = states.filter(isLiveSlot);
    expect(live).toEqual(["RESERVED", "SIGNED", "INCLUDED"]);
    for (const state of live) expect(SLOT_MOVES[state]).not.toContain("RESERVED");
  });
});
