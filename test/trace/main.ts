import { existsSync } from "node:fs";
import { Command } from "commander";
import { runCommandLine } from "../chaos-cluster/lib/command-line.ts";
import { checkRecording, stepsFollowed } from "./lib/check-trace.ts";
import { findStepFiles, readRecording, StepFileError } from "./lib/read-runs.ts";
import { renderReport } from "./lib/report.ts";

interface Options {
  readonly json?: true;
}

const USAGE_ERROR = 2;
const say = (text: string): void => void process.stderr.write(`${text}\n`);

function run(paths: readonly string[], { json }: Options): number {
  const missing = paths.filter((path) => !existsSync(path));
  if (missing.length > 0) {
    say(`There is no ${missing.join(", ")}.`);
    return USAGE_ERROR;
  }
  const files = findStepFiles(paths);
  if (files.length === 0) {
    say(
      `There are no step files (*.ndjson) in ${paths.join(", ")}. Record some: npm run demo -- --steps DIR`,
    );
    return USAGE_ERROR;
  }
  say(`reading ${files.length} step files`);
  try {
    const recording = readRecording(files);
    say(`following ${recording.lines} lines through the model`);
    const report = checkRecording(recording);
    process.stdout.write(
      json === true ? `${JSON.stringify(report, null, 2)}\n` : renderReport(report),
    );
    if (report.ok) return 0;
    const isEmpty = report.refusals.length === 0 && stepsFollowed(report.clusters) === 0;
    return isEmpty ? USAGE_ERROR : 1;
  } catch (error) {
    if (!(error instanceof StepFileError)) throw error;
    say(`Not a record of steps: ${error.message}`);
    return USAGE_ERROR;
  }
}

const program = new Command("check:trace")
  .description(
    "Holds what runs recorded (steps.directory) against the TLA+ model: every change of durable state must be a step that the\nmodel allows. Shows the first one that is not, what the model held before it, and which guard refused it.",
  )
  .argument("<path...>", "step files, or folders with step files below them")
  .option("--json", "one JSON document on standard output; progress goes to standard error")
  .addHelpText(
    "after",
    `
Exit code 0: every step was followed and is one of the model. 1: one is not, or transactions could not be followed
because no process told their trustee set. 2: a path, a file or an option is not what it should be, or no step is recorded.

Examples:
  npm run demo -- --steps /tmp/steps && npm run check:trace -- /tmp/steps
  npm run attacks -- --short --steps /tmp/steps && npm run check:trace -- /tmp/steps --json`,
  )
  .action((paths: readonly string[], options: Options) => {
    process.exitCode = run(paths, options);
  });

await runCommandLine(program);
