import { mkdir, mkdtemp, readdir, rm } from "node:fs/promises";
import { constants, tmpdir } from "node:os";
import { dirname, join, relative, resolve } from "node:path";
import { parseClusterId, unwrap } from "@quorate/core";
import { stopAll } from "@quorate/devkit";
import {
  type LocalCluster,
  type LocalServers,
  startCluster,
  startLocalServers,
} from "@quorate/localcluster";
import { CliError, describeError, EXIT, usageError } from "../failure.ts";
import { table } from "../render/table.ts";
import { jsonDocument, type Style, type Terminal } from "../terminal.ts";
import { componentVersions } from "./component-versions.ts";
import { failedResult, type Narrator, play, type ScenarioResult } from "./play.ts";
import { SCENARIOS, type Scenario, THRESHOLD, TRUSTEES } from "./scenarios.ts";

export interface DemoOptions {
  readonly etcd: 1 | 3;
  readonly only?: string;
  readonly keep?: true;
  /** Folder for the processes' records of their steps. */
  readonly steps?: string;
  readonly json?: true;
}

const STOP_BUDGET_MS = 28_000;

/** The scenarios named, in their own order; all when none is named. */
export function chooseScenarios(only: string | undefined): readonly Scenario[] {
  if (only === undefined) return SCENARIOS;
  const names = only.split(",").map((name) => name.trim());
  const known = SCENARIOS.map((scenario) => scenario.name);
  const unknown = names.filter((name) => !known.includes(name));
  if (unknown.length > 0)
    throw usageError(
      `no scenario is called ${unknown.map((name) => JSON.stringify(name)).join(", ")}; there are ${known.join(", ")}`,
    );
  return SCENARIOS.filter((scenario) => names.includes(scenario.name));
}

/** Starts the servers, plays the scenarios one after another, and tears everything down again. */
export async function runDemo(options: DemoOptions, terminal: Terminal): Promise<number> {
  const scenarios = chooseScenarios(options.only);
  const steps = options.steps === undefined ? undefined : await emptyFolder(options.steps);
  const live = options.json === true;
  const narrator: Narrator = {
    say: live ? terminal.note : terminal.data,
    style: live ? terminal.style : terminal.dataStyle,
  };
  const interrupt = listenForInterrupt();
  const directory = await mkdtemp(join(tmpdir(), "quorate-demo-"));
  const startedMs = performance.now();
  const stage = new Theatre(directory, { ...options, steps }, narrator, interrupt.signal);
  try {
    const components = await componentVersions();
    narrator.say(
      narrator.style.bold(`Quorate demo: ${THRESHOLD} of ${TRUSTEES} trustees, each a process`),
    );
    narrator.say(
      narrator.style.dim(
        Object.entries(components)
          .map(([name, version]) => `${name} ${version}`)
          .join(", "),
      ),
    );
    const results = await stage.playAll(scenarios);
    const ok = results.length === scenarios.length && results.every((result) => result.ok);
    if (live) terminal.data(jsonDocument({ components, scenarios: results, ok }));
    else narrator.say(`\n${renderResults(results, narrator.style)}`);
    const seconds = ((performance.now() - startedMs) / 1_000).toFixed(0);
    narrator.say(verdictLine(results, seconds, narrator.style));
    return ok ? EXIT.ok : EXIT.failed;
  } catch (error) {
    if (!interrupt.signal.aborted) throw error;
    throw new CliError(`interrupted by ${interrupt.name()}; everything is stopped`, {
      exitCode: 128 + constants.signals[interrupt.name()],
    });
  } finally {
    await stage.close();
    if (options.keep === true) terminal.note(`kept: ${directory}`);
    else await rm(directory, { recursive: true, force: true });
    interrupt.forget();
  }
}

/** Steps of two runs must not mix: both call their clusters the same. @returns its absolute path */
async function emptyFolder(directory: string): Promise<string> {
  const path = resolve(directory);
  await mkdir(path, { recursive: true });
  if ((await readdir(path)).length > 0)
    throw usageError(`${path} is not empty; name an empty folder for the steps, or a new one`);
  return path;
}

function listenForInterrupt(): {
  readonly signal: AbortSignal;
  name(): "SIGINT" | "SIGTERM";
  forget(): void;
} {
  const controller = new AbortController();
  let name: "SIGINT" | "SIGTERM" = "SIGINT";
  const on = (signal: NodeJS.Signals): void => {
    // The second ends at once; devkit then kills what still runs.
    if (controller.signal.aborted) process.exit(EXIT.failed);
    name = signal === "SIGTERM" ? "SIGTERM" : "SIGINT";
    controller.abort(new Error(signal));
  };
  process.on("SIGINT", on);
  process.on("SIGTERM", on);
  return {
    signal: controller.signal,
    name: () => name,
    forget: () => {
      process.off("SIGINT", on);
      process.off("SIGTERM", on);
    },
  };
}

/** The servers, and the clusters that come and go on them. */
class Theatre {
  readonly #directory: string;
  readonly #etcdMembers: 1 | 3;
  readonly #stepsDirectory: string | undefined;
  readonly #narrator: Narrator;
  readonly #signal: AbortSignal;
  readonly #leaving: Promise<void>[] = [];
  readonly #building = new Set<Promise<LocalCluster>>();
  #servers: LocalServers | null = null;

