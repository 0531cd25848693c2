import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { waitUntil } from "@quorate/devkit";
import { parse } from "yaml";
import { type ContainerState, describeState, isWell, parseInspect } from "./container-state.ts";
import type { Engine } from "./engine.ts";
import type { ImageVariables } from "./images.ts";
import { type Ended, must, run } from "./program.ts";

export interface StackRequest {
  readonly engine: Engine;
  readonly root: string;
  readonly project: string;
  readonly clusterDirectory: string;
  /** Images, ports and intervals, by the variables of docker-compose.yml. */
  readonly variables: ImageVariables;
  readonly leftOut: readonly string[];
  /** Each state that a container is seen to take. */
  readonly onState: (service: string, state: string) => void;
  readonly signal: AbortSignal;
}

/** docker-compose.yml, running as one project. */
export interface Stack {
  readonly up: () => Promise<void>;
  readonly states: () => Promise<readonly ContainerState[]>;
  readonly stateOf: (service: string) => Promise<ContainerState>;
  readonly until: (
    service: string,
    what: string,
    condition: (state: ContainerState) => boolean,
  ) => Promise<ContainerState>;
  /** Until every container is well. */
  readonly untilWell: () => Promise<readonly ContainerState[]>;
  /** `compose exec`, as an operator types it. */
  readonly typed: (service: string, words: readonly string[]) => Promise<string>;
  /** A command in a service's container, as its user. Its failure is a value. */
  readonly exec: (service: string, words: readonly string[], input?: string) => Promise<Ended>;
  /** The same, and it has to work. */
  readonly mustExec: (service: string, words: readonly string[], input?: string) => Promise<string>;
  /** A command of the engine on a service's container, such as `kill` or `start`. */
  readonly engineDoes: (verb: string, service: string) => Promise<void>;
  readonly stop: () => Promise<void>;
  /** The last lines of what is not well, for a person to look at. */
  readonly complaints: () => Promise<string>;
  /** Removes everything that the project made. @returns what is still there */
  readonly down: () => Promise<readonly string[]>;
}

/** A machine that does something else besides: the slowest way to a state seen was a third of it. */
const STATE_MS = 180_000;
const COMMAND_MS = 90_000;
const UP_MS = 300_000;
const POLL_MS = 500;

export function openStack(request: StackRequest): Stack {
  const { engine, root, project, clusterDirectory, variables, leftOut, onState, signal } = request;
  const env = { ...engine.env, ...variables };
  const [program, ...first] = engine.compose;
  const override = join(clusterDirectory, "compose.override.json");
  const file = [
    `--file=${join(root, "docker-compose.yml")}`,
    `--file=${override}`,
    `--env-file=${join(clusterDirectory, "compose.env")}`,
    "--profile=anvil",
  ];
  const mustCompose = (args: readonly string[], timeoutMs: number): Promise<string> =>
    must(program, [...first, "-p", project, ...file, ...args], {
      cwd: root,
      env,
      signal,
      timeoutMs,
    });
  const label = ["--filter", `label=com.docker.compose.project=${project}`];
  const seen = new Map<string, string>();
  const ids = new Map<string, string>();
  const states = async (): Promise<readonly ContainerState[]> => {
    const listed = (await engine.docker(["ps", "-aq", ...label], { signal })).split("\n");
    const named = listed.filter((id) => id !== "");
    if (named.length === 0) return [];
    const found = parseInspect(await engine.docker(["inspect", ...named], { signal }));
    for (const state of found) {
      ids.set(state.service, state.id);
      const text = describeState(state);
      if (seen.get(state.service) === text) continue;
      seen.set(state.service, text);
      onState(state.service, text);
    }
    return found;
  };
  const stateOf = async (service: string): Promise<ContainerState> => {
    const found = (await states()).find((state) => state.service === service);
    if (found === undefined) throw new Error(`${service} has no container`);
    return found;
  };
  const until: Stack["until"] = async (service, what, condition) => {
    await waitUntil(async () => condition(await stateOf(service)), {
      timeoutMs: STATE_MS,
      what: `${service} to be ${what}`,
      pollMs: POLL_MS,
      signal,
    });
    return await stateOf(service);
  };
  // The engine's own command: compose 1.29 takes a second to begin with, and this is asked often.
  const exec: Stack["exec"] = async (service, words, input) => {
    const id = ids.get(service) ?? (await stateOf(service)).id;
    return await run(engine.dockerProgram, ["exec", "-i", id, ...words], {
      env,
      signal,
      timeoutMs: COMMAND_MS,
      ...(input === undefined ? {} : { input }),
    });
  };
  return {
    states,
    stateOf,
    until,
    exec,
    typed: (service, words) => mustCompose(["exec", "-T", service, ...words], COMMAND_MS),
    up: async () => {
      const whole: { services: object } = parse(
        await readFile(join(root, "docker-compose.yml"), "utf8"),
        { merge: true },
      );
      const services = Object.keys(whole.services).filter((name) => !leftOut.includes(name));
      // No container asks anybody beyond this machine: a name that nobody here has is answered at once.
      const alone = services
        .filter((service) => service !== "archive-owner")
        .map((service) => [service, { dns: ["127.0.0.1"] }]);
      await writeFile(override, JSON.stringify({ services: Object.fromEntries(alone) }));
      await mustCompose(["up", "-d", ...services], UP_MS);
    },
    untilWell: async () => {
      await waitUntil(async () => (await states()).every(isWell), {
        timeoutMs: STATE_MS,
        what: "every container to be well",
        pollMs: POLL_MS,
        signal,
      });
      return await states();
    },
    mustExec: async (service, words, input) => {
      const { code, stdout, stderr } = await exec(service, words, input);
      if (code === 0) return stdout;
      throw new Error(`in ${service}: ${words.join(" ")} ended with ${code}: ${stderr}${stdout}`);
    },
    engineDoes: async (verb, service) => {
      const { id } = await stateOf(service);
      await engine.docker([verb, id], { signal });
      await states();
    },
    stop: async () => {
      await mustCompose(["stop"], COMMAND_MS);
    },
    complaints: async () => {
      const ill = (await states()).filter((state) => !isWell(state));
      const parts = await Promise.all(
        ill.map(async (state) => {
          const { stdout, stderr } = await run(
            engine.dockerProgram,
            ["logs", "--tail", "15", state.id],
            { env },
          );
          return `--- ${state.service}: ${describeState(state)}\n${stdout}${stderr}`;
        }),
      );
      return parts.join("\n");
    },
    down: async () => {
      // Also when the run was interrupted: nothing may stay.
      const words = [...first, "-p", project, ...file, "down", "-v", "--remove-orphans", "-t", "5"];
      const { code, stderr } = await run(program, words, { cwd: root, env, timeoutMs: UP_MS });
      const left: string[] = code === 0 ? [] : [`compose down: ${stderr.trim()}`];
      for (const [kind, list] of [
        ["container", ["ps", "-aq"]],
        ["volume", ["volume", "ls", "-q"]],
        ["network", ["network", "ls", "-q"]],
      ] as const) {
        const names = (await engine.docker([...list, ...label])).split("\n");
        left.push(...names.filter((name) => name !== "").map((name) => `${kind} ${name}`));
      }
      return left;
    },
  };
}
