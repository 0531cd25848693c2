import { LIMITS, type TxId } from "@quorate/core";
import type { Clock } from "@quorate/ports";
import type { SubmitterMetrics } from "./catalogue.ts";

export type Stage = "broadcast" | "included" | "finalized";

interface Since {
  readonly queuedMs: number;
  readonly seen: Set<Stage>;
}

/**
 * Measures how long results take from the queue to each stage. A result is measured once a stage, the first time; what an
 * earlier process queued is not measured, for nobody knows its monotonic time.
 */
export class StageClock {
  readonly #deps: { readonly clock: Clock; readonly metrics: SubmitterMetrics };
  readonly #since = new Map<TxId, Since>();

  constructor(dependencies: { readonly clock: Clock; readonly metrics: SubmitterMetrics }) {
    this.#deps = dependencies;
  }

  queued(txIds: readonly TxId[]): void {
    const queuedMs = this.#deps.clock.monotonicMs();
    for (const txId of txIds)
      if (!this.#since.has(txId) && this.#since.size < LIMITS.viewTransactionsMax)
        this.#since.set(txId, { queuedMs, seen: new Set() });
  }

  reached(txId: TxId, stage: Stage): void {
    const since = this.#since.get(txId);
    if (since === undefined || since.seen.has(stage)) return;
    since.seen.add(stage);
    const seconds = (this.#deps.clock.monotonicMs() - since.queuedMs) / 1_000;
    this.#deps.metrics.latency.observe({ stage }, seconds);
    if (stage === "finalized") this.#since.delete(txId);
  }

  forget(txId: TxId): void {
    this.#since.delete(txId);
  }
}
