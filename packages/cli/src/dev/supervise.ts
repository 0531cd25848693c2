import { mkdir, readdir, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { setInterval } from "node:timers/promises";
import { parseClusterId, unwrap } from "@quorate/core";
import { locateEtcd, stopAll } from "@quorate/devkit";
import {
  BASE_PORT_DEFAULT,
  type LocalApp,
  type LocalCluster,
  type LocalServers,
  portsFrom,
  startCluster,
  startLocalServers,
} from "@quorate/localcluster";
import { schemaOf } from "@quorate/store-postgres";
import { CliError, describeError, EXIT } from "../failure.ts";
import type { Terminal } from "../terminal.ts";
import { isAlive, processRef } from "./process-ref.ts";
import {
  type DevComponent,
  type DevState,
  type DevSummary,
  readState,
  writeState,
} from "./state.ts";

export interface SuperviseOptions {
  readonly directory: string;
  readonly trustees: number;
  readonly threshold: number;
  readonly etcd: 1 | 3;
}

export interface SuperviseHooks {
  readonly terminal: Terminal;
  readonly onReady: (summary: DevSummary) => void;
}

const CLUSTER_ID = unwrap(parseClusterId("dev"));
const RUN_PREFIX = "run-";
const WATCH_INTERVAL_MS = 1_000;
/** All of the stopping, in ms; afterwards what is left is killed. */
const STOP_BUDGET_MS = 28_000;

/** Runs a whole cluster until a signal comes, then stops it in order. @returns the exit code */
export async function supervise(options: SuperviseOptions, hooks: SuperviseHooks): Promise<number> {
  const { directory } = options;
  const { terminal } = hooks;
  const signals = listenForSignals(terminal);
  const self = await processRef(process.pid);
  if (self === null) throw new CliError("this system does not tell when a process started");
  const runDirectory = await prepareDirectory(directory);
  let state: DevState = {
    version: 1,
    phase: "starting",
    error: null,
    supervisor: self,
    components: [],
    summary: null,
  };
  const update = async (change: Partial<DevState>): Promise<void> => {
    state = { ...state, ...change };
    await writeState(directory, state);
  };
  await update({});
  let servers: LocalServers | null = null;
  let cluster: LocalCluster | null = null;
  try {
    servers = await startLocalServers({
      directory: join(runDirectory, "servers"),
      etcdMembers: options.etcd,
      onStarted: (what) => terminal.note(`${what} is up`),
      signal: signals.stop,
    });
    await update({ components: await serverComponents(servers) });
    cluster = await startDevCluster(options, runDirectory, servers, terminal, signals.stop);
    const summary = await summaryOf(runDirectory, servers, cluster);
    await update({
      phase: "ready",
      summary,
      components: [...state.components, ...(await appComponents(cluster))],
    });
    hooks.onReady(summary);
    await watchServers(state.components, terminal, signals.stop);
    await update({ phase: "stopping" });
    await stopEverything(cluster, servers, terminal);
    await update({ phase: "stopped" });
    return EXIT.ok;
  } catch (error) {
    const wanted = signals.stop.aborted;
    const message = wanted
      ? "stopped while it was starting"
      : describeError(error, { debug: false });
    await stopEverything(cluster, servers, terminal);
    await update({ phase: wanted ? "stopped" : "failed", error: message });
    if (wanted) return EXIT.ok;
    throw error;
  } finally {
    signals.forget();
  }
}

/** The first signal asks for an orderly stop, the second ends at once (children included). */
function listenForSignals(terminal: Terminal): { readonly stop: AbortSignal; forget(): void } {
  const stop = new AbortController();
  const onSignal = (signal: NodeJS.Signals): void => {
    if (stop.signal.aborted) process.exit(EXIT.failed);
    terminal.note(`\n${signal}: stopping everything (again to end at once)…`);
    stop.abort(new Error(signal));
  };
  const names = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
  for (const name of names) process.on(name, onSignal);
  return {
    stop: stop.signal,
    forget: () => {
      for (const name of names) process.off(name, onSignal);
    },
  };
}

/** A run's own folder, so that no old data is taken for new. Earlier runs are removed. */
async function prepareDirectory(directory: string): Promise<string> {
  await mkdir(directory, { recursive: true });
  const entries = await readdir(directory);
  const known = (name: string): boolean =>
    name.startsWith(RUN_PREFIX) || name.startsWith("state.json") || name === "supervisor.log";
  const foreign = entries.find((name) => !known(name));
  if (foreign !== undefined && (await readState(directory)) === null)
    throw new CliError(
      `${directory} holds something else (${foreign}); choose another directory with --dir`,
    );
  for (const name of entries.filter((entry) => entry.startsWith(RUN_PREFIX)))
    await rm(join(directory, name), { recursive: true, force: true });
  const run = join(directory, `${RUN_PREFIX}${Date.now()}-${process.pid}`);
  await mkdir(run);
  return run;
}

async function startDevCluster(
  { trustees, threshold }: SuperviseOptions,
  runDirectory: string,
  servers: LocalServers,
  terminal: Terminal,
  signal: AbortSignal,
): Promise<LocalCluster> {
  const ports = portsFrom(BASE_PORT_DEFAULT, trustees);
  const all = [ports.submitterApi, ...ports.nodes.flatMap((node) => [node.network, node.api])];
  const usual = (await Promise.all(all.map(isFree))).every(Boolean);
  if (!usual) terminal.note("the usual ports are taken; free ones are used");
  return await startCluster({
    servers,
    directory: join(runDirectory, "cluster"),
    clusterId: CLUSTER_ID,
    trustees,
    threshold,
    ...(usual ? { ports } : {}),
    onProgress: (message) => terminal.note(message),
    onDeath: (app, exit) => void reportDeath(app, exit.code ?? exit.signal, terminal),
    signal,
  });
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen({ host: "127.0.0.1", port, exclusive: true }, () =>
      server.close(() => resolve(true)),
    );
  });
}

