import { describe, expect, it } from "vitest";
import {
  isSettled,
  stateOf,
  statusOf,
  TX_STATUSES,
  transition,
  VOTE_EVENTS,
  VOTE_STATES,
} from "./vote-fsm.ts";

/** The whole table [spec §6.3]; "-" is a refusal. */
const TABLE = `
             VoteReceived ThresholdReached ThresholdLost ByzantineDetected QuorumImpossible DeadlinePassed SubmitSuccess ConfirmationReceived
Idle         Collecting   -                -             -                 -                -              -             -
Collecting   Collecting   Threshold        -             Aborted           Aborted          Aborted        -             -
Threshold    Threshold    -                Collecting    Aborted           Aborted          Threshold      Submitted     -
Submitted    Submitted    -                -             Submitted         -                Submitted      -             Confirmed
Confirmed    Confirmed    -                -             Confirmed         -                Confirmed      -             -
Aborted      Aborted      -                -             Aborted           -                Aborted        -             -
`;

const render = (): string => {
  const cell = (text: string, width: number): string => text.padEnd(width);
  const header = [cell("", 12), ...VOTE_EVENTS].join(" ");
  const rows = VOTE_STATES.map((state) =>
    [
      cell(state, 12),
      ...VOTE_EVENTS.map((event) => {
        const next = transition(state, event);
        return cell(next.ok ? next.value : "-", event.length);
      }),
    ].join(" "),
  );
  return [header, ...rows].map((line) => line.trimEnd()).join("\n");
};

describe("the vote's state machine", () => {
  it("has exactly the transitions of its table, and refuses every other pair", () => {
    const expected = TABLE.split("\n")
      .slice(1, -1)
      .map((line) => line.trimEnd());
    expect(render()).toBe(expected.join("\n"));
  });

  it("names state and event in a refusal", () => {
    expect(transition("Aborted", "SubmitSuccess")).toEqual({
      ok: false,
      error: { code: "ILLEGAL_MOVE", state: "Aborted", event: "SubmitSuccess" },
    });
  });

  it("is never left once it is settled: no event leads from an abort or a confirmation elsewhere", () => {
    for (const state of ["Aborted", "Confirmed"] as const)
      for (const event of VOTE_EVENTS) {
        const next = transition(state, event);
        if (next.ok) expect(next.value).toBe(state);
      }
  });

  it("is written in etcd with the specification's words, and read back as the same state", () => {
    expect(VOTE_STATES.map(statusOf)).toEqual([null, ...TX_STATUSES]);
    for (const state of VOTE_STATES) expect(stateOf(statusOf(state))).toBe(state);
  });

  it("is settled from the submission or the abort on", () => {
    expect([null, ...TX_STATUSES].filter(isSettled)).toEqual([
      "SUBMITTED",
      "CONFIRMED",
      "ABORTED_BYZANTINE",
    ]);
  });
});
