import type { Clock } from "@quorate/ports";

/** A deadline passed before the work was done. */
export class DeadlineError extends Error {
  override readonly name = "DeadlineError";
}

/**
 * Runs work under a deadline and under the given signals; the first of them to
 * fire aborts it with its reason. Listeners are removed afterwards
 * (`AbortSignal.any` over a signal that lives as long as the process would gather them).
 */
export async function withDeadline<T>(
  work: (signal: AbortSignal) => Promise<T>,
  parameters: {
    readonly clock: Clock;
    readonly timeoutMs: number;
    readonly signals: readonly (AbortSignal | undefined)[];
  },
): Promise<T> {
  const controller = new AbortController();
  const undo: (() => void)[] = [];
  try {
    for (const signal of parameters.signals) {
      if (signal === undefined) continue;
      signal.throwIfAborted();
      const onAbort = (): void => controller.abort(signal.reason);
      signal.addEventListener("abort", onAbort, { once: true });
      undo.push(() => signal.removeEventListener("abort", onAbort));
    }
    undo.push(
      parameters.clock.schedule(parameters.timeoutMs, () =>
        controller.abort(new DeadlineError(`no answer within ${parameters.timeoutMs} ms`)),
      ),
    );
    return await work(controller.signal);
  } finally {
    for (const step of undo) step();
  }
}
