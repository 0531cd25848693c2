import { availableParallelism } from "node:os";
import { Worker } from "node:worker_threads";
import { Command, CommanderError } from "commander";
import type { InstanceReport } from "./lib/check-instance.ts";
import type { TraceStep } from "./lib/counterexample.ts";
import { instanceFiles, twinProblem, twins } from "./lib/instances.ts";

const WORKERS_MAX = 4;
const EXIT = { ok: 0, failed: 1, usage: 2 } as const;

interface Report {
  readonly ok: boolean;
  readonly durationMs: number;
  readonly instances: readonly InstanceReport[];
  readonly twins: readonly InstanceReport[];
  /** What was wrong, in words. */
  readonly problems: readonly string[];
}

/** Checks files on all cores, in any order; reports come as they are ready. */
async function checkAll(
  files: readonly string[],
  onReport: (report: InstanceReport) => void,
): Promise<ReadonlyMap<string, InstanceReport>> {
  const reports = new Map<string, InstanceReport>();
  const waiting = [...files];
  const one = (): Promise<void> =>
    new Promise((resolve, reject) => {
      const worker = new Worker(new URL("./check-worker.ts", import.meta.url));
      const next = (): void => {
        const file = waiting.shift();
        if (file === undefined) void worker.terminate().then(() => resolve());
        else worker.postMessage(file);
      };
      worker.on("error", reject);
      worker.on("message", (report: InstanceReport) => {
        reports.set(report.file, report);
        onReport(report);
        next();
      });
      next();
    });
  const workers = Math.min(availableParallelism(), WORKERS_MAX, files.length);
  await Promise.all(Array.from({ length: workers }, one));
  return reports;
}

const say = (line: string): void => void process.stderr.write(`${line}\n`);

function stepLines(steps: readonly TraceStep[], from: number): readonly string[] {
  return steps.map(
    ({ action, changes }, i) => `      ${from + i}. ${action}: ${changes.join("; ") || "nothing"}`,
  );
}

/** An instance's verdict in lines, with the counterexample if there is one. Of a twin it is said what it must break. */
function verdictLines(report: InstanceReport, breaks: string | undefined): readonly string[] {
  const { file, verdict, states, durationMs } = report;
  const seconds = `${(durationMs / 1_000).toFixed(1)} s`;
  if (verdict.kind === "holds") {
    const found = `${states} distinct states, ${report.properties.length} properties, ${seconds}`;
    return [
      breaks === undefined
        ? `✓ ${file}: holds (${found})`
        : `✗ ${file}: NO counterexample (${found})`,
    ];
  }
  if (verdict.kind === "failed") return [`✗ ${file}: not checked: ${verdict.message}`];
  const { steps, cycle } = verdict.counterexample;
  const how = verdict.property === breaks ? "✓" : "✗";
  const lines = [
    `${how} ${file}: ${verdict.property} is broken after ${steps.length} steps (${seconds})`,
    ...stepLines(steps, 1),
  ];
  if (cycle === null) return lines;
  if (cycle.length === 0) return [...lines, "      and then nothing happens for ever"];
  return [...lines, "      and then for ever:", ...stepLines(cycle, steps.length + 1)];
}

function instanceProblem({ file, verdict }: InstanceReport): string | null {
  if (verdict.kind === "broken") return `${file}: ${verdict.property} does not hold`;
  return verdict.kind === "failed" ? `${file} was not checked: ${verdict.message}` : null;
}

async function run(options: { readonly json?: boolean; readonly only?: string }): Promise<void> {
  const startedMs = performance.now();
  const wanted = (file: string): boolean =>
    options.only === undefined || file.includes(options.only);
  const holding = instanceFiles().filter(wanted);
  const defective = twins().filter(({ file }) => wanted(file));
  if (holding.length + defective.length === 0) {
    say(`check:tla: no instance's name has "${options.only}" in it`);
    process.exitCode = EXIT.usage;
    return;
  }
  const breaks = new Map(defective.map((twin) => [twin.file, twin.breaks]));
  const reports = await checkAll([...holding, ...breaks.keys()], (report) => {
    for (const line of verdictLines(report, breaks.get(report.file))) say(line);
  });
  const of = (files: readonly string[]): readonly InstanceReport[] =>
    files.flatMap((file) => reports.get(file) ?? []);
  const problems = [
    ...of(holding).map(instanceProblem),
    ...defective.flatMap((twin) => of([twin.file]).map((one) => twinProblem(twin, one.verdict))),
  ].filter((problem) => problem !== null);
  const report: Report = {
    ok: problems.length === 0,
    durationMs: performance.now() - startedMs,
    instances: of(holding),
    twins: of([...breaks.keys()]),
    problems,
  };
  if (options.json === true) process.stdout.write(`${JSON.stringify(report, null, 2)}\n`);
  else process.stdout.write(`${summary(report)}\n`);
  process.exitCode = report.ok ? EXIT.ok : EXIT.failed;
}

function summary(report: Report): string {
  const states = report.instances.reduce((sum, { states: some }) => sum + some, 0);
  const lines = [
    `${report.instances.length} instances, ${states} distinct states in all; ${report.twins.length} broken twins; ${(report.durationMs / 1_000).toFixed(0)} s`,
    ...report.problems.map((problem) => `✗ ${problem}`),
  ];
  if (report.ok)
    lines.push("Every property holds in every instance, and every planted defect is caught.");
  return lines.join("\n");
}

const program = new Command("check:tla")
  .description(
    "Explores every reachable state of the small instances of the TLA+ model (tla/*.cfg) and checks all that they name, safety and liveness; " +
      "then of their broken twins (tla/broken), each of which must break the property that its defect is about. Exit codes: 0 all is well, 1 not, 2 wrong usage. What is checked and what is abstracted is in tla/README.md; " +
      "larger instances are for TLC (tla/check.sh).",
  )
  .option("--json", "write the report as JSON to standard output, counterexamples included")
  .option("--only <text>", "only instances and twins with this in their name")
  .action(run)
  .exitOverride();

try {
  await program.parseAsync();
} catch (error) {
  // Commander has said what is wrong with the command, or shown its help.
  if (error instanceof CommanderError)
    process.exitCode = error.exitCode === 0 ? EXIT.ok : EXIT.usage;
  else {
    say(`check:tla: ${error instanceof Error ? error.message : String(error)}`);
    process.exitCode = EXIT.failed;
  }
}