async function reportDeath(
  app: LocalApp,
  how: number | string | null,
  terminal: Terminal,
): Promise<void> {
  terminal.note(
    `${terminal.style.bad(`${app.name} ended by itself (${how})`)}; its log is ${app.logFile}:\n${await app.logTail()}`,
  );
}

/** Until the signal: says when a server's process is gone. The apps say so themselves. */
async function watchServers(
  components: readonly DevComponent[],
  terminal: Terminal,
  signal: AbortSignal,
): Promise<void> {
  const servers = components.filter((c) => c.kind !== "node" && c.kind !== "submitter");
  const gone = new Set<string>();
  try {
    for await (const _tick of setInterval(WATCH_INTERVAL_MS, undefined, { signal }))
      for (const server of servers) {
        if (gone.has(server.name) || (await isAlive(server.process))) continue;
        gone.add(server.name);
        terminal.note(
          `${terminal.style.bad(`${server.name} ended by itself`)}; its log is ${server.logFile}`,
        );
      }
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}

/** Submitter, nodes, Anvil, PostgreSQL, etcd; what does not end in time is killed with this process. */
async function stopEverything(
  cluster: LocalCluster | null,
  servers: LocalServers | null,
  terminal: Terminal,
): Promise<void> {
  const signal = AbortSignal.timeout(STOP_BUDGET_MS);
  const step = async (work: Promise<void> | undefined): Promise<void> => {
    await work?.catch((error: unknown) =>
      terminal.note(`stopping: ${describeError(error, { debug: false })}`),
    );
  };
  await step(cluster?.stop({ signal }));
  await step(servers?.stop({ signal }));
  // What a failed start may have left.
  await step(stopAll({ signal }));
}

async function serverComponents(servers: LocalServers): Promise<readonly DevComponent[]> {
  const { etcd, postgres, anvil } = servers;
  return await Promise.all([
    ...etcd.members.map(({ name, clientUrl, pid, logFile }) =>
      component({ name, kind: "etcd", url: clientUrl, pid, logFile }),
    ),
    component({ ...postgres, name: "postgres", kind: "postgres" }),
    component({ ...anvil, url: anvil.rpcUrl, name: "anvil", kind: "anvil" }),
  ]);
}

async function appComponents(cluster: LocalCluster): Promise<readonly DevComponent[]> {
  return await Promise.all([
    ...cluster.nodes.map((node) => component({ ...pick(node), name: node.nodeId, kind: "node" })),
    component({ ...pick(cluster.submitter), name: "submitter", kind: "submitter" }),
  ]);
}

// A spread would take the value of a getter, which is what is wanted here, but all of an app as well.
function pick({ url, pid, logFile }: LocalApp): { url: string; pid: number; logFile: string } {
  return { url, pid: pid ?? -1, logFile };
}

async function component(parts: {
  readonly name: string;
  readonly kind: DevComponent["kind"];
  readonly url: string;
  readonly pid: number;
  readonly logFile: string;
}): Promise<DevComponent> {
  const { name, kind, url, pid, logFile } = parts;
  const ref = await processRef(pid);
  if (ref === null) throw new CliError(`${name} ended just after it was ready; see ${logFile}`);
  return { name, kind, url, process: ref, logFile };
}

async function summaryOf(
  directory: string,
  { etcd, postgres, anvil }: LocalServers,
  cluster: LocalCluster,
): Promise<DevSummary> {
  const { etcdctl } = await locateEtcd();
  const { submitter } = cluster;
  return {
    clusterId: cluster.clusterId,
    directory,
    threshold: cluster.set.threshold,
    nodes: cluster.nodes.map(({ nodeId, url, pid, logFile }) => ({ nodeId, url, pid, logFile })),
    submitter: { url: submitter.url, pid: submitter.pid, logFile: submitter.logFile },
    etcd: { endpoints: etcd.endpoints, etcdctl },
    postgres: { url: postgres.url, schema: schemaOf(cluster.clusterId), psql: postgres.psql },
    chain: {
      rpcUrl: anvil.rpcUrl,
      chainId: anvil.chainId,
      contractAddress: cluster.recorder.address,
      submitterAddress: cluster.submitterAddress,
    },
  };
}
