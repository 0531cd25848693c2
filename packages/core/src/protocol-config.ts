/**
 * What happens to a transaction with a proven dissenter before it is submitted (R6).
 * strict-abort: it is aborted, as the specification says; each Byzantine trustee
 * can so kill every open transaction once, and is then out.
 * quarantine-and-continue: the dissenter is set aside, and it goes on while t identical votes remain.
 */
export type DissentPolicy = "strict-abort" | "quarantine-and-continue";

/** How hard OPINION violations are punished (R7): strict bans silence at once, balanced after several in a row. */
export type PunishmentProfile = "strict" | "balanced";

export interface ProtocolConfig {
  readonly policy: DissentPolicy;
  readonly profile: PunishmentProfile;
  /** How long a reached threshold stays open for dissent, in ms, unless all expected trustees agree at once (R5). */
  readonly settleMs: number;
  /** How long after its first vote a transaction waits for every trustee, in ms. */
  readonly deadlineMs: number;
  /** Silent transactions in a row that ban under the balanced profile. */
  readonly silenceStreakMax: number;
}

export const DEFAULT_PROTOCOL_CONFIG: ProtocolConfig = {
  policy: "strict-abort",
  profile: "balanced",
  settleMs: 500,
  deadlineMs: 30_000,
  silenceStreakMax: 3,
};
