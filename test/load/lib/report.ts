import type { LoadReport } from "./run-load.ts";
import type { Plan } from "./scenarios.ts";

const short = (value: number): string =>
  value >= 0.01 ? String(Math.round(1_000 * value) / 1_000) : value.toPrecision(2);

export function renderFactors(factors: Plan["factors"]): string {
  const lines = factors.map(
    ({ what, specified, here, factor }) =>
      `  ${what.padEnd(22)} ${String(specified).padStart(7)} → ${String(here).padStart(6)}   × ${short(factor)}`,
  );
  return ["what was scaled         specified     here", ...lines].join("\n");
}

export function renderReport(report: LoadReport): string {
  const lines = [
    `${report.scenario}: ${report.transactions} transactions, ${report.votes} votes, ${report.offeredPerSecond} offered and ${report.decidedPerSecond} decided a second`,
  ];
  for (const { name, measured, passed, remark } of report.criteria) {
    lines.push(`${passed ? "ok    " : "FAILED"}  ${name}`, `        ${measured}`);
    if (remark !== "") lines.push(`        (${remark})`);
  }
  const { before, after } = report.machineLoad;
  lines.push(
    `runnable processes a core: ${before.toFixed(1)} before, ${after.toFixed(1)} after; ${report.seconds} s in all`,
  );
  return lines.join("\n");
}
