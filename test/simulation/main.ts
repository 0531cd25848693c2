import { mkdir } from "node:fs/promises";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { runAll } from "./lib/crew.ts";
import type { Finding } from "./lib/laws/law.ts";
import { findMutant, MUTANTS } from "./lib/mutants.ts";
import { drawPlan, type Plan } from "./lib/plan.ts";
import { readPlanFile, writePlanFile } from "./lib/plan-file.ts";
import { reportText, Tally } from "./lib/report.ts";
import { runPlan } from "./lib/run-seed.ts";
import type { MutantAnswer, SeedAnswer, Task } from "./lib/tasks.ts";

const HELP = `Usage: npm run sim -- [options]

Runs whole clusters (trustees, submitters, etcd, PostgreSQL, chain, network, clocks) in one process under virtual time, with
faults and Byzantine trustees, everything decided by one seed, and holds what happens against laws that share no code with
the product. Signatures are simulated by a keyed hash; everything else of the rules is the production code.

  --seeds N        how many seeds (default 1000)
  --first-seed N   the first one (default 1)
  --seed N         one seed only; --trace prints everything that happened (with --json on standard error)
  --replay FILE    one plan from a file, as a failing seed is written to; --trace as well
  --mutant NAME    with a mistake planted in the product
  --mutants        plants each mistake in turn and says which seed found it; with --mutant, that one only
  --threads N      default: one for each core
  --json           the report as JSON on standard output
  --help

Exit code 0: no violation, no seed that differed when run twice, every kind of fault struck and of Byzantine trustee was played
(from 500 seeds on), every mutant found by a law that holds on the same seed without it. 1: one of these is not so, or the
simulator itself failed. 2: an option or a plan's file is not what it should be.
`;

const USAGE_ERROR = 2;
const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const OUTPUT = join(ROOT, ".cache", "sim");
/** The first seed and each so-many-th after it are run twice and their traces are compared. */
const TWICE_EACH = 50;
/** Failing seeds that are cut down: each costs some dozen runs. */
const SHRUNK_MAX = 3;

