import type { AttackResult } from "./attack.ts";

/** What a whole run came to. */
export interface Totals {
  readonly attacks: number;
  readonly passed: number;
  readonly failed: number;
  /** Attacks that ended in a ban, and attacks that by design do not. */
  readonly caught: number;
  readonly refused: number;
  readonly evidenceVerified: number;
  readonly honestBanned: number;
  readonly transactions: number;
  readonly wronglyDecided: number;
  readonly seconds: number;
}

export function totalsOf(results: readonly AttackResult[], seconds: number): Totals {
  const count = (holds: (result: AttackResult) => boolean): number => results.filter(holds).length;
  const sum = (of: (result: AttackResult) => number): number =>
    results.reduce((total, result) => total + of(result), 0);
  const passed = count((result) => result.passed);
  const caught = count((result) => result.caught !== null);
  return {
    attacks: results.length,
    passed,
    failed: results.length - passed,
    caught,
    refused: results.length - caught,
    evidenceVerified: count((result) => result.evidenceVerified === true),
    honestBanned: sum((result) => result.honestBanned),
    transactions: sum((result) => result.transactions.honest),
    wronglyDecided: sum((result) => result.wronglyDecided),
    seconds: Math.round(seconds * 10) / 10,
  };
}

/** One attack's outcome in a few lines. */
export function renderResult(result: AttackResult): string {
  const { caught, transactions: tx } = result;
  const lines = [
    `${result.passed ? "PASS" : "FAIL"} ${result.name} (${result.seconds} s)`,
    caught === null
      ? `  nobody banned${result.refused === null ? "" : `, by design: ${result.refused}`}`
      : `  caught: ${caught.banned.join(", ")} banned for ${caught.reason}, recorded by ${caught.recordedBy.join(", ") || "another"}${timesOf(result)}`,
  ];
  if (result.evidenceVerified !== null)
    lines.push(
      `  evidence ${result.evidenceVerified ? "verified offline" : "NOT verified"}: ${result.finding}`,
    );
  lines.push(
    `  honest trustees banned ${result.honestBanned}, transactions wrongly decided ${result.wronglyDecided} of ${tx.honest} (${tx.decided} decided, ${tx.abortedByPolicy} aborted by the policy)`,
  );
  const figures = Object.entries(result.figures).map(([name, value]) => `${name} ${value}`);
  if (figures.length > 0) lines.push(`  ${figures.join(", ")}`);
  lines.push(...result.problems.map((problem) => `  - ${problem}`));
  return lines.join("\n");
}

function timesOf({ banInEtcdMs, banEverywhereMs }: AttackResult): string {
  if (banInEtcdMs === null) return "";
  return `, in etcd after ${banInEtcdMs} ms, on every honest node after ${banEverywhereMs} ms`;
}

export function renderTotals(totals: Totals): string {
  return `${totals.passed} of ${totals.attacks} attacks passed in ${totals.seconds} s: ${totals.caught} caught with ${totals.evidenceVerified} pieces of evidence verified offline, ${totals.refused} turned away without a ban; honest trustees banned ${totals.honestBanned}, transactions wrongly decided ${totals.wronglyDecided} of ${totals.transactions}`;
}
