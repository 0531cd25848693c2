import type { Tone } from "./format.ts";
import type { State } from "./state.ts";

/** The condition of an alert in deploy/prometheus/rules, as far as this page can see it for itself. */
export interface Condition {
  readonly alert: string;
  readonly tone: Extract<Tone, "bad" | "warn">;
  readonly text: string;
}

/** As the alert ClockSkew has it. */
const CLOCK_OFFSET_MS = 2_000;

export function isClockOff(offsetMs: number | null | undefined): boolean {
  return Math.abs(offsetMs ?? 0) > CLOCK_OFFSET_MS;
}

/** What holds now; alerts also ask for how long, and know more. The worst first. */
export function conditionsOf({ status, submitter }: State): readonly Condition[] {
  const conditions: Condition[] = [];
  const add = (alert: string, tone: Condition["tone"], text: string): void =>
    void conditions.push({ alert, tone, text });
  if (status !== null) {
    const fit = status.trustees.filter((t) => t.online && !t.banned).length;
    if (fit < status.threshold)
      add(
        "QuorumLost",
        "bad",
        `${fit} trustees can vote and ${status.threshold} are needed: nothing is decided`,
      );
    else if (fit === status.threshold && status.totalNodes > status.threshold)
      add(
        "QuorumAtRisk",
        "warn",
        `${fit} trustees can vote and ${status.threshold} are needed: none may fail`,
      );
    for (const { nodeId, clockOffsetMs } of status.trustees)
      if (nodeId !== status.nodeId && isClockOff(clockOffsetMs))
        add(
          "ClockSkew",
          "warn",
          `the clock of ${nodeId}, or this node's, is ${Math.round(Math.abs(clockOffsetMs ?? 0) / 1_000)} s off`,
        );
  }
  const quarantined = submitter?.status?.counts["QUARANTINED"] ?? 0;
  if (quarantined > 0)
    add("SubmissionsQuarantined", "bad", `${quarantined} submissions wait for a person`);
  const frozen = submitter?.sender?.frozen ?? null;
  if (frozen !== null) add("SenderFrozen", "bad", `nothing new is signed: ${frozen.reason}`);
  return conditions.toSorted((a, b) => Number(b.tone === "bad") - Number(a.tone === "bad"));
}
