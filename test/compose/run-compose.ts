import { randomBytes } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { freePort } from "@quorate/devkit";
import { findEngine } from "./engine.ts";
import { buildImages } from "./images.ts";
import { must } from "./program.ts";
import { type Scene, STEPS, TRUSTEES } from "./scenario.ts";
import { openStack, type Stack } from "./stack.ts";

export interface ComposeRequest {
  /** Leave the stack and the engine running, and say how to reach them. */
  readonly keep: boolean;
  readonly pull: boolean;
  readonly install: boolean;
  readonly say: (line: string) => void;
  readonly signal: AbortSignal;
}

export interface StepResult {
  readonly name: string;
  readonly ok: boolean;
  readonly seconds: number;
  /** What was seen, or what was wrong. */
  readonly detail: string;
}

export interface ComposeReport {
  readonly ok: boolean;
  readonly engine: string;
  readonly imagesFrom: "registries" | "Debian packages";
  /** Services of docker-compose.yml that did not run. */
  readonly leftOut: readonly string[];
  readonly steps: readonly StepResult[];
  /** Every state that a container was seen to take, in order. */
  readonly states: readonly {
    readonly seconds: number;
    readonly service: string;
    readonly state: string;
  }[];
  readonly seconds: number;
}

export type ComposeOutcome =
  | { readonly kind: "ran"; readonly report: ComposeReport }
  | { readonly kind: "unavailable"; readonly reason: string };

const ROOT = resolve(import.meta.dirname, "..", "..");
const CLUSTER_ID = "compose-test";
/** Longer than five commands take on a machine that does much else: no trustee shall be late for that. */
const DEADLINE_MS = 300_000;
/** The last step, whose outcome is known when all is taken down. */
export const LAST_STEP = "nothing is left behind";

/** Builds, starts, breaks and stops the whole of docker-compose.yml, once. Whatever happens, what it started is ended. */
export async function runCompose(request: ComposeRequest): Promise<ComposeOutcome> {
  const { say, signal, keep } = request;
  const directory = await mkdtemp(join(tmpdir(), "quorate-compose-"));
  const startedMs = performance.now();
  const seconds = (): number => Math.round((performance.now() - startedMs) / 100) / 10;
  const note = (line: string): void => say(`${seconds().toFixed(1).padStart(6)} s  ${line}`);
  const found = await findEngine({
    directory: join(directory, "engine"),
    install: request.install,
    say: note,
    signal,
  });
  if (found.kind === "unavailable") {
    await rm(directory, { recursive: true, force: true });
    return found;
  }
  const { engine } = found;
  note(engine.description);
  const project = `quorate-test-${randomBytes(3).toString("hex")}`;
  const steps: StepResult[] = [];
  const states: ComposeReport["states"][number][] = [];
  let stack: Stack | null = null;
  let leftOut: readonly string[] = [];
  let images: readonly string[] = [];
  try {
    const built = await buildImages({
      engine,
      root: ROOT,
      directory,
      prefix: project,
      pull: request.pull,
      say: note,
      signal,
    });
    images = built.names;
    leftOut = built.leftOut;
    if (leftOut.length > 0)
      note(
        `Debian's packages stand in for the official images, and ${leftOut.join(" and ")} are left out: there is no package of them`,
      );
    const clusterDirectory = join(directory, "cluster");
    await createCluster(clusterDirectory, signal);
    const { variables, ports } = await freePorts(signal);
    stack = openStack({
      engine,
      root: ROOT,
      project,
      clusterDirectory,
      variables: { ...built.variables, ...variables },
      leftOut,
      onState: (service, state) => {
        states.push({ seconds: seconds(), service, state });
        note(`        ${service}: ${state}`);
      },
      signal,
    });
    note("compose up");
    await stack.up();
    await playSteps({ stack, clusterDirectory, clusterId: CLUSTER_ID, ports, signal }, steps, note);
    if (keep) {
      const host = engine.env["DOCKER_HOST"];
      const via = host === undefined ? "" : `DOCKER_HOST=${host} `;
      note(`kept, until it is ended by hand: ${via}docker ps; everything is in ${directory}`);
    }
  } finally {
    if (!keep) {
      const left = stack === null ? [] : await stack.down();
      if (!engine.startedHere)
        for (const name of images) await engine.docker(["rmi", "-f", name]).catch(() => "");
      await engine.stop();
      await rm(directory, { recursive: true, force: true });
      steps.push({
        name: LAST_STEP,
        ok: left.length === 0,
        seconds: 0,
        detail: left.length === 0 ? "no container, volume or network" : left.join(", "),
      });
      note(`${left.length === 0 ? "ok  " : "FAIL"} ${LAST_STEP}`);
    }
  }
  const expected = STEPS.length + (keep ? 0 : 1);
  return {
    kind: "ran",
    report: {
      ok: steps.length === expected && steps.every(({ ok }) => ok),
      engine: engine.description,
      imagesFrom: request.pull ? "registries" : "Debian packages",
      leftOut,
      steps,
      states,
      seconds: seconds(),
    },
  };
}

/** The steps, until one fails: each needs what those before it left. */
async function playSteps(
  scene: Scene,
  results: StepResult[],
  note: (line: string) => void,
): Promise<void> {
  for (const { name, run } of STEPS) {
    const startedMs = performance.now();
    const took = (): number => Math.round((performance.now() - startedMs) / 100) / 10;
    try {
      const detail = await run(scene);
      results.push({ name, ok: true, seconds: took(), detail });
      note(`ok   ${name}: ${detail}`);
    } catch (error) {
      scene.signal.throwIfAborted();
      const detail = error instanceof Error ? error.message : String(error);
      results.push({ name, ok: false, seconds: took(), detail });
      note(`FAIL ${name}: ${detail}`);
      note(await scene.stack.complaints().catch(String));
      return;
    }
  }
}

async function createCluster(out: string, signal: AbortSignal): Promise<void> {
  const cli = ["--conditions=@quorate/source", join(ROOT, "packages", "cli", "src", "main.ts")];
  await must(
    process.execPath,
    [
      ...cli,
      ..."cluster create --compose --threshold 4".split(" "),
      `--trustees=${TRUSTEES.length}`,
      `--name=${CLUSTER_ID}`,
      `--deadline-ms=${DEADLINE_MS}`,
      `--out=${out}`,
    ],
    { cwd: ROOT, signal },
  );
}

async function freePorts(signal: AbortSignal): Promise<{
  readonly variables: Readonly<Record<string, string>>;
  readonly ports: Scene["ports"];
}> {
  const trustees: number[] = [];
  for (const _name of TRUSTEES) trustees.push(await freePort({ signal }));
  const ports = {
    trustees,
    submitter: await freePort({ signal }),
    prometheus: await freePort({ signal }),
  };
  const others = ["ALERTMANAGER_PORT", "GRAFANA_PORT", "JAEGER_PORT"];
  const variables: Record<string, string> = {
    HEALTH_INTERVAL: "5s",
    // Three members, five nodes and a build's caches on one busy machine: no leader shall be lost for that.
    ETCD_HEARTBEAT_MS: "500",
    ETCD_ELECTION_MS: "5000",
    SUBMITTER_PORT: String(ports.submitter),
    PROMETHEUS_PORT: String(ports.prometheus),
  };
  for (const [i, port] of trustees.entries()) variables[`TRUSTEE_${i + 1}_PORT`] = String(port);
  for (const name of others) variables[name] = String(await freePort({ signal }));
  return { variables, ports };
}
