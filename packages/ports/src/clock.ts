import type { AbortOptions } from "./lifecycle.ts";

/** The only source of time. A simulated clock stands behind the same interface. */
export interface Clock {
  /** Wall clock, in ms since the Unix epoch. May jump. */
  nowMs(): number;
  /** Monotonic clock, in ms from an arbitrary start; for durations. */
  monotonicMs(): number;
  /** Resolves after `ms`; rejects with the signal's reason when aborted. */
  sleep(ms: number, options?: AbortOptions): Promise<void>;
  /** Calls back once after `ms`. Returns a function that cancels it. */
  schedule(ms: number, callback: () => void): () => void;
}
