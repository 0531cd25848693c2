import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { serverVersions, stopAll } from "@quorate/devkit";
import { startLocalServers } from "@quorate/localcluster";
import { createLogger, systemClock } from "@quorate/telemetry";
import { benchChain, type ChainRun } from "./chain.ts";
import type { Stage } from "./chain-metrics.ts";
import { measureMachine } from "./machine.ts";

const HELP = `Measures how fast decided values reach a chain with a block a second: one result a transaction, and many.

  npm run bench:chain [-- --json] [--quick]

  --json    one JSON document on standard output
  --quick   one round each instead of three; noisier

Exit code 1 when many a transaction are not ten times as fast as one, or when a result was lost or sent twice.
`;

/** The criterion: what batching is for. */
const RATIO_MIN = 10;
const WINDOW = 8;
const BATCH = 200;
const ROUNDS = 3;
/** Ten blocks at full speed for one a transaction. */
const SINGLE_BACKLOG = 80;
/** More than eight blocks' at the speed that was seen. */
const BATCHED_BACKLOG = 5_000;
const OFFERED_SECONDS = 8;

const progress = (message: string): void => void process.stderr.write(`bench: ${message}\n`);

interface PathResult {
  /** The round of the median rate. */
  readonly median: ChainRun;
  readonly rounds: readonly ChainRun[];
}

async function run(quick: boolean, directory: string) {
  const clock = systemClock();
  const logger = createLogger({ level: "error", pretty: false, destination: "stderr" });
  const servers = await startLocalServers({
    directory: join(directory, "servers"),
    etcdMembers: 1,
    blockTimeSeconds: 1,
  });
  const rounds = quick ? 1 : ROUNDS;
  const single: ChainRun[] = [];
  const batched: ChainRun[] = [];
  try {
    for (let round = 1; round <= rounds; round++)
      for (const [path, runs] of [["single", single] as const, ["batched", batched] as const]) {
        const isSingle = path === "single";
        const name = `${path}-${round}`;
        const measured = await benchChain({
          servers,
          directory: join(directory, name),
          name,
          batchMax: isSingle ? 1 : BATCH,
          windowMax: WINDOW,
          backlog: isSingle ? SINGLE_BACKLOG : BATCHED_BACKLOG,
          // Half of what the single path can do, and far below what the batched one can.
          offered:
            round === rounds
              ? { perSecond: isSingle ? WINDOW / 2 : 100, seconds: OFFERED_SECONDS }
              : null,
          clock,
          logger,
        });
        runs.push(measured);
        progress(
          `${path}, round ${round}/${rounds}: ${measured.resultsPerSecond.toFixed(1)} results a second`,
        );
      }
  } finally {
    await servers.stop();
  }
  return { single: resultOf(single), batched: resultOf(batched) };
}

function resultOf(rounds: readonly ChainRun[]): PathResult {
  const sorted = rounds.toSorted((a, b) => a.resultsPerSecond - b.resultsPerSecond);
  const median = sorted[Math.floor(sorted.length / 2)];
  if (median === undefined) throw new Error("no round to take the median of");
  return { median, rounds };
}

function print(paths: Readonly<Record<string, PathResult>>): void {
  console.table(
    Object.entries(paths).map(([path, { median }]) => ({
      path,
      "results a transaction": `up to ${median.batchMax}`,
      window: median.windowMax,
      "results/s": median.resultsPerSecond.toFixed(1),
      "gas a result": Math.round(median.gasPerResult).toLocaleString("en-US"),
      "of the block's gas": `${(median.blockGasShare * 100).toFixed(1)} %`,
      "ceiling by gas, results/s": Math.round(median.ceilingPerSecond).toLocaleString("en-US"),
    })),
  );
  const words = (run: ChainRun, stage: Stage): string => {
    const latency = run.latency?.[stage];
    return latency === undefined
      ? "-"
      : `${(latency.p50Ms / 1_000).toFixed(2)} / ${(latency.p99Ms / 1_000).toFixed(2)}`;
  };
  console.log("Latency from the queue, p50 / p99 in s, estimated from the submitter's histogram");
  console.table(
    Object.entries(paths).flatMap(([path, { rounds }]) =>
      rounds
        .filter(({ latency }) => latency !== null)
        .map((round) => ({
          path,
          "offered, results/s": round.latency?.perSecond,
          broadcast: words(round, "broadcast"),
          included: words(round, "included"),
          finalized: words(round, "finalized"),
        })),
    ),
  );
}

async function main(): Promise<number> {
  let options: { json?: boolean; quick?: boolean; help?: boolean };
  try {
    options = parseArgs({
      options: {
        json: { type: "boolean" },
        quick: { type: "boolean" },
        help: { type: "boolean", short: "h" },
      },
    }).values;
  } catch (error) {
    process.stderr.write(`bench:chain: ${(error as Error).message}\n\n${HELP}`);
    return 2;
  }
  if (options.help === true) {
    console.log(HELP);
    return 0;
  }
  const directory = await mkdtemp(join(tmpdir(), "quorate-bench-chain-"));
  try {
    const paths = await run(options.quick === true, directory);
    const { single, batched } = paths;
    const ratio = batched.median.resultsPerSecond / single.median.resultsPerSecond;
    const all = [...single.rounds, ...batched.rounds];
    const wrong = all.reduce((sum, { duplicates, lost }) => sum + duplicates + lost, 0);
    const ok = ratio >= RATIO_MIN && wrong === 0;
    const machine = measureMachine();
    if (options.json === true)
      console.log(
        JSON.stringify(
          {
            machine,
            servers: await serverVersions(),
            ...paths,
            ratio,
            ratioMin: RATIO_MIN,
            wrong,
            ok,
          },
          null,
          2,
        ),
      );
    else {
      console.log(
        `${machine.cpus} × ${machine.model}, Node ${machine.node}, one Ed25519 verification ${machine.verifyMicros} µs; every server on this machine, a block a second`,
      );
      print({ single, batched });
      console.log(
        `batched is ${ratio.toFixed(1)} times single (at least ${RATIO_MIN} wanted); ${wrong} results lost or sent twice: ${ok ? "PASS" : "FAIL"}`,
      );
    }
    return ok ? 0 : 1;
  } finally {
    await stopAll();
    await rm(directory, { recursive: true, force: true });
  }
}

try {
  process.exitCode = await main();
} catch (error) {
  process.stderr.write(`bench:chain: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}