  constructor(
    directory: string,
    { etcd, steps }: { readonly etcd: 1 | 3; readonly steps: string | undefined },
    narrator: Narrator,
    signal: AbortSignal,
  ) {
    this.#directory = directory;
    this.#etcdMembers = etcd;
    this.#stepsDirectory = steps;
    this.#narrator = narrator;
    this.#signal = signal;
  }

  /** The next cluster starts while a scenario mostly waits for blocks and deadlines. */
  async playAll(scenarios: readonly Scenario[]): Promise<readonly ScenarioResult[]> {
    const { style } = this.#narrator;
    this.#servers = await startLocalServers({
      directory: join(this.#directory, "servers"),
      etcdMembers: this.#etcdMembers,
      signal: this.#signal,
    });
    const servers = this.#servers;
    this.#narrator.say(
      style.dim(
        `etcd ${servers.etcd.endpoints.join(",")}  postgres ${servers.postgres.port}  anvil ${servers.anvil.rpcUrl}`,
      ),
    );
    const results: ScenarioResult[] = [];
    let next = this.#build(scenarios[0], servers);
    for (const [i, scenario] of scenarios.entries()) {
      this.#narrator.say(`\n${style.bold(`${i + 1}. ${scenario.name}: ${scenario.title}`)}`);
      const building = next;
      let result: ScenarioResult;
      try {
        const cluster = await building;
        if (cluster === null) throw new CliError("no cluster was built");
        next = this.#build(scenarios[i + 1], servers);
        result = await play(scenario, { servers, cluster }, this.#narrator, this.#signal);
        this.#leaving.push(cluster.stop().catch(() => {}));
      } catch (error) {
        this.#signal.throwIfAborted();
        result = failedResult(scenario.name, [describeError(error, { debug: false })]);
        if (next === building) next = this.#build(scenarios[i + 1], servers);
      }
      results.push(result);
      this.#narrator.say(renderVerdict(scenario, result, style));
    }
    return results;
  }

  /** Stops clusters, then servers, whatever state they are in. */
  async close(): Promise<void> {
    const signal = AbortSignal.timeout(STOP_BUDGET_MS);
    const swallow = (): void => {};
    for (const building of this.#building)
      await building.then((cluster) => cluster.stop({ signal }), swallow).catch(swallow);
    await Promise.all(this.#leaving);
    await this.#servers?.stop({ signal }).catch(swallow);
    await stopAll({ signal }).catch(swallow);
    // Run by root, PostgreSQL keeps its files elsewhere, in a folder of its own.
    const moved = this.#servers === null ? null : dirname(this.#servers.postgres.databaseDir);
    if (moved !== null && relative(this.#directory, moved).startsWith(".."))
      await rm(moved, { recursive: true, force: true });
  }

  #build(scenario: Scenario | undefined, servers: LocalServers): Promise<LocalCluster | null> {
    if (scenario === undefined) return Promise.resolve(null);
    const building = startCluster({
      servers,
      directory: join(this.#directory, scenario.name),
      clusterId: unwrap(parseClusterId(`demo-${scenario.name}`)),
      trustees: TRUSTEES,
      threshold: THRESHOLD,
      protocol: scenario.protocol,
      absent: scenario.absent,
      stepsDirectory: this.#stepsDirectory,
      onDeath: (app, exit) =>
        this.#narrator.say(`  ${app.name} ended by itself (${exit.code ?? exit.signal})`),
      signal: this.#signal,
    });
    this.#building.add(building);
    // Awaited one scenario later; until then a failure must not count as unhandled.
    building.catch(() => {});
    return building;
  }
}

function renderVerdict(scenario: Scenario, result: ScenarioResult, style: Style): string {
  if (result.ok) return `  ${style.good("✔")} as it must: ${scenario.expected.words}`;
  return [
    `  ${style.bad("✘")} it must end: ${scenario.expected.words}`,
    ...result.deviations.map((deviation) => `    ${style.bad(deviation)}`),
  ].join("\n");
}

/** The table at the end. */
export function renderResults(results: readonly ScenarioResult[], style: Style): string {
  return table(
    ["", "SCENARIO", "STATUS", "ON CHAIN", "BANNED", "VIOLATIONS", "VOTES", "ROWS", "LATENCY"],
    results.map((result) => [
      result.ok ? style.good("✔") : style.bad("✘"),
      result.name,
      result.status ?? "-",
      result.onChainValue ?? "nothing",
      result.banned.join(", ") || "nobody",
      result.violations.join(", ") || "none",
      result.etcd === null ? "-" : votesOf(result.etcd.counts),
      result.postgres === null
        ? "-"
        : `${result.postgres.voteHistory}+${result.postgres.byzantineViolations}`,
      result.latencyMs === null ? "-" : `${(result.latencyMs / 1_000).toFixed(1)} s`,
    ]),
    style.dim,
  );
}

function votesOf(counts: Readonly<Record<string, number>>): string {
  return Object.entries(counts)
    .map(([value, count]) => `${value}×${count}`)
    .join(" ");
}

function verdictLine(results: readonly ScenarioResult[], seconds: string, style: Style): string {
  const good = results.filter((result) => result.ok).length;
  const line = `${good} of ${results.length} scenarios ended as they must, in ${seconds} s`;
  return good === results.length ? style.good(line) : style.bad(line);
}
