import { Command, InvalidArgumentError } from "commander";
import { type FuzzReport, fuzz, replay } from "./fuzz.ts";

interface Options {
  readonly frames: number;
  readonly seed?: number;
  readonly json?: true;
  readonly replay?: readonly string[];
}

const USAGE_ERROR = 2;
const progress = (text: string): void => void process.stderr.write(`fuzz: ${text}\n`);

function whole(text: string): number {
  const number = Number(text);
  if (!Number.isSafeInteger(number) || number < 0)
    throw new InvalidArgumentError("It must be a whole number from 0 up.");
  return number;
}

function print(report: FuzzReport): void {
  const { failure } = report;
  const list = (counts: Readonly<Record<string, number>>): string =>
    Object.entries(counts)
      .map(([name, count]) => `${name} ${count}`)
      .join(", ");
  console.log(
    [
      `seed ${report.seed}: ${report.frames} frames in ${report.seconds.toFixed(1)} s, on ${report.nodes} nodes and ${report.epochs} epochs`,
      `verdicts          ${list(report.verdicts)}`,
      `banned            ${report.banned} Byzantine, ${report.honestBanned} honest: ${list(report.bans)}`,
      `refusals          ${report.refusals}, in receipts ${report.receipts}: ${list(report.reasons)}`,
      `blocks reached    ${report.blocksReached} of ${report.blocksKnown} known, ${report.corpus} frames kept`,
      `memory            heap +${(report.heapGrowthBytes / 1_048_576).toFixed(1)} MiB, largest collection ${report.largestCollection} entries`,
      failure === null ? "no law was broken" : `BROKEN at input ${failure.input}: ${failure.error}`,
    ].join("\n"),
  );
  if (failure === null) return;
  console.log(
    failure.alone
      ? `It fails alone: npm run fuzz -- --replay ${failure.hex}`
      : `It does not fail alone (${failure.trail.length} inputs came before it on the same node; --json lists them): npm run fuzz -- --seed ${report.seed} --frames ${failure.input}`,
  );
  console.log(`input ${failure.hex}`);
}

async function run({ frames, seed, json, replay: hexes }: Options): Promise<number> {
  if (hexes !== undefined) {
    let broken: string | null;
    try {
      broken = await replay(hexes.flatMap((hex) => hex.split(",")));
    } catch (error) {
      progress(error instanceof Error ? error.message : String(error));
      return USAGE_ERROR;
    }
    if (json === true) console.log(JSON.stringify({ broken }));
    else console.log(broken === null ? "no law was broken" : `BROKEN: ${broken}`);
    return broken === null ? 0 : 1;
  }
  const chosen = seed ?? Math.floor(Math.random() * 2 ** 32);
  progress(`seed ${chosen}, ${frames} frames`);
  const report = await fuzz({ frames, seed: chosen, say: progress });
  if (json === true) console.log(JSON.stringify(report, null, 2));
  else print(report);
  return report.failure === null ? 0 : 1;
}

const program = new Command("fuzz")
  .description(
    "Sends mutated frames through the real decoding, admission, pipeline and accusations of a node, and checks after each that nothing throws, nobody is framed, and nothing forged is recorded.",
  )
  .option("--frames <n>", "how many inputs", whole, 100_000)
  .option("--seed <n>", "draws the same inputs again; a random one when absent", whole)
  .option("--replay <hex...>", "run only these inputs, on one fresh node")
  .option("--json", "one JSON document on standard output")
  .exitOverride();

try {
  program.parse();
  process.exitCode = await run(program.opts<Options>());
} catch (error) {
  const code: unknown = error instanceof Error ? Reflect.get(error, "exitCode") : null;
  if (typeof code !== "number") throw error;
  process.exitCode = code === 0 ? 0 : USAGE_ERROR;
}
