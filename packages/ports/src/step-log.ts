import type { SignedNote, Step, StepOutcome, StepSight } from "@quorate/core";

/**
 * Where a process writes down each step it takes on durable state, for a check of the run against the model. Synchronous:
 * when `begin` has returned, the steps are where a kill of this process can't take them, and only then are they taken.
 * Never throws: a record that can't be written ends the recording, and not the process that is recorded.
 */
export interface StepLog {
  /** Steps that one call is about to take. @returns the number of each, for its end */
  begin(steps: readonly Step[]): readonly number[];
  /** What was signed inside a call that has not ended. */
  note(call: number, signed: SignedNote): void;
  /** What came of them. Without it their outcome counts as unknown. */
  end(ends: readonly { readonly call: number; readonly outcome: StepOutcome }[]): void;
  saw(sight: StepSight): void;
}
