import { assert } from "@quorate/core";
import type { AbortOptions, Clock } from "@quorate/ports";

export interface SimClockOptions {
  /** Wall time at the start, in ms since the Unix epoch. */
  readonly startMs?: number;
}

interface Timer {
  readonly dueMs: number;
  /** Order of arming: of two timers due together the older one fires first. */
  readonly order: number;
  readonly fire: () => void;
}

// Taken now, so that a test runner's fake timers can't replace it.
const macrotask = setImmediate;

/**
 * Time that stands still until `advance`. Timers fire in the order of their due
 * times, then of their arming, each with the clock exactly at its due time, and
 * what a timer wakes runs to its next wait before the following timer fires.
 */
export class SimClock implements Clock {
  readonly #timers = new Set<Timer>();
  #elapsedMs = 0;
  #wallOffsetMs: number;
  #armed = 0;
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
    const timer = {
      dueMs: this.#elapsedMs + Math.max(0, ms),
      order: this.#armed++,
      fire: callback,
    };
    this.#timers.add(timer);
    return () => void this.#timers.delete(timer);
  }

  /** Timers that are armed now. */
  get pendingTimers(): number {
    return this.#timers.size;
  }

  /** Milliseconds until the next timer; null when none is armed. */
  get untilNextMs(): number | null {
    const next = this.#next();
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
      for (let timer = this.#next(); timer !== null && timer.dueMs <= untilMs; ) {
        this.#timers.delete(timer);
        this.#elapsedMs = timer.dueMs;
        timer.fire();
        await settle();
        timer = this.#next();
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

  #next(): Timer | null {
    let next: Timer | null = null;
    for (const timer of this.#timers) {
      // A Set keeps the order of insertion, so the first of equals is the oldest.
      if (next === null || timer.dueMs < next.dueMs) next = timer;
    }
    return next;
  }
}

/** Resolves when everything that is ready has run to its next wait. */
function settle(): Promise<void> {
  return new Promise((resolve) => void macrotask(resolve));
}
