import { setTimeout as sleepMs } from "node:timers/promises";
import { assert } from "@quorate/core";
import type { AbortOptions, Clock } from "@quorate/ports";
import { TELEMETRY_LIMITS } from "./limits.ts";

/** The machine's clock. A pending sleep or schedule keeps the process alive; abort or cancel it at stop. */
export function systemClock(): Clock {
  return {
    nowMs: () => Date.now(),
    monotonicMs: () => performance.now(),
    sleep,
    schedule,
  };
}

async function sleep(ms: number, { signal }: AbortOptions = {}): Promise<void> {
  assertDuration(ms);
  signal?.throwIfAborted();
  const endMs = performance.now() + ms;
  let restMs = ms;
  do {
    const pieceMs = Math.min(Math.max(restMs, 0), TELEMETRY_LIMITS.timerMsMax);
    try {
      await sleepMs(pieceMs, undefined, signal === undefined ? {} : { signal });
    } catch (error) {
      // Node rejects with its own AbortError; the port promises the signal's reason.
      throw signal?.aborted === true ? signal.reason : error;
    }
    restMs = endMs - performance.now();
  } while (restMs > 0);
}

function schedule(ms: number, callback: () => void): () => void {
  assertDuration(ms);
  const endMs = performance.now() + ms;
  const arm = (restMs: number): NodeJS.Timeout =>
    setTimeout(
      () => {
        const leftMs = endMs - performance.now();
        // Node's timers may fire a fraction of a millisecond early; the clock never does.
        if (leftMs > 0) timer = arm(leftMs);
        else callback();
      },
      Math.min(Math.max(restMs, 0), TELEMETRY_LIMITS.timerMsMax),
    );
  let timer = arm(ms);
  return () => clearTimeout(timer);
}

function assertDuration(ms: number): void {
  assert(Number.isFinite(ms), "a duration is a finite number of milliseconds");
}
