import type { Parameters } from "fast-check";

/**
 * How often a property of the stores is tried, and from which seed. `QUORATE_PROPERTY_RUNS` multiplies the runs,
 * `QUORATE_PROPERTY_SEED` takes another seed; the default is the same each time, so that a red build is red again.
 */
export function budget<T>(name: string, numRuns: number): Parameters<T> {
  const seed = Number(process.env["QUORATE_PROPERTY_SEED"] ?? "20260115");
  const runs = Math.max(1, Math.round(numRuns * times()));
  // The way to the same histories again, whoever reads the log.
  process.stdout.write(`${name}: ${runs} runs from QUORATE_PROPERTY_SEED=${seed}\n`);
  // A failure is told with the smallest case found so far, rather than lost to the runner's patience.
  const interruptAfterTimeLimit = 0.8 * patience();
  return { numRuns: runs, seed, interruptAfterTimeLimit, markInterruptAsFailure: true };
}

/** Ample for a machine that is busy with other things; more when more runs are asked for. In ms. */
export function patience(): number {
  return 150_000 * Math.max(1, times());
}

function times(): number {
  return Number(process.env["QUORATE_PROPERTY_RUNS"] ?? "1");
}
