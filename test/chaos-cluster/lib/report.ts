import type { RowResult } from "./row.ts";

export interface ChaosTotals {
  readonly rows: number;
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
  /** Each row that was asked for was played, with all its parts. */
  readonly complete: boolean;
  readonly violations: number;
  readonly acceptedVotes: number;
  readonly acceptedLost: number;
  readonly transactions: number;
  /** Recorded steps held against the model, and those that it does not have. */
  readonly steps: number;
  readonly stepsRefused: number;
  readonly seconds: number;
}

export function totalsOf(results: readonly RowResult[], seconds: number): ChaosTotals {
  const count = (outcome: RowResult["outcome"]): number =>
    results.filter((result) => result.outcome === outcome).length;
  const sum = (of: (found: NonNullable<RowResult["invariants"]>) => number): number =>
    results.reduce(
      (total, { invariants }) => total + (invariants === null ? 0 : of(invariants)),
      0,
    );
  return {
    rows: results.length,
    passed: count("passed"),
    failed: count("failed"),
    skipped: count("skipped"),
    complete: results.length > 0 && results.every(({ notRun }) => notRun.length === 0),
    violations: sum(({ violations }) => violations),
    acceptedVotes: sum(({ acceptedVotes }) => acceptedVotes),
    acceptedLost: sum(({ acceptedLost }) => acceptedLost),
    transactions: sum(({ transactions }) => transactions),
    steps: results.reduce((total, { trace }) => total + (trace?.steps ?? 0), 0),
    stepsRefused: results.reduce((total, { trace }) => total + (trace?.refused ?? 0), 0),
    seconds: Math.round(seconds),
  };
}

/** What was not run is no success: CI has to see it, and be able to tell it from a failure. */
const INCOMPLETE = 3;

/** @returns the exit code that a run's outcome stands for */
export function exitCodeOf({ failed, complete }: Pick<ChaosTotals, "failed" | "complete">): number {
  if (failed > 0) return 1;
  return complete ? 0 : INCOMPLETE;
}

const MARK = { passed: "ok", failed: "FAILED", skipped: "skipped" } as const;
const PROBLEMS_SHOWN = 8;

export function renderResult(result: RowResult): string {
  const { title, injects, expects, outcome, problems, remarks, recovery, figures } = result;
  const lines = [
    `${MARK[outcome]}  ${title}, ${result.seconds} s`,
    `  ${injects}`,
    `  → ${expects}`,
  ];
  for (const [name, ms] of Object.entries(recovery)) lines.push(`  ${name}: ${ms} ms`);
  for (const [name, value] of Object.entries(figures)) lines.push(`  ${name}: ${value}`);
  const found = result.invariants;
  if (found !== null)
    lines.push(
      `  ${found.transactions} transactions, ${found.votes} votes, ${found.signaturesVerified} signatures verified, ` +
        `${found.recordedOnChain} on the chain; ${found.violations} violations, ${found.acceptedLost} of ${found.acceptedVotes} accepted votes lost` +
        (found.bans.length === 0 ? "" : `; banned: ${found.bans.join(", ")}`),
    );
  if (result.trace !== null)
    lines.push(
      `  ${result.trace.steps} recorded steps held against the model, ${result.trace.refused} refused`,
    );
  for (const remark of remarks) lines.push(`  note: ${remark}`);
  if (outcome !== "skipped") for (const what of result.notRun) lines.push(`  NOT RUN: ${what}`);
  for (const problem of problems.slice(0, PROBLEMS_SHOWN)) lines.push(`  ! ${problem}`);
  if (problems.length > PROBLEMS_SHOWN)
    lines.push(`  ! and ${problems.length - PROBLEMS_SHOWN} more`);
  return lines.join("\n");
}

export function renderTotals(totals: ChaosTotals): string {
  return (
    `${totals.passed} of ${totals.rows} rows as expected, ${totals.failed} not, ${totals.skipped} skipped; ` +
    `${totals.violations} invariant violations, ${totals.acceptedLost} of ${totals.acceptedVotes} accepted votes lost, ` +
    `${totals.transactions} transactions, ${totals.stepsRefused} of ${totals.steps} steps refused by the model, ${totals.seconds} s` +
    (totals.complete ? "" : "\nNOT COMPLETE: a row or a part of one was not run here; see above")
  );
}
