import { setImmediate } from "node:timers";
import type { Clock } from "@quorate/ports";

/** The longest that reading goes on without a turn of the event loop, in ms: timers, stores and other peers wait meanwhile. */
const BUSY_MS_MAX = 5;

/**
 * Gives the event loop its turns while a stream is read. What lies in a stream's buffer (megabytes) is handled
 * without one otherwise, for it needs no waiting: under a flood the etcd lease was lost before the flooding peer was muted.
 */
export class FairTurns {
  readonly #clock: Pick<Clock, "monotonicMs">;
  #turnAtMs: number;
  /** The last one's turn. */
  #last: Promise<void> = Promise.resolve();

  constructor(clock: Pick<Clock, "monotonicMs">) {
    this.#clock = clock;
    this.#turnAtMs = clock.monotonicMs();
  }

  /** Resolves at once, or after a turn of the event loop when the last one is too long ago. */
  async take(): Promise<void> {
    if (this.#clock.monotonicMs() - this.#turnAtMs < BUSY_MS_MAX) return;
    // Each waits for a turn of its own: were one turn to free all, they would all read before the next.
    this.#last = this.#last.then(() => this.#turn());
    await this.#last;
  }

  #turn(): Promise<void> {
    return new Promise((resolve) =>
      setImmediate(() => {
        this.#turnAtMs = this.#clock.monotonicMs();
        resolve();
      }),
    );
  }
}
