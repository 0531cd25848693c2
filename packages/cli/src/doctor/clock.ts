import { LIMITS } from "@quorate/core";
import type { Clock } from "@quorate/ports";
import { check, type DoctorCheck, notChecked, type Probe, probe } from "./check.ts";

/** One other machine's time against this one's. */
export interface ClockReading {
  readonly source: string;
  /** Its time minus ours, in ms. Within a second: HTTP tells no more. */
  readonly offsetMs: number;
}

/** A person waits, and a slow answer tells the time badly. */
const TIMEOUT_MS = 3_000;

/** Asks the time of whatever answers HTTP at `url`, by the Date header. */
export async function readClock(
  source: string,
  url: string,
  clock: Pick<Clock, "nowMs">,
): Promise<Probe<ClockReading>> {
  return await probe(async (signal) => {
    const before = clock.nowMs();
    const response = await fetch(url, { signal });
    await response.body?.cancel();
    const after = clock.nowMs();
    const theirs = Date.parse(response.headers.get("date") ?? "");
    if (Number.isNaN(theirs)) throw new Error("its answer has no date");
    // The header is cut off to the second: on average half a second is missing.
    return { source, offsetMs: theirs + 500 - (before + after) / 2 };
  }, TIMEOUT_MS);
}

/**
 * Votes carry their time, and others refuse what is too far off: [spec §14.2, clock skew].
 * The middle of what the others say is taken for the time, so that one wrong one accuses nobody.
 */
export function checkClock(readings: readonly ClockReading[]): DoctorCheck {
  const sorted = readings.map(({ offsetMs }) => offsetMs).toSorted((a, b) => a - b);
  const middle = sorted[Math.floor((sorted.length - 1) / 2)];
  if (middle === undefined)
    return notChecked("clock", "nobody answers whose clock it could be compared with");
  const off = Math.abs(middle);
  const said = `${seconds(off)} s ${middle > 0 ? "behind" : "ahead of"} ${readings.length === 1 ? (readings[0]?.source ?? "") : `the others (${readings.length} asked)`}`;
  if (off > LIMITS.clockSkewRejectedMs)
    return check(
      "clock",
      "fail",
      said,
      `set this machine's clock (chronyd or systemd-timesyncd): votes more than ${LIMITS.clockSkewRejectedMs / 1_000} s off are refused`,
    );
  if (off > LIMITS.clockSkewToleratedMs)
    return check("clock", "warn", said, "set this machine's clock (chronyd or systemd-timesyncd)");
  const strays = readings.filter(
    ({ offsetMs }) => Math.abs(offsetMs - middle) > LIMITS.clockSkewToleratedMs,
  );
  if (strays.length > 0)
    return check(
      "clock",
      "warn",
      strays
        .map(({ source, offsetMs }) => {
          const by = offsetMs - middle;
          return `${source} is ${seconds(Math.abs(by))} s ${by > 0 ? "ahead" : "behind"}`;
        })
        .join(", "),
      "tell their operators; this machine's clock agrees with the rest",
    );
  return check(
    "clock",
    "ok",
    `within ${seconds(Math.max(off, 1_000))} s of ${readings.length} others`,
  );
}

function seconds(ms: number): string {
  return String(Math.round(ms / 1_000));
}
