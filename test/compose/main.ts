import { stopAll } from "@quorate/devkit";
import { Command } from "commander";
import { type ComposeReport, runCompose } from "./run-compose.ts";

interface Options {
  readonly keep?: true;
  readonly pull?: true;
  readonly install: boolean;
  readonly json?: true;
}

const USAGE_ERROR = 2;
/** Not a failure of what is tested: there is nothing to test it with. */
const NO_ENGINE = 3;
const INTERRUPTED = 130;
const say = (line: string): void => void process.stderr.write(`${line}\n`);

async function run(options: Options): Promise<number> {
  const stopped = new AbortController();
  // However often it is asked: containers and mounts that are left would be somebody's to find and remove.
  for (const name of ["SIGINT", "SIGTERM"] as const)
    process.on(name, () => {
      say(`${name}: stopping what was started`);
      stopped.abort(new Error(name));
    });
  try {
    const outcome = await runCompose({
      keep: options.keep === true,
      pull: options.pull === true,
      install: options.install,
      say,
      signal: stopped.signal,
    });
    if (outcome.kind === "unavailable") {
      say(`Nothing was tested: ${outcome.reason}`);
      if (options.json === true) console.log(JSON.stringify(outcome, null, 2));
      return NO_ENGINE;
    }
    const { report } = outcome;
    console.log(options.json === true ? JSON.stringify(report, null, 2) : render(report));
    return report.ok ? 0 : 1;
  } catch (error) {
    if (stopped.signal.aborted) return INTERRUPTED;
    say(`The run failed: ${error instanceof Error ? error.message : String(error)}`);
    return 1;
  } finally {
    if (options.keep !== true) await stopAll();
  }
}

function render({
  ok,
  engine,
  imagesFrom,
  leftOut,
  steps,
  states,
  seconds,
}: ComposeReport): string {
  const services = [...new Set(states.map(({ service }) => service))].toSorted();
  const without = leftOut.length === 0 ? "" : `, without ${leftOut.join(" and ")}`;
  return [
    `${ok ? "The stack holds" : "THE STACK DOES NOT HOLD"}, after ${seconds} s. ${engine}; images from ${imagesFrom}${without}.`,
    "",
    ...steps.map((step) => `${step.ok ? "ok  " : "FAIL"} ${step.name}\n       ${step.detail}`),
    "",
    "States seen:",
    ...services.map((service) => {
      const of = states.filter((one) => one.service === service).map(({ state }) => state);
      return `  ${service.padEnd(14)} ${of.join(" → ")}`;
    }),
  ].join("\n");
}

const program = new Command("test:compose")
  .description(
    "Builds the images, runs docker-compose.yml on a real engine, breaks it, stops it, and looks at it.",
  )
  .option("--keep", "leave the stack, and an engine that was started for it, running")
  .option("--pull", "use the official images, pulled, instead of stand-ins from Debian's packages")
  .option("--no-install", "install no engine where there is none (root on Debian)")
  .option("--json", "print one JSON document")
  .addHelpText(
    "after",
    `
Uses the container engine that runs on this machine, else starts one for itself (root on Linux), and ends only what it
started. Progress goes to stderr. Exit code 0: all holds, 1: something does not, 2: wrong usage, 3: no engine can run here.`,
  )
  .exitOverride();

try {
  program.parse();
  process.exitCode = await run(program.opts<Options>());
} catch (error) {
  const code = error instanceof Error && "exitCode" in error ? Number(error.exitCode) : 1;
  process.exitCode = code === 0 ? 0 : USAGE_ERROR;
}
