import type { ChaosReport } from "./run-chaos.ts";

/** The report for a person: what was counted, and first of all what is wrong. */
export function renderReport(report: ChaosReport): string {
  const { totals, faults, notMet, mutant, seconds, seeds, points } = report;
  const head =
    mutant === null
      ? `${seeds.length} seeds in ${seconds} s: ${report.ok ? "every value once, every fault met" : "WRONG"}`
      : `mutant ${mutant} in ${seconds} s and ${seeds.length} seeds: ${faults.length > 0 ? "caught" : "NOT CAUGHT"}`;
  return [
    head,
    ...faults.map(({ seed, fault }) => `  seed ${seed}: ${fault}`),
    ...notMet.map(({ point, mode }) => `  not met: ${point} by ${mode}`),
    "",
    ...Object.entries(totals).map(([name, count]) => `${name.padEnd(28)} ${count}`),
    `${"points met".padEnd(28)} ${points.filter(({ hits }) => hits > 0).length} of ${points.length}`,
  ].join("\n");
}
