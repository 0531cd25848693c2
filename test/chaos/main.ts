import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { stopAll } from "@quorate/devkit";
import { Command, InvalidArgumentError } from "commander";
import { runCommandLine } from "../chaos-cluster/lib/command-line.ts";
import { checkRecording } from "../trace/lib/check-trace.ts";
import { findStepFiles, readRecording } from "../trace/lib/read-runs.ts";
import { renderReport as renderTrace } from "../trace/lib/report.ts";
import { findMutant, MUTANTS } from "./lib/mutants.ts";
import { renderReport } from "./lib/report.ts";
import { runChaos } from "./lib/run-chaos.ts";

interface Options {
  readonly seeds: number;
  readonly seed: number;
  readonly txs: number;
  readonly mutant?: string;
  readonly json?: true;
  readonly dir?: string;
  readonly steps?: string;
}

const USAGE_ERROR = 2;
const INTERRUPTED = 130;
const progress = (text: string): void => void process.stderr.write(`${text}\n`);

const wholeNumber =
  (max: number) =>
  (text: string): number => {
    const number = Number(text);
    if (/^[0-9]+$/.test(text) && number >= 1 && number <= max) return number;
    throw new InvalidArgumentError(`It must be a whole number from 1 to ${max}.`);
  };

async function run(options: Options): Promise<number> {
  const stopped = new AbortController();
  for (const name of ["SIGINT", "SIGTERM"] as const)
    process.once(name, () => {
      progress(`${name}: stopping what was started`);
      stopped.abort(new Error(name));
      process.once(name, () => process.exit(INTERRUPTED));
    });
  const steps = options.steps === undefined ? undefined : resolve(options.steps);
  const kept = options.dir === undefined ? null : resolve(options.dir);
  if (kept !== null) await mkdir(kept, { recursive: true });
  const directory = await mkdtemp(join(kept ?? tmpdir(), "quorate-chaos-"));
  try {
    const report = await runChaos({
      seeds: options.seeds,
      firstSeed: options.seed,
      txs: options.txs,
      directory,
      mutant: options.mutant === undefined ? null : findMutant(options.mutant),
      stepsDirectory: steps,
      say: progress,
      signal: stopped.signal,
    });
    const trace =
      steps === undefined ? null : checkRecording(readRecording(findStepFiles([steps])));
    if (options.json === true)
      console.log(JSON.stringify(trace === null ? report : { ...report, trace }, null, 2));
    else {
      console.log(renderReport(report));
      if (trace !== null) console.log(renderTrace(trace));
    }
    if (kept !== null) progress(`keys, data and logs are in ${directory}`);
    return report.ok && trace?.ok !== false ? 0 : 1;
  } catch (error) {
    if (stopped.signal.aborted) return INTERRUPTED;
    progress(`The run failed: ${error instanceof Error ? error.message : String(error)}`);
    return 1;
  } finally {
    await stopAll();
    if (kept === null) await rm(directory, { recursive: true, force: true });
  }
}

const program = new Command("chaos:submitter")
  .description(
    "Runs several submitters at once on real etcd, PostgreSQL and Anvil, kills them, stops them and loses their messages\nat every named point, under reorgs, dropped transactions, foreign nonces, fee spikes and lying endpoints; then counts\nwhat the contract holds. Exit code 0: every decided value is there once, and every fault was met; with --steps, every step\nwas followed and is one of the model. 1: something is wrong. 2: the command line is not what it should be.",
  )
  .option("--seeds <count>", "seeds to run, one after another", wholeNumber(10_000), 20)
  .option("--seed <number>", "the first of them", wholeNumber(2 ** 31), 1)
  .option("--txs <count>", "decided transactions a seed", wholeNumber(100_000), 500)
  .option(
    "--mutant <name>",
    `run a submitter with a mistake, which must be caught (exit code 1): ${MUTANTS.map((m) => m.name).join(", ")}`,
  )
  .option("--json", "one JSON document on standard output; progress goes to standard error")
  .option("--dir <dir>", "keep keys, data and logs in a new folder there")
  .option(
    "--steps <dir>",
    "record each step on durable state there, and hold it against the model at the end",
  )
  .action(async (options: Options) => {
    if (options.mutant !== undefined && !MUTANTS.some((m) => m.name === options.mutant)) {
      progress(
        `There is no mutant ${options.mutant}; there are ${MUTANTS.map((m) => m.name).join(", ")}.`,
      );
      process.exitCode = USAGE_ERROR;
      return;
    }
    process.exitCode = await run(options);
  });

await runCommandLine(program);
