import { existsSync } from "node:fs";
import { mkdir, readFile, rm } from "node:fs/promises";
import { basename, join, resolve } from "node:path";
import { type LoggedProcess, spawnLogged, waitUntil } from "@quorate/devkit";
import { makeContainerGroup } from "./cgroup.ts";
import { must, type ProgramOptions, run } from "./program.ts";

/** A container engine, and the clients that can talk to it. */
export interface Engine {
  readonly description: string;
  readonly startedHere: boolean;
  /** The docker command, with an environment that names the engine. @throws Error with its last lines */
  readonly docker: (args: readonly string[], options?: ProgramOptions) => Promise<string>;
  readonly dockerProgram: string;
  /** `docker compose` or `docker-compose`. */
  readonly compose: readonly [string, ...string[]];
  readonly env: NodeJS.ProcessEnv;
  /** Ends an engine that was started here, with all that it held. Idempotent. */
  readonly stop: () => Promise<void>;
}

export type EngineAnswer =
  | { readonly kind: "ready"; readonly engine: Engine }
  | { readonly kind: "unavailable"; readonly reason: string };

export interface EngineRequest {
  /** Where an engine that is started here keeps everything. */
  readonly directory: string;
  /** Whether missing programs may be installed, by root on Debian. */
  readonly install: boolean;
  readonly say: (line: string) => void;
  readonly signal: AbortSignal;
}

const PACKAGES = ["docker.io", "docker-compose", "debootstrap", "iptables", "ca-certificates"];
const INSTALL_MS = 300_000;
const START_MS = 60_000;
/** The first client that needs a plug-in of its own for what the Dockerfile uses. */
const BUILDX_SINCE = 23;

/** The engine that runs on this machine, else one that is started here for root alone. */
export async function findEngine(request: EngineRequest): Promise<EngineAnswer> {
  const { install, say, signal } = request;
  const unavailable = (reason: string): EngineAnswer => ({ kind: "unavailable", reason });
  const isRoot = process.getuid?.() === 0;
  let clients = await findClients(signal);
  if (clients.kind === "ready" && (await answers(clients.docker, process.env, signal)))
    return { kind: "ready", engine: await openEngine(clients, process.env, null) };
  if (process.platform !== "linux" || !isRoot)
    return unavailable(
      "no container engine answers (docker info), and only root on Linux can start one here",
    );
  if (clients.kind === "missing" || !(await isThere("dockerd", signal))) {
    const reason = clients.kind === "missing" ? clients.reason : "dockerd is not installed";
    const how = `apt-get install ${PACKAGES.join(" ")}`;
    if (!existsSync("/etc/debian_version")) return unavailable(`${reason}, and this is no Debian`);
    if (!install) return unavailable(`${reason}: ${how}`);
    say(`${reason}: ${how}`);
    const problem = await installPackages(signal);
    if (problem !== null) return unavailable(`${reason}, and it can't be installed: ${problem}`);
    clients = await findClients(signal);
    if (clients.kind === "missing") return unavailable(clients.reason);
    // Its package may have started it.
    if (await answers(clients.docker, process.env, signal))
      return { kind: "ready", engine: await openEngine(clients, process.env, null) };
  }
  return await startEngine(clients, request);
}

interface Clients {
  readonly kind: "ready";
  readonly docker: string;
  readonly compose: readonly [string, ...string[]];
}

/** A docker command that can build what the Dockerfile asks for, and a compose. */
async function findClients(
  signal: AbortSignal,
): Promise<Clients | { readonly kind: "missing"; readonly reason: string }> {
  let reason = "docker is not installed";
  for (const docker of ["docker", "/usr/bin/docker"]) {
    const version = await run(docker, ["version", "--format", "{{.Client.Version}}"], { signal });
    const major = Number(/^(\d+)\./m.exec(version.stdout)?.[1] ?? Number.NaN);
    if (Number.isNaN(major)) continue;
    if (
      major >= BUILDX_SINCE &&
      (await run(docker, ["buildx", "version"], { signal })).code !== 0
    ) {
      reason = `docker ${major} has no buildx, which it needs for build secrets`;
      continue;
    }
    if ((await run(docker, ["compose", "version"], { signal })).code === 0)
      return { kind: "ready", docker, compose: [docker, "compose"] };
    if (await isThere("docker-compose", signal))
      return { kind: "ready", docker, compose: ["docker-compose"] };
    reason = "neither docker compose nor docker-compose is installed";
  }
  return { kind: "missing", reason };
}

async function isThere(command: string, signal: AbortSignal): Promise<boolean> {
  return (await run(command, ["--version"], { signal })).code === 0;
}

