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
}

export interface ShrinkAnswer {
  readonly kind: "shrink";
  readonly plan: Plan;
  readonly runs: number;
}

export type Answer = SeedAnswer | MutantAnswer | ShrinkAnswer;

export async function carryOut(task: Task): Promise<Answer> {
  switch (task.kind) {
    case "seed":
      return await runSeed(task);
    case "mutant":
      return await hunt(task);
    case "shrink": {
      const mutant = task.mutant === null ? null : findMutant(task.mutant);
      return { kind: "shrink", ...(await shrink(drawPlan(task.seed), task.law, mutant)) };
    }
  }
}

async function runSeed(task: Extract<Task, { kind: "seed" }>): Promise<SeedAnswer> {
  const mutant = task.mutant === null ? null : findMutant(task.mutant);
  const plan = drawPlan(task.seed);
  const result = await runSafely(plan, mutant);
  const again = task.twice ? await runSafely(plan, mutant) : null;
  return {
    kind: "seed",
    seed: task.seed,
    findings: result.findings,
    virtualMs: result.virtualMs,
    struck: Object.fromEntries(result.struck),
    byzantine: result.byzantine,
    confirmed: result.transactions.confirmed,
    aborted: result.transactions.aborted,
    faults: plan.faults.length,
    isRepeatable: again === null ? null : again.digest === result.digest,
  };
}

async function hunt({
  name,
  firstSeed,
  seeds,
}: Extract<Task, { kind: "mutant" }>): Promise<MutantAnswer> {
  const mutant = findMutant(name);
  for (let seed = firstSeed; seed < firstSeed + seeds; seed++) {
    const [finding] = (await runSafely(drawPlan(seed), mutant)).findings;
    if (finding !== undefined) return { kind: "mutant", name, seed, finding };
  }
  return { kind: "mutant", name, seed: null, finding: null };
}

/** An error of the run itself is a finding too: something that no law foresaw. */
async function runSafely(plan: Plan, mutant: Mutant | null): Promise<RunResult> {
  try {
    return await runPlan(plan, { mutant });
  } catch (error) {
    const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
    return {
      seed: plan.seed,
      findings: [{ law: "no assertion fails", text, atMs: 0 }],
      digest: text,
      lines: 0,
      virtualMs: 0,
      struck: new Map(),
      byzantine: [],
      transactions: { confirmed: 0, aborted: 0 },
      tail: [],
    };
  }
}
