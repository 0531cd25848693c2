import { readFile, writeFile } from "node:fs/promises";
import type { Plan } from "./plan.ts";

/** A plan as a file: what a failing seed was cut down to, to be run again. */
export interface PlanFile {
  readonly version: 1;
  /** Null when the product itself failed. */
  readonly mutant: string | null;
  /** What was found. */
  readonly findings: readonly string[];
  readonly plan: Plan;
}

const MARK = "bigint:";

export function planFileText(file: PlanFile): string {
  const text = JSON.stringify(
    file,
    (_key, value: unknown) => (typeof value === "bigint" ? `${MARK}${value}` : value),
    2,
  );
  return `${text}\n`;
}

/** @throws Error that says what is wrong with the file */
export function parsePlanFile(text: string): PlanFile {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text, (_key, value: unknown) =>
      typeof value === "string" && value.startsWith(MARK)
        ? BigInt(value.slice(MARK.length))
        : value,
    );
  } catch {
    throw new Error("it is not JSON");
  }
  const { version, plan } = Object(parsed) as Partial<PlanFile>;
  if (version !== 1) throw new Error("it is not a plan of this simulator's version");
  const { seed, faults, casts, transactions, byzantine } = Object(plan) as Partial<Plan>;
  if (typeof seed !== "number" || ![faults, casts, transactions, byzantine].every(Array.isArray))
    throw new Error("it holds no whole plan");
  return parsed as PlanFile;
}

export async function writePlanFile(path: string, file: PlanFile): Promise<void> {
  await writeFile(path, planFileText(file));
}

/** @throws Error that names the file */
export async function readPlanFile(path: string): Promise<PlanFile> {
  try {
    return parsePlanFile(await readFile(path, "utf8"));
  } catch (error) {
    throw new Error(`${path}: ${error instanceof Error ? error.message : String(error)}`);
  }
}
