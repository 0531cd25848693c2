import { assert } from "@quorate/core";
import type { AbortOptions, Clock } from "@quorate/ports";
import { TimerHeap } from "./timer-heap.ts";

export interface SimClockOptions {
  /** Wall time at the start, in ms since the Unix epoch. */
  readonly startMs?: number;
}

// Taken now, so that a test runner's fake timers can't replace it.
const macrotask = setImmediate;

/**
 * Time that stands still until `advance`. Timers fire in the order of their due
 * times, then of their arming, each with the clock exactly at its due time, and
 * what a timer wakes runs to its next wait before the following timer fires.
 */
export class SimClock implements Clock {
  readonly #timers = new TimerHeap();
  #elapsedMs = 0;
  #wallOffsetMs: number;
  #advancing = false;

  constructor({ startMs = 1_700_000_000_000 }: SimClockOptions = {}) {
    this.#wallOffsetMs = startMs;
  }

  nowMs(): number {
    return this.#wallOffsetMs + this.#elapsedMs;
  }

  monotonicMs(): number {
    return this.#elapsedMs;
  }

  sleep(ms: number, { signal }: AbortOptions = {}): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted === true) {
        reject(signal.reason);
        return;
      }
      const cancel = this.schedule(ms, () => {
        signal?.removeEventListener("abort", onAbort);
        resolve();
      });
      const onAbort = (): void => {
        cancel();
        reject(signal?.reason);
      };
      signal?.addEventListener("abort", onAbort, { once: true });
    });
  }

  schedule(ms: number, callback: () => void): () => void {
    assert(!Number.isNaN(ms), "a delay is a number");
    return this.#timers.add(this.#elapsedMs + Math.max(0, ms), callback);
  }

  /** Timers that are armed now. */
  get pendingTimers(): number {
    return this.#timers.size;
  }

  /** Milliseconds until the next timer; null when none is armed. */
  get untilNextMs(): number | null {
    const next = this.#timers.first;
    return next === null ? null : next.dueMs - this.#elapsedMs;
  }

  /**
   * Lets time pass, and fires what comes due, timers armed on the way included.
   * Rejects with what a scheduled callback throws; the clock then stands at that timer.
   * @param ms from 0 up.
   */
  async advance(ms: number): Promise<void> {
    assert(ms >= 0, "time goes forward; jump() moves the wall clock");
    assert(!this.#advancing, "one advance at a time, or the order would be nobody's");
    this.#advancing = true;
    try {
      const untilMs = this.#elapsedMs + ms;
      await settle();
      for (;;) {
        const timer = this.#timers.takeDue(untilMs);
        if (timer === null) break;
        this.#elapsedMs = timer.dueMs;
        timer.fire();
        await settle();
      }
      this.#elapsedMs = untilMs;
    } finally {
      this.#advancing = false;
    }
  }

  /** Moves the wall clock alone, as NTP or an operator would; no timer notices. */
  jump(ms: number): void {
    this.#wallOffsetMs += ms;
  }
}

/** Resolves when everything that is ready has run to its next wait. */
function settle(): Promise<void> {
  return new Promise((resolve) => void macrotask(resolve));
}
