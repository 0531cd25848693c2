import type { Place } from "./read-runs.ts";

/** A step that the model does not allow, and why. */
export interface Refusal {
  readonly cluster: string;
  /** The transaction, nonce or peer that it is about. */
  readonly about: string;
  /** Where it is recorded. */
  readonly place: Place;
  /** The step as it was recorded. */
  readonly step: unknown;
  /** The guard or rule that refused it. */
  readonly guard: string;
  /** What the model holds before the step; null where there is no such state. */
  readonly state: Readonly<Record<string, string>> | null;
  /** Which check found it: the order of the record itself, or a module. */
  readonly by: "order" | "TraceVoting" | "TraceSubmission";
}
