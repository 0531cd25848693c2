import type { FaultKind } from "./faults.ts";
import type { Finding, LawName } from "./laws/law.ts";
import { findMutant, type Mutant } from "./mutants.ts";
import { drawPlan, type Plan } from "./plan.ts";
import { type RunResult, runPlan } from "./run-seed.ts";
import { shrink } from "./shrink.ts";

/** What a worker is asked. */
export type Task =
  | {
      readonly kind: "seed";
      readonly seed: number;
      readonly twice: boolean;
      readonly mutant: string | null;
    }
  | {
      readonly kind: "mutant";
      readonly name: string;
      readonly firstSeed: number;
      readonly seeds: number;
    }
  | {
      readonly kind: "shrink";
      readonly seed: number;
      readonly law: LawName;
      readonly mutant: string | null;
    };

export interface SeedAnswer {
  readonly kind: "seed";
  readonly seed: number;
  readonly findings: readonly Finding[];
  /** What the run itself was thrown out by: no law's finding. Null when it came to its end. */
  readonly harnessError: string | null;
  readonly virtualMs: number;
  readonly struck: Readonly<Partial<Record<FaultKind, number>>>;
  readonly byzantine: readonly string[];
  readonly confirmed: number;
  readonly aborted: number;
  readonly faults: number;
  /** Null when the seed was run once only. */
  readonly isRepeatable: boolean | null;
}

export interface MutantAnswer {
  readonly kind: "mutant";
  readonly name: string;
  /** Null when no seed found it. */
  readonly seed: number | null;
  readonly finding: Finding | null;
  /** Why the hunt says nothing of the mistake: the simulator failed, or the seed fails without it as well. */
  readonly problem: string | null;
}

export interface ShrinkAnswer {
  readonly kind: "shrink";
  readonly plan: Plan;
  readonly runs: number;
}

export type Answer = SeedAnswer | MutantAnswer | ShrinkAnswer;

/** @param onBeat is told before each run: the patience with a task is for one run */
export async function carryOut(task: Task, onBeat: (seed: number) => void): Promise<Answer> {
  switch (task.kind) {
    case "seed":
      return await runSeed(task);
    case "mutant":
      return await hunt(task, onBeat);
    case "shrink": {
      const mutant = task.mutant === null ? null : findMutant(task.mutant);
      return { kind: "shrink", ...(await shrink(drawPlan(task.seed), task.law, mutant)) };
    }
  }
}

async function runSeed(task: Extract<Task, { kind: "seed" }>): Promise<SeedAnswer> {
  const mutant = task.mutant === null ? null : findMutant(task.mutant);
  const plan = drawPlan(task.seed);
  const { result, harnessError } = await runSafely(plan, mutant);
  const again = task.twice ? (await runSafely(plan, mutant)).result : null;
  return {
    kind: "seed",
    seed: task.seed,
    findings: result.findings,
    harnessError,
    virtualMs: result.virtualMs,
    struck: Object.fromEntries(result.struck),
    byzantine: result.byzantine,
    confirmed: result.transactions.confirmed,
    aborted: result.transactions.aborted,
    faults: plan.faults.length,
    isRepeatable: again === null ? null : again.digest === result.digest,
  };
}

/** Only a law that the mistake breaks, and that is kept without it, counts as found. */
async function hunt(
  { name, firstSeed, seeds }: Extract<Task, { kind: "mutant" }>,
  onBeat: (seed: number) => void,
): Promise<MutantAnswer> {
  const mutant = findMutant(name);
  const unusable = (seed: number, problem: string): MutantAnswer => ({
    kind: "mutant",
    name,
    seed: null,
    finding: null,
    problem: `seed ${seed}: ${problem}`,
  });
  for (let seed = firstSeed; seed < firstSeed + seeds; seed++) {
    onBeat(seed);
    const { result, harnessError } = await runSafely(drawPlan(seed), mutant);
    if (harnessError !== null) return unusable(seed, harnessError);
    const [finding] = result.findings;
    if (finding === undefined) continue;
    onBeat(seed);
    const sound = await runSafely(drawPlan(seed), null);
    if (sound.harnessError !== null) return unusable(seed, sound.harnessError);
    const [unplanted] = sound.result.findings;
    if (unplanted !== undefined)
      return unusable(seed, `it breaks a law without the mistake as well: ${unplanted.law}`);
    return { kind: "mutant", name, seed, finding, problem: null };
  }
  return { kind: "mutant", name, seed: null, finding: null, problem: null };
}

interface SafeRun {
  readonly result: RunResult;
  readonly harnessError: string | null;
}

/** What the product throws is caught where it runs and is a finding; what reaches us here is the simulator's own failure. */
async function runSafely(plan: Plan, mutant: Mutant | null): Promise<SafeRun> {
  try {
    return { result: await runPlan(plan, { mutant }), harnessError: null };
  } catch (error) {
    const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
    const result: RunResult = {
      seed: plan.seed,
      findings: [],
      digest: text,
      lines: 0,
      virtualMs: 0,
      struck: new Map(),
      byzantine: [],
      transactions: { confirmed: 0, aborted: 0 },
      tail: [],
    };
    return { result, harnessError: `the simulator itself failed: ${text}` };
  }
}
