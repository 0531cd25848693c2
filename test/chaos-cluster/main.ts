import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { stopAll } from "@quorate/devkit";
import { Command, InvalidArgumentError } from "commander";
import { ROWS } from "./lib/catalogue.ts";
import { runCommandLine } from "./lib/command-line.ts";
import { exitCodeOf, renderResult, renderTotals, totalsOf } from "./lib/report.ts";
import { runChaos } from "./lib/run-chaos.ts";

interface Options {
  readonly row?: readonly string[];
  readonly seed: number;
  readonly rate: number;
  readonly list?: true;
  readonly json?: true;
  readonly dir?: string;
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
  const wanted = options.row ?? [];
  const unknown = wanted.filter((name) => !ROWS.some((row) => row.name === name));
  if (unknown.length > 0) {
    progress(
      `There is no row ${unknown.join(", ")}; there are ${ROWS.map((r) => r.name).join(", ")}.`,
    );
    return USAGE_ERROR;
  }
  const rows = ROWS.filter((row) => wanted.length === 0 || wanted.includes(row.name));
  if (options.list === true) {
    const shown = rows.map(({ name, title, injects, expects }) => ({
      name,
      title,
      injects,
      expects,
    }));
    if (options.json === true) console.log(JSON.stringify(shown, null, 2));
    else for (const row of shown) console.log(`${row.name}\n  ${row.injects}\n  → ${row.expects}`);
    return 0;
  }
  const stopped = new AbortController();
  for (const name of ["SIGINT", "SIGTERM"] as const)
    process.once(name, () => {
      progress(`${name}: stopping what was started`);
      stopped.abort(new Error(name));
      process.once(name, () => process.exit(INTERRUPTED));
    });
  const kept = options.dir === undefined ? null : resolve(options.dir);
  if (kept !== null) await mkdir(kept, { recursive: true });
  const directory = await mkdtemp(join(kept ?? tmpdir(), "quorate-chaos-cluster-"));
  const startedMs = performance.now();
  try {
    const results = await runChaos({
      rows,
      directory,
      seed: options.seed,
      rate: options.rate,
      say: progress,
      onResult: (result) => progress(`${renderResult(result)}\n`),
      signal: stopped.signal,
    });
    const totals = totalsOf(results, (performance.now() - startedMs) / 1_000);
    const { seed, rate } = options;
    const { complete } = totals;
    if (options.json === true)
      console.log(JSON.stringify({ seed, rate, complete, totals, rows: results }, null, 2));
    else console.log(renderTotals(totals));
    if (kept !== null) progress(`keys, data and logs are in ${directory}`);
    return exitCodeOf(totals);
  } catch (error) {
    if (stopped.signal.aborted) return INTERRUPTED;
    progress(`The run failed: ${error instanceof Error ? error.message : String(error)}`);
    return 1;
  } finally {
    await stopAll();
    if (kept === null) await rm(directory, { recursive: true, force: true });
  }
}

const program = new Command("chaos")
  .description(
    "Breaks a cluster of real processes in the nine ways of the specification's Table 10, with load on it all the time,\n" +
      "and checks that it does what it must, how soon, and that nothing was lost. Exit code 0: every row was as\n" +
      "expected, no invariant was violated and no accepted vote was lost. 1: something was not. 2: the command line is not what it\n" +
      "should be. 3: nothing failed, but a row or a part of one could not be run here.",
  )
  .option("--row <name...>", "only these rows")
  .option("--seed <number>", "of the values and of what is dropped", wholeNumber(2 ** 31), 1)
  .option("--rate <number>", "transactions offered a second", wholeNumber(1_000), 5)
  .option("--list", "say which rows there are, and run none")
  .option("--json", "one JSON document on standard output; progress goes to standard error")
  .option("--dir <dir>", "keep keys, data and logs in a new folder there")
  .action(async (options: Options) => {
    process.exitCode = await run(options);
  });

await runCommandLine(program);
