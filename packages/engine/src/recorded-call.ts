import type { Step, StepOutcome } from "@quorate/core";
import type { StepLog } from "@quorate/ports";

/**
 * Makes a call whose steps are on record before it and whose outcomes after it. A call that fails may have taken effect:
 * its steps' outcomes are unknown, and what follows tells.
 * @param outcomesOf one for each step, in order
 */
export async function recordedCall<T>(
  log: StepLog,
  steps: readonly Step[],
  call: (calls: readonly number[]) => Promise<T>,
  outcomesOf: (result: T) => readonly StepOutcome[],
): Promise<T> {
  if (steps.length === 0) return await call([]);
  const calls = log.begin(steps);
  let result: T;
  try {
    result = await call(calls);
  } catch (error) {
    const outcome = { kind: "unknown", why: whyOf(error) } as const;
    log.end(calls.map((number) => ({ call: number, outcome })));
    throw error;
  }
  const outcomes = outcomesOf(result);
  log.end(
    calls.flatMap((number, at) => {
      const outcome = outcomes[at];
      return outcome === undefined ? [] : [{ call: number, outcome }];
    }),
  );
  return result;
}

/** An error's code, or its name: its text is the vendor's, and may be long. */
function whyOf(error: unknown): string {
  if (error instanceof Error && "code" in error && typeof error.code === "string")
    return error.code;
  return error instanceof Error ? error.name : "rejected";
}
