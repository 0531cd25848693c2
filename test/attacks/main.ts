import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { stopAll } from "@quorate/devkit";
import { Command } from "commander";
import type { Attack } from "./lib/attack.ts";
import { ATTACKS } from "./lib/catalogue.ts";
import { renderResult, renderTotals, totalsOf } from "./lib/report.ts";
import { runAttacks } from "./lib/run-attacks.ts";

interface Options {
  readonly only?: readonly string[];
  readonly list?: true;
  readonly json?: true;
  readonly short?: true;
  readonly dir?: string;
  readonly steps?: string;
}

const USAGE_ERROR = 2;
const progress = (text: string): void => void process.stderr.write(`${text}\n`);

async function run(names: readonly string[], options: Options): Promise<number> {
  const wanted = [...names, ...(options.only ?? [])];
  const unknown = wanted.filter((name) => !ATTACKS.some((attack) => attack.name === name));
  if (unknown.length > 0) {
    progress(`There is no attack ${unknown.join(", ")}; --list shows those there are.`);
    return USAGE_ERROR;
  }
  const attacks = ATTACKS.filter((attack) =>
    wanted.length > 0 ? wanted.includes(attack.name) : options.short !== true || attack.short,
  );
  if (options.list === true) {
    list(wanted.length > 0 || options.short === true ? attacks : ATTACKS, options);
    return 0;
  }
  return rehearse(attacks, options);
}

function list(attacks: readonly Attack[], { json }: Options): void {
  if (json === true)
    console.log(
      JSON.stringify(
        attacks.map(({ name, does, expects, short }) => ({ name, does, expects, short })),
      ),
    );
  else
    for (const { name, does, expects } of attacks)
      console.log(`${name}\n  ${does}\n  → ${expects}`);
}

async function rehearse(attacks: readonly Attack[], options: Options): Promise<number> {
  const kept = options.dir === undefined ? null : resolve(options.dir);
  if (kept !== null) await mkdir(kept, { recursive: true });
  const stepsDirectory = options.steps === undefined ? undefined : resolve(options.steps);
  const directory = await mkdtemp(join(kept ?? tmpdir(), "quorate-attacks-"));
  const startedMs = performance.now();
  try {
    const results = await runAttacks(attacks, {
      directory,
      stepsDirectory,
      say: progress,
      onResult: (result) => progress(`${renderResult(result)}\n`),
    });
    const totals = totalsOf(results, (performance.now() - startedMs) / 1_000);
    if (options.json === true) console.log(JSON.stringify({ totals, attacks: results }, null, 2));
    else console.log(renderTotals(totals));
    if (kept !== null) progress(`keys, data and logs are in ${directory}`);
    return totals.failed === 0 && totals.attacks > 0 ? 0 : 1;
  } finally {
    await stopAll();
    if (kept === null) await rm(directory, { recursive: true, force: true });
  }
}

const program = new Command("attacks")
  .description(
    "Rehearses attacks on a cluster of real processes on this machine and checks how it takes each.",
  )
  .argument("[name...]", "attacks to run; all when none is named")
  .option("--only <name...>", "the same as naming them")
  .option("--short", "only those of the short run, under a minute")
  .option("--list", "say which attacks there are, and run none")
  .option("--json", "one JSON document on standard output; progress goes to standard error")
  .option("--dir <dir>", "keep keys, data and logs in a new folder there")
  .option("--steps <dir>", "record each step on durable state there, for check:trace")
  .action(async (names: readonly string[], options: Options) => {
    process.exitCode = await run(names, options);
  });

await program.parseAsync();
