import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { stopAll } from "@quorate/devkit";
import { Command, InvalidArgumentError } from "commander";
import { measureMachine } from "../bench/machine.ts";
import { runCommandLine } from "../chaos-cluster/lib/command-line.ts";
import { renderFactors, renderReport } from "./lib/report.ts";
import { runLoad } from "./lib/run-load.ts";
import { planOf, SCENARIOS } from "./lib/scenarios.ts";

interface Options {
  readonly scenario: string;
  readonly minutes?: number;
  readonly rate?: number;
  readonly nodes?: number;
  readonly seed: number;
  readonly etcd: number;
  readonly json?: true;
  readonly dir?: string;
}

const USAGE_ERROR = 2;
const INTERRUPTED = 130;
const progress = (text: string): void => void process.stderr.write(`${text}\n`);

const number =
  (min: number, max: number, whole: boolean) =>
  (text: string): number => {
    const value = Number(text);
    const fits = /^[0-9]+(\.[0-9]+)?$/.test(text) && value >= min && value <= max;
    if (fits && (!whole || Number.isInteger(value))) return value;
    throw new InvalidArgumentError(
      `It must be a ${whole ? "whole " : ""}number from ${min} to ${max}.`,
    );
  };

async function run(options: Options): Promise<number> {
  const scenario = SCENARIOS.find(({ name }) => name === options.scenario);
  if (scenario === undefined) {
    progress(
      `There is no scenario ${options.scenario}; there are ${SCENARIOS.map((s) => s.name).join(", ")}.`,
    );
    return USAGE_ERROR;
  }
  const machine = measureMachine();
  const plan = planOf(scenario, machine, {
    ...(options.nodes === undefined ? {} : { nodes: options.nodes }),
    ...(options.rate === undefined ? {} : { perSecond: options.rate }),
    ...(options.minutes === undefined ? {} : { seconds: Math.round(60 * options.minutes) }),
  });
  progress(`${machine.cpus} cores, one Ed25519 verification ${machine.verifyMicros} µs`);
  progress(renderFactors(plan.factors));
  const stopped = new AbortController();
  for (const name of ["SIGINT", "SIGTERM"] as const)
    process.once(name, () => {
      progress(`${name}: stopping what was started`);
      stopped.abort(new Error(name));
      process.once(name, () => process.exit(INTERRUPTED));
    });
  const kept = options.dir === undefined ? null : resolve(options.dir);
  if (kept !== null) await mkdir(kept, { recursive: true });
  const directory = await mkdtemp(join(kept ?? tmpdir(), "quorate-load-"));
  try {
    const report = await runLoad({
      plan,
      directory,
      seed: options.seed,
      etcdMembers: options.etcd === 1 ? 1 : 3,
      say: progress,
      signal: stopped.signal,
    });
    const passed = report.criteria.every((criterion) => criterion.passed);
    if (options.json === true) console.log(JSON.stringify({ passed, machine, ...report }, null, 2));
    else console.log(`${renderFactors(report.factors)}\n${renderReport(report)}`);
    if (kept !== null) progress(`keys, data and logs are in ${directory}`);
    return passed ? 0 : 1;
  } catch (error) {
    if (stopped.signal.aborted) return INTERRUPTED;
    progress(`The run failed: ${error instanceof Error ? error.message : String(error)}`);
    return 1;
  } finally {
    await stopAll();
    if (kept === null) await rm(directory, { recursive: true, force: true });
  }
}

const program = new Command("load")
  .description(
    "Puts load on a cluster of real processes by one of the specification's five scenarios, made as small as this machine\n" +
      "is (the factors are printed), and judges it by the specification's criteria one by one. The load is an open loop:\n" +
      "it does not wait for the cluster. Exit code 0: every criterion holds. 1: one does not. 2: the command line\n" +
      "is not what it should be.",
  )
  .option("--scenario <name>", `one of ${SCENARIOS.map(({ name }) => name).join(", ")}`, "baseline")
  .option(
    "--minutes <number>",
    "length of the load; default what the scenario has here",
    number(0.05, 1_440, false),
  )
  .option(
    "--rate <number>",
    "transactions a second; default a share of what this machine can do",
    number(0.1, 10_000, false),
  )
  .option(
    "--nodes <number>",
    "trustees; the threshold keeps its share of them",
    number(3, 100, true),
  )
  .option("--etcd <members>", "1 or 3 members", number(1, 3, true), 3)
  .option("--seed <number>", "of the values", number(1, 2 ** 31, true), 1)
  .option("--json", "one JSON document on standard output; progress goes to standard error")
  .option("--dir <dir>", "keep keys, data and logs in a new folder there")
  .action(async (options: Options) => {
    process.exitCode = await run(options);
  });

await runCommandLine(program);
