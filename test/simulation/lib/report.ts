import { FAULT_SHAPES, type FaultKind } from "./faults.ts";
import { BYZANTINE_KINDS, type ByzantineKind } from "./plan.ts";
import type { SeedAnswer } from "./tasks.ts";

export interface FailedSeed {
  readonly seed: number;
  readonly findings: readonly string[];
  /** Where the plan lies that was cut down to what is needed; null when it was not. */
  readonly file: string | null;
  readonly faultsNeeded: number | null;
}

/** What a run came to. */
export interface SimReport {
  readonly firstSeed: number;
  readonly seeds: number;
  readonly mutant: string | null;
  readonly violations: number;
  readonly failed: readonly FailedSeed[];
  readonly simulatedHours: number;
  readonly confirmed: number;
  readonly aborted: number;
  readonly faultsDrawn: number;
  /** How often each kind struck: for what lasts, each message and call that it befell. */
  readonly struck: Readonly<Record<FaultKind, number>>;
  readonly byzantine: Readonly<Record<string, number>>;
  readonly ranTwice: number;
  readonly differed: readonly number[];
  readonly neverStruck: readonly FaultKind[];
  /** Byzantine kinds that no seed drew. */
  readonly neverPlayed: readonly ByzantineKind[];
  readonly wallSeconds: number;
  readonly ok: boolean;
}

/** With fewer seeds it is no wonder when a fault never struck, or nobody misbehaved in one of the ways. */
export const SEEDS_FOR_ALL_FAULTS = 500;

export class Tally {
  readonly answers: SeedAnswer[] = [];
  readonly failed: FailedSeed[] = [];

  sum(
    request: { readonly firstSeed: number; readonly seeds: number; readonly mutant: string | null },
    wallSeconds: number,
  ): SimReport {
    const { answers } = this;
    const struck = Object.fromEntries(FAULT_SHAPES.map(({ kind }) => [kind, 0])) as Record<
      FaultKind,
      number
    >;
    const byzantine: Record<string, number> = Object.fromEntries(
      BYZANTINE_KINDS.map((kind) => [kind, 0]),
    );
    for (const answer of answers) {
      for (const [kind, count] of Object.entries(answer.struck)) struck[kind as FaultKind] += count;
      for (const kind of answer.byzantine) byzantine[kind] = (byzantine[kind] ?? 0) + 1;
    }
    const total = (of: (answer: SeedAnswer) => number): number =>
      answers.reduce((sum, answer) => sum + of(answer), 0);
    const differed = answers.filter((a) => a.isRepeatable === false).map(({ seed }) => seed);
    const neverStruck = FAULT_SHAPES.map(({ kind }) => kind).filter((kind) => struck[kind] === 0);
    const violations = this.failed.length;
    const neverPlayed = BYZANTINE_KINDS.filter((kind) => (byzantine[kind] ?? 0) === 0);
    const isWhole =
      answers.length < SEEDS_FOR_ALL_FAULTS || neverStruck.length + neverPlayed.length === 0;
    const ranTwice = answers.filter((a) => a.isRepeatable !== null).length;
    return {
      ...request,
      violations,
      failed: this.failed,
      simulatedHours: Math.round(total((a) => a.virtualMs) / 36_000) / 100,
      confirmed: total((a) => a.confirmed),
      aborted: total((a) => a.aborted),
      faultsDrawn: total((a) => a.faults),
      struck,
      byzantine,
      ranTwice,
      differed,
      neverStruck,
      neverPlayed,
      wallSeconds: Math.round(wallSeconds * 10) / 10,
      ok: violations === 0 && differed.length === 0 && ranTwice > 0 && isWhole,
    };
  }
}

export function reportText(report: SimReport): string {
  const { seeds, firstSeed, failed, struck, byzantine } = report;
  const lines = [
    `${seeds} seeds from ${firstSeed}${report.mutant === null ? "" : `, with the mutant ${report.mutant}`}: ${report.violations} with violations`,
    `${report.simulatedHours} simulated hours in ${report.wallSeconds} s; ${report.confirmed} transactions confirmed, ${report.aborted} aborted`,
    `${report.ranTwice} seeds were run twice, ${report.differed.length} differed${report.differed.length === 0 ? "" : ` (${report.differed.join(", ")})`}`,
    "",
    `Faults drawn: ${report.faultsDrawn}. How often each struck (of what lasts: messages and calls):`,
    ...columns(Object.entries(struck)),
    "",
    "Byzantine trustees:",
    ...columns(Object.entries(byzantine)),
  ];
  if (report.neverStruck.length > 0)
    lines.push("", `Never struck: ${report.neverStruck.join(", ")}`);
  if (report.neverPlayed.length > 0)
    lines.push("", `No trustee was ever: ${report.neverPlayed.join(", ")}`);
  if (report.ranTwice === 0)
    lines.push("", "No seed was run twice: whether runs repeat is not known");
  for (const { seed, findings, file, faultsNeeded } of failed) {
    lines.push("", `Seed ${seed}:`, ...findings.map((text) => `  ${text}`));
    if (file !== null)
      lines.push(`  cut down to ${faultsNeeded} faults: npm run sim -- --replay ${file} --trace`);
  }
  return `${lines.join("\n")}\n`;
}

function columns(entries: readonly (readonly [string, number])[]): readonly string[] {
  const cells = entries.map(([name, count]) => `${name.padEnd(25)}${String(count).padStart(8)}`);
  const rows: string[] = [];
  for (let i = 0; i < cells.length; i += 3) rows.push(`  ${cells.slice(i, i + 3).join("   ")}`);
  return rows;
}
