import { assert } from "@quorate/core";
import type { AbortOptions, Clock } from "@quorate/ports";
import type { SimClock } from "../sim-clock.ts";

export interface SimProcessOptions {
  readonly name: string;
  /** How much faster than true time its clocks run: 0.001 is a millisecond in a second. */
  readonly drift?: number;
  /** By how much its wall clock is wrong at present, in ms. */
  readonly skewMs?: () => number;
}

/**
 * One process of a simulation. Whatever happens to it comes in through `enter`: it stands
 * still while it is paused, and does nothing ever again once it was killed: no timer
 * fires, no answer arrives, nothing is cleaned up. So what a crash leaves is what was durable.
 */
export class SimProcess {
  readonly name: string;
  readonly clock: Clock;
  readonly #base: SimClock;
  #state: "running" | "paused" | "dead" = "running";
  #held: (() => void)[] = [];
  #draining = false;
  readonly #ends: (() => void)[] = [];

  constructor(options: SimProcessOptions, dependencies: { readonly clock: SimClock }) {
    this.name = options.name;
    this.#base = dependencies.clock;
    this.clock = new ProcessClock(this, dependencies.clock, options);
  }

  get isAlive(): boolean {
    return this.#state !== "dead";
  }

  get isRunning(): boolean {
    return this.#state === "running";
  }

  /** Runs the work in this process: now, or in order once it runs again, or never. */
  enter(work: () => void): void {
    if (this.#state === "dead") return;
    if (this.#state === "paused" || this.#draining) this.#held.push(work);
    else work();
  }

  /** As `enter`, after a time of the world's. @returns cancels it */
  after(ms: number, work: () => void): () => void {
    if (this.#state === "dead") return () => {};
    return this.#base.schedule(ms, () => this.enter(work));
  }

  /** Stands still, as under SIGSTOP or a long garbage collection; the world goes on. */
  pause(): void {
    if (this.#state === "running") this.#state = "paused";
  }

  resume(): void {
    if (this.#state !== "paused") return;
    this.#state = "running";
    this.#drain();
  }

  /** The end, without any last word. */
  kill(): void {
    if (this.#state === "dead") return;
    this.#state = "dead";
    this.#held = [];
    for (const end of this.#ends) end();
  }

  /** What the world does when the process ends: connections break. */
  onEnd(callback: () => void): void {
    assert(this.isAlive, "the process has not ended yet");
    this.#ends.push(callback);
  }

  /** One after the other, each to its next wait, as an event loop does it. */
  #drain(): void {
    this.#draining = this.#held.length > 0;
    if (!this.#draining) return;
    this.#base.schedule(0, () => {
      if (this.#state !== "running") {
        this.#draining = false;
        return;
      }
      this.#held.shift()?.();
      this.#drain();
    });
  }
}

class ProcessClock implements Clock {
  readonly #process: SimProcess;
  readonly #base: SimClock;
  readonly #rate: number;
  readonly #skewMs: () => number;
  readonly #startMs: number;

  constructor(process: SimProcess, base: SimClock, { drift = 0, skewMs }: SimProcessOptions) {
    this.#process = process;
    this.#base = base;
    this.#rate = 1 + drift;
    this.#skewMs = skewMs ?? ((): number => 0);
    this.#startMs = base.nowMs() - base.monotonicMs();
  }

  /** Whole milliseconds, as the systems' own wall clocks tell them. */
  nowMs(): number {
    return Math.floor(this.#startMs + this.monotonicMs() + this.#skewMs());
  }

  monotonicMs(): number {
    return this.#base.monotonicMs() * this.#rate;
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
    let cancelled = false;
    // It may be due while the process is paused, and be cancelled by what it does first when it wakes.
    const cancel = this.#process.after(Math.max(0, ms) / this.#rate, () => {
      if (!cancelled) callback();
    });
    return () => {
      cancelled = true;
      cancel();
    };
  }
}
