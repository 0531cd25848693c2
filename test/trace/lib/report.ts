import type { TraceReport } from "./check-trace.ts";
import type { Refusal } from "./refusal.ts";

const number = (n: number): string => n.toLocaleString("en");

/** The report as a person reads it. */
export function renderReport(report: TraceReport): string {
  const { clusters, refusals, unfollowed, files, lines, torn } = report;
  const sum = (of: (c: TraceReport["clusters"][number]) => number): string =>
    number(clusters.reduce((total, cluster) => total + of(cluster), 0));
  const found = [
    `${number(lines)} lines of ${number(files)} runs in ${clusters.length} clusters; ${sum((c) => c.cutShort)} runs were cut short, ${torn.length} of them in the middle of a line`,
    `tally: ${sum((c) => c.transactions)} transactions, ${sum((c) => c.commits)} commits (${sum((c) => c.inferred)} known only from what followed), ${sum((c) => c.conflicts)} conflicts, ${sum((c) => c.unresolved)} without a reply or a trace; ${sum((c) => c.votingShapes)} shapes`,
    `submission: ${sum((c) => c.results)} results and filled nonces, ${sum((c) => c.nonces)} nonces, ${sum((c) => c.sends)} sends; ${sum((c) => c.submissionShapes)} shapes; ${sum((c) => c.beyondTheModel)} results left the model`,
    `${sum((c) => c.states)} states of the models were gone through`,
  ];
  for (const text of unfollowed) found.push(`NOT FOLLOWED: ${text}`);
  if (report.ok) return [...found, "every step is a step of the model", ""].join("\n");
  const [first, ...more] = refusals;
  if (first !== undefined) found.push("", renderRefusal(first));
  if (more.length > 0) found.push(`and ${more.length} more; --json tells them all`);
  return [...found, ""].join("\n");
}

/** A step that is none of the model's, with what the model held before it and which guard refused it. */
export function renderRefusal(refusal: Refusal): string {
  const { about, cluster, place, step, guard, state, by } = refusal;
  return [
    `REFUSED: ${about} of ${cluster}, by ${by === "order" ? "the order of the record" : by}`,
    `  recorded at  ${place.file}:${place.line}`,
    `  step         ${JSON.stringify(step)}`,
    `  guard        ${guard}`,
    ...Object.entries(state ?? {}).map(([name, value]) => `  ${name.padEnd(12)} ${value}`),
  ].join("\n");
}