async function answers(
  docker: string,
  env: NodeJS.ProcessEnv,
  signal: AbortSignal,
): Promise<boolean> {
  const format = ["info", "--format", "{{.ServerVersion}}"];
  const { code, stdout } = await run(docker, format, { env, signal, timeoutMs: 15_000 });
  return code === 0 && /\d/.test(stdout);
}

/** @returns null when it worked, else why not */
async function installPackages(signal: AbortSignal): Promise<string | null> {
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  const apt = ["-o", "DPkg::Lock::Timeout=120"];
  for (const args of [["update"], ["install", "-y", "--no-install-recommends", ...PACKAGES]]) {
    const { code, stdout, stderr } = await run("apt-get", [...apt, ...args], {
      env,
      signal,
      timeoutMs: INSTALL_MS,
    });
    if (code !== 0) return `${stdout}${stderr}`.trim().split("\n").at(-1) ?? "apt-get failed";
  }
  return null;
}

async function openEngine(
  { docker, compose }: Clients,
  base: NodeJS.ProcessEnv,
  daemon: { readonly stop: () => Promise<void> } | null,
): Promise<Engine> {
  const env = { ...base, DOCKER_BUILDKIT: "1", COMPOSE_DOCKER_CLI_BUILD: "1" };
  const version = await must(docker, ["version", "--format", "{{.Server.Version}}"], { env });
  const [program, ...words] = compose;
  const composeVersion = await must(program, [...words, "version", "--short"], { env });
  const whose = daemon === null ? "that runs here" : "started for this run";
  return {
    description: `Docker ${version.trim()} ${whose}, compose ${composeVersion.trim()}`,
    startedHere: daemon !== null,
    docker: (args, options) => must(docker, args, { ...options, env }),
    dockerProgram: docker,
    compose,
    env,
    stop: async () => await daemon?.stop(),
  };
}

/**
 * An engine with its own socket and its own data, which changes nothing of this machine: no bridge of its own, no
 * packet filter rules, no forwarding. Ports are published by a proxy, and builds use the machine's network.
 * Where another engine has closed the way between bridges, ours has to open its own: then it does write rules.
 */
async function startEngine(clients: Clients, request: EngineRequest): Promise<EngineAnswer> {
  const { directory, signal } = request;
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const socket = `unix://${join(directory, "docker.sock")}`;
  const logFile = join(directory, "dockerd.log");
  const group = basename(resolve(directory, ".."));
  const removeGroup = makeContainerGroup(group);
  const paths = {
    "--host": socket,
    "--pidfile": join(directory, "dockerd.pid"),
    "--data-root": join(directory, "data"),
    "--exec-root": join(directory, "exec"),
    "--bridge": "none",
    "--cgroup-parent": `/${group}`,
  };
  const forward = await run("iptables", ["-S", "FORWARD"], { signal });
  const isClosed = forward.stdout.includes("-P FORWARD DROP");
  const rules = isClosed
    ? []
    : ["--iptables=false", "--ip6tables=false", "--ip-forward=false", "--ip-masq=false"];
  const daemon = ["dockerd", ...Object.entries(paths).flat(), ...rules];
  const running = await spawnLogged({
    name: "dockerd",
    // It ends with us, however we end.
    command: "setpriv",
    args: ["--pdeathsig", "TERM", ...daemon],
    logFile,
  });
  const env = { ...process.env, DOCKER_HOST: socket };
  const stop = async (): Promise<void> => {
    await endEngine(running, directory);
    removeGroup();
  };
  try {
    await waitUntil(
      async () => running.exit() !== null || (await answers(clients.docker, env, signal)),
      { timeoutMs: START_MS, what: "dockerd to answer", pollMs: 200, signal },
    );
    if (running.exit() !== null) throw new Error("dockerd ended");
  } catch (error) {
    const why = await lastComplaint(logFile);
    await stop();
    signal.throwIfAborted();
    return {
      kind: "unavailable",
      reason: `dockerd does not run here (${error instanceof Error ? error.message : String(error)}): ${why}`,
    };
  }
  return { kind: "ready", engine: await openEngine(clients, env, { stop }) };
}

async function endEngine(running: LoggedProcess, directory: string): Promise<void> {
  await running.stop();
  // What an engine that had to be killed leaves behind.
  const mounts = await readFile("/proc/self/mounts", "utf8");
  const left = mounts
    .split("\n")
    .map((line) => line.split(" ")[1] ?? "")
    .filter((path) => path.startsWith(`${directory}/`));
  for (const path of left.toReversed()) await run("umount", ["--lazy", path]);
  await rm(directory, { recursive: true, force: true });
}

async function lastComplaint(logFile: string): Promise<string> {
  const lines = (await readFile(logFile, "utf8").catch(() => "")).trim().split("\n");
  const last = lines.findLast((line) => /level=(error|fatal)|failed to start/.test(line));
  return last ?? lines.at(-1) ?? "it said nothing";
}