async function main(args: readonly string[]): Promise<number> {
  let options: ReturnType<typeof readOptions>;
  try {
    options = readOptions(args);
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n\n${HELP}`);
    return USAGE_ERROR;
  }
  if (options.help) {
    process.stdout.write(HELP);
    return 0;
  }
  try {
    if (options.mutants) return await runMutants(options);
    if (options.replay !== null) {
      const read = await readPlanFile(options.replay).catch((error: unknown) => {
        process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
        return null;
      });
      if (read === null) return USAGE_ERROR;
      return await runOne(read.plan, { ...options, mutant: options.mutant ?? read.mutant });
    }
    if (options.seed !== null) return await runOne(drawPlan(options.seed), options);
    return await runMany(options);
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
    return 1;
  }
}

interface Options {
  readonly help: boolean;
  readonly seeds: number;
  readonly firstSeed: number;
  readonly seed: number | null;
  readonly replay: string | null;
  readonly mutant: string | null;
  readonly mutants: boolean;
  readonly threads: number | null;
  readonly trace: boolean;
  readonly json: boolean;
}

/** @throws Error that says what is wrong */
function readOptions(args: readonly string[]): Options {
  const { values } = parseArgs({
    args: [...args],
    options: {
      help: { type: "boolean", short: "h", default: false },
      seeds: { type: "string", default: "1000" },
      "first-seed": { type: "string", default: "1" },
      seed: { type: "string" },
      replay: { type: "string" },
      mutant: { type: "string" },
      mutants: { type: "boolean", default: false },
      threads: { type: "string" },
      trace: { type: "boolean", default: false },
      json: { type: "boolean", default: false },
    },
  });
  const whole = (name: string, text: string, min: number): number => {
    const number = Number(text);
    if (!Number.isSafeInteger(number) || number < min || number >= 2 ** 32)
      throw new Error(
        `--${name} must be a whole number from ${min} up, not ${JSON.stringify(text)}`,
      );
    return number;
  };
  if (values.mutant !== undefined) findMutant(values.mutant);
  return {
    help: values.help,
    seeds: whole("seeds", values.seeds, 1),
    firstSeed: whole("first-seed", values["first-seed"], 0),
    seed: values.seed === undefined ? null : whole("seed", values.seed, 0),
    replay: values.replay ?? null,
    mutant: values.mutant ?? null,
    mutants: values.mutants,
    threads: values.threads === undefined ? null : whole("threads", values.threads, 1),
    trace: values.trace,
    json: values.json,
  };
}

const say = (text: string): void => void process.stderr.write(`${text}\n`);
const lineOf = ({ law, text, atMs }: Finding): string => `${law}: ${text} (at ${atMs} ms)`;
const threadsOf = ({ threads }: Options) => (threads === null ? {} : { threads });

/** One plan, in this process. */
async function runOne(plan: Plan, { mutant, trace, json }: Options): Promise<number> {
  const out = json ? process.stderr : process.stdout;
  const result = await runPlan(plan, {
    mutant: mutant === null ? null : findMutant(mutant),
    onLine: trace ? (line) => void out.write(`${line}\n`) : null,
  });
  const { findings, digest, lines, virtualMs, transactions } = result;
  if (json) {
    const struck = Object.fromEntries(result.struck);
    process.stdout.write(
      `${JSON.stringify({ seed: plan.seed, findings, digest, lines, virtualMs, transactions, struck })}\n`,
    );
  } else {
    say(
      `seed ${plan.seed}: ${plan.trustees} trustees, threshold ${plan.threshold}, ${plan.policy}, ${plan.submitters} submitters, ${plan.faults.length} faults, Byzantine: ${plan.byzantine.map(({ kind }) => kind).join(", ") || "none"}`,
    );
    say(`${lines} lines of trace, sha256 ${digest}`);
    say(
      `${Math.round(virtualMs / 1_000)} virtual seconds, ${transactions.confirmed} confirmed, ${transactions.aborted} aborted`,
    );
    for (const finding of findings) say(`VIOLATION ${lineOf(finding)}`);
  }
  return findings.length === 0 ? 0 : 1;
}

async function runMany(options: Options): Promise<number> {
  const { firstSeed, seeds, mutant, json } = options;
  const startedMs = performance.now();
  const tally = new Tally();
  const tasks = Array.from({ length: seeds }, (_, i): Task => {
    const seed = firstSeed + i;
    return { kind: "seed", seed, twice: i % TWICE_EACH === 0, mutant };
  });
  let done = 0;
  const broken: SeedAnswer[] = [];
  await runAll(
    tasks,
    (settled) => {
      done++;
      if (settled.kind === "failure") {
        if (settled.task.kind !== "seed") return;
        tally.failed.push({
          seed: settled.task.seed,
          findings: [settled.problem],
          file: null,
          faultsNeeded: null,
        });
      } else if (settled.answer.kind === "seed") {
        const { answer } = settled;
        if (answer.harnessError !== null)
          tally.failed.push({
            seed: answer.seed,
            findings: [answer.harnessError],
            file: null,
            faultsNeeded: null,
          });
        tally.answers.push(answer);
        if (settled.answer.findings.length > 0) {
          broken.push(settled.answer);
          say(`seed ${settled.answer.seed}: ${settled.answer.findings.map(lineOf)[0]}`);
        }
      }
      if (done % 100 === 0 || done === seeds)
        say(`${done} of ${seeds} seeds, ${broken.length + tally.failed.length} with violations`);
    },
    threadsOf(options),
  );
  broken.sort((a, b) => a.seed - b.seed);
  for (const [i, answer] of broken.entries())
    tally.failed.push(
      i < SHRUNK_MAX
        ? await cutDown(answer, options)
        : {
            seed: answer.seed,
            findings: answer.findings.map(lineOf),
            file: null,
            faultsNeeded: null,
          },
    );
  const report = tally.sum({ firstSeed, seeds, mutant }, (performance.now() - startedMs) / 1_000);
  process.stdout.write(json ? `${JSON.stringify(report)}\n` : reportText(report));
  return report.ok ? 0 : 1;
}

/** Leaves out of a failing seed what it does not need, and writes the rest to a file. */
async function cutDown({ seed, findings }: SeedAnswer, options: Options) {
  const failed = { seed, findings: findings.map(lineOf), file: null, faultsNeeded: null };
  const [first] = findings;
  if (first === undefined) return failed;
  say(`cutting seed ${seed} down`);
  const { mutant } = options;
  let plan: Plan | null = null;
  await runAll([{ kind: "shrink", seed, law: first.law, mutant }], (settled) => {
    if (settled.kind === "answer" && settled.answer.kind === "shrink") plan = settled.answer.plan;
  });
  if (plan === null) return failed;
  await mkdir(OUTPUT, { recursive: true });
  const path = join(OUTPUT, `seed-${seed}${mutant === null ? "" : `-${mutant}`}.json`);
  const shrunk: Plan = plan;
  await writePlanFile(path, { version: 1, mutant, findings: failed.findings, plan: shrunk });
  return { ...failed, file: relative(ROOT, path), faultsNeeded: shrunk.faults.length };
}

async function runMutants(options: Options): Promise<number> {
  const { firstSeed, seeds, json } = options;
  const answers: MutantAnswer[] = [];
  const wanted = MUTANTS.filter(({ name }) => options.mutant === null || options.mutant === name);
  const tasks = wanted.map(({ name }): Task => ({ kind: "mutant", name, firstSeed, seeds }));
  await runAll(
    tasks,
    (settled) => {
      const { task, answer } =
        settled.kind === "failure"
          ? { task: settled.task, answer: null }
          : { task: null, answer: settled.answer };
      if (answer?.kind === "mutant") {
        answers.push(answer);
        say(mutantLine(answer));
      } else if (task?.kind === "mutant") {
        const problem = settledProblem(settled);
        answers.push({ kind: "mutant", name: task.name, seed: null, finding: null, problem });
        say(`${task.name}: ${problem}`);
      }
    },
    threadsOf(options),
  );
  const problems = answers.filter(({ problem }) => problem !== null);
  const missed = answers.filter(({ seed, problem }) => seed === null && problem === null);
  const found = answers.length - missed.length - problems.length;
  const ok = found === wanted.length;
  const ordered = MUTANTS.flatMap(({ name }) => answers.filter((a) => a.name === name));
  process.stdout.write(
    json
      ? `${JSON.stringify({ firstSeed, seeds, mutants: ordered, missed: missed.map(({ name }) => name), problems: problems.map(({ name }) => name), ok })}\n`
      : `${ordered.map(mutantLine).join("\n")}\n${found} of ${wanted.length} mutants found${problems.length === 0 ? "" : `, nothing known of ${problems.length}`}\n`,
  );
  return ok ? 0 : 1;
}

function settledProblem(settled: { readonly kind: string; readonly problem?: string }): string {
  return settled.problem ?? "";
}

function mutantLine({ name, seed, finding, problem }: MutantAnswer): string {
  if (problem !== null) return `${name.padEnd(36)} NOT TRIED  ${problem.split("\n")[0]}`;
  return finding === null
    ? `${name.padEnd(36)} NOT FOUND`
    : `${name.padEnd(36)} seed ${String(seed).padStart(4)}  ${finding.law}: ${finding.text.split("\n")[0]}`;
}

process.exitCode = await main(process.argv.slice(2));
