import { setTimeout as sleep } from "node:timers/promises";

import { DevkitError } from "./errors.ts";

const DEFAULT_POLL_MS = 20;

export type WaitUntilParameters = {
  readonly timeoutMs: number;
  /** What is being waited for, to complete the sentence "timed out waiting for …". */
  readonly what: string;
  readonly pollMs?: number;
  readonly signal?: AbortSignal | undefined;
};

/**
 * Asks `condition` again and again until it answers true.
 *
 * A condition that throws ends the wait with its error. The signal handed to
 * the condition aborts at the deadline, so a hanging request cannot outlive it.
 *
 * @throws DevkitError `WAIT_TIMEOUT` after `timeoutMs`; the signal's reason when aborted.
 */
export async function waitUntil(
  condition: (options: { signal: AbortSignal }) => boolean | Promise<boolean>,
  { timeoutMs, what, pollMs = DEFAULT_POLL_MS, signal }: WaitUntilParameters,
): Promise<void> {
  const deadline = new AbortController();
  const timer = setTimeout(() => deadline.abort(), timeoutMs);
  const either =
    signal === undefined ? deadline.signal : AbortSignal.any([signal, deadline.signal]);
  const { aborted, forget } = whenAborted(either);
  try {
    for (;;) {
      either.throwIfAborted();
      if (await Promise.race([condition({ signal: either }), aborted])) return;
      await sleep(pollMs, undefined, { signal: either });
    }
  } catch (error) {
    signal?.throwIfAborted();
    if (!deadline.signal.aborted) throw error;
    throw new DevkitError("WAIT_TIMEOUT", `timed out after ${timeoutMs} ms waiting for ${what}`, {
      cause: error,
      retryable: true,
    });
  } finally {
    clearTimeout(timer);
    forget();
  }
}

function whenAborted(signal: AbortSignal): { aborted: Promise<never>; forget: () => void } {
  let forget = (): void => {};
  const aborted = new Promise<never>((_resolve, reject) => {
    const onAbort = (): void => reject(signal.reason);
    signal.addEventListener("abort", onAbort, { once: true });
    forget = () => signal.removeEventListener("abort", onAbort);
  });
  // Between two polls nobody listens to this promise.
  aborted.catch(() => {});
  return { aborted, forget };
}
