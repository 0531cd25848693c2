import { join } from "node:path";
import {
  type ClusterId,
  DEFAULT_PROTOCOL_CONFIG,
  type EvmAddress,
  type NodeId,
  type ProtocolConfig,
  type Trustee,
  type TrusteeSet,
} from "@quorate/core";
import { freePort, type LoggedProcess, type ProcessExit } from "@quorate/devkit";
import type { AbortOptions } from "@quorate/ports";
import { createLogger, systemClock } from "@quorate/telemetry";
import { loopbackAddresses } from "./addresses.ts";
import type { AppName } from "./app-command.ts";
import { awaitReady, startApp } from "./app-process.ts";
import { deployOnAnvil } from "./chain-setup.ts";
import { type ClusterPlan, planCluster, planJoin } from "./cluster-plan.ts";
import { LocalClusterError } from "./errors.ts";
import { initCluster } from "./init-cluster.ts";
import type { LocalServers } from "./local-servers.ts";
import { writeCluster } from "./write-cluster.ts";

export interface StartOptions extends AbortOptions {
  /** Added to its environment, for this run. */
  readonly env?: Readonly<Record<string, string>>;
}

/** One app of the cluster, in a process of its own. */
export interface LocalApp {
  readonly name: string;
  /** Of its HTTP API. */
  readonly url: string;
  readonly configFile: string;
  readonly logFile: string;
  /** Of the running process; of the last one when it is down; null when it never ran. */
  readonly pid: number | null;
  readonly running: boolean;
  /** Starts it if it does not run, and waits until it is ready. */
  start(options?: StartOptions): Promise<void>;
  /** Resolves when the process that runs now has ended, however; at once when none runs. */
  ended(): Promise<void>;
  /** Ends it in good order. Idempotent. */
  stop(options?: AbortOptions): Promise<void>;
  /** SIGKILL, as a crash would look. Idempotent. */
  kill(options?: AbortOptions): Promise<void>;
  /** SIGSTOP: its connections stay open, and it does nothing. */
  pause(options?: AbortOptions): Promise<void>;
  resume(options?: AbortOptions): Promise<void>;
  logTail(): Promise<string>;
}

/** A trustee's node. */
export interface LocalNode extends LocalApp {
  readonly nodeId: NodeId;
}

/** A node that was not there at the beginning. */
export interface AddedNode extends LocalNode {
  /** What an operator has to admit. */
  readonly trustee: Trustee;
}

export interface StartClusterParameters {
  readonly servers: LocalServers;
  /** Does not exist yet or is empty; keys, configurations and logs go there. */
  readonly directory: string;
  readonly clusterId: ClusterId;
  readonly trustees: number;
  readonly threshold: number;
  /** What differs from the defaults. */
  readonly protocol?: Partial<ProtocolConfig>;
  /** Blocks on top of one that make it final. Default 2. */
  readonly confirmations?: number;
  readonly logLevel?: "error" | "warn" | "info" | "debug";
  /** Absolute folder where each app records its steps, for `check:trace`. None by default. */
  readonly stepsDirectory?: string | undefined;
  /** Ports to use; free ones by default. */
  readonly ports?: Parameters<typeof loopbackAddresses>[0];
  /** Trustees whose process is not started; `start` on the node starts it later. */
  readonly absent?: readonly string[];
  /** False leaves the submitter out until its `start`. */
  readonly withSubmitter?: boolean;
  /** Told when a process ends that nobody stopped. */
  readonly onDeath?: (app: LocalApp, exit: ProcessExit) => void;
  /** Told as it goes. */
  readonly onProgress?: (message: string) => void;
  /** Cancels the start-up only. */
  readonly signal?: AbortSignal | undefined;
}

/** A whole cluster on this machine, each member a process. */
export interface LocalCluster {
  readonly clusterId: ClusterId;
  readonly directory: string;
  readonly set: TrusteeSet;
  readonly nodes: readonly LocalNode[];
  readonly submitter: LocalApp;
  readonly recorder: { readonly address: EvmAddress; readonly blockNumber: bigint };
  readonly submitterAddress: EvmAddress;
  /**
   * Starts one more node, with a key of its own and a single bootstrap address. It is on the network
   * and no trustee: it is ready only once an operator admits it. `start` waits for that, `stop` of the cluster ends it too.
   */
  addNode(nodeId: NodeId, options?: AbortOptions): Promise<AddedNode>;
  /** The submitter, then the nodes together. Idempotent. The servers stay. */
  stop(options?: AbortOptions): Promise<void>;
}

// Two cores shared with other clusters' starts.
const READY_TIMEOUT_MS = 60_000;

/**
 * Makes a cluster (new keys), puts its contract on the chain and its trustee set into etcd, and
 * starts a node for each trustee and the submitter, all on 127.0.0.1. Resolves when each is ready.
 * @throws LocalClusterError, DevkitError; what was started is then stopped again.
 */
export async function startCluster(parameters: StartClusterParameters): Promise<LocalCluster> {
  const { servers, directory, trustees, signal, onProgress } = parameters;
  const ports = parameters.ports ?? (await freePorts(trustees, { signal }));
  const chainOptions = (contractAddress: EvmAddress | null) => ({
    rpcUrls: [servers.anvil.rpcUrl],
    chainId: servers.anvil.chainId,
    contractAddress,
    finality: { kind: "confirmations", blocks: parameters.confirmations ?? 2 } as const,
    pollMs: 250,
  });
  const planned = planCluster(
    {
      clusterId: parameters.clusterId,
      trustees,
      threshold: parameters.threshold,
      protocol: { ...DEFAULT_PROTOCOL_CONFIG, ...parameters.protocol },
      etcdHosts: servers.etcd.endpoints,
      postgresUrl: servers.postgres.url,
      chain: chainOptions(null),
      logLevel: parameters.logLevel ?? "info",
    },
    () => loopbackAddresses(ports),
  );
  if (!planned.ok)
    throw new LocalClusterError(
      "CLUSTER_FILE_INVALID",
      `no such cluster: ${planned.error.join("; ")}`,
    );
  const plan = planned.value;
  const recorder = await prepare(plan, parameters);
  await writeCluster(withContract(plan, recorder.address), directory, { signal });
  onProgress?.(`contract ${recorder.address} deployed, trustee set written to etcd`);

  const nodes = plan.set.trustees.map(({ nodeId }): LocalNode & Managed => {
    const index = Number(nodeId.split("-").at(-1)) - 1;
    const port = ports.nodes[index]?.api ?? 0;
    const app = managedApp(parameters, { app: "@quorate/node", name: nodeId, port });
    return Object.assign(app, { nodeId });
  });
  const byNumber = nodes.toSorted((a, b) => a.name.localeCompare(b.name, "en", { numeric: true }));
  const submitter = managedApp(parameters, {
    app: "@quorate/submitter",
    name: "submitter",
    port: ports.submitterApi,
  });
  const added: LocalNode[] = [];
  const stop = async (options: AbortOptions = {}): Promise<void> => {
    await submitter.stop(options);
    await Promise.all([...byNumber, ...added].map((node) => node.stop(options)));
  };
  const [first] = plan.set.trustees;
  const bootstrap = `/ip4/127.0.0.1/tcp/${ports.nodes[0]?.network}/p2p/${first?.peerId}`;
  try {
    const expected = byNumber.filter((node) => parameters.absent?.includes(node.name) !== true);
    const wanted = parameters.withSubmitter === false ? expected : [...expected, submitter];
    await launchTogether(wanted, parameters);
  } catch (error) {
    await stop().catch(() => {});
    throw error;
  }
  return {
    clusterId: parameters.clusterId,
    directory,
    set: plan.set,
    nodes: byNumber,
    submitter,
    recorder,
    submitterAddress: plan.submitterAddress,
    addNode: async (nodeId, options) => {
      const node = await launchJoiner(parameters, nodeId, bootstrap, options);
      added.push(node);
      return node;
    },
    stop,
  };
}

/** @param bootstrap the one address that the node is told */
async function launchJoiner(
  parameters: StartClusterParameters,
  nodeId: NodeId,
  bootstrap: string,
  options: AbortOptions = {},
): Promise<AddedNode> {
  const { servers, directory, clusterId, protocol } = parameters;
  const api = { host: "127.0.0.1", port: await freePort(options) };
  const { trustee, files } = planJoin({
    clusterId,
    nodeId,
    etcdHosts: servers.etcd.endpoints,
    bootstrap: [bootstrap],
    listen: `/ip4/127.0.0.1/tcp/${await freePort(options)}`,
    api,
    ...(protocol === undefined ? {} : { protocol }),
  });
  await writeCluster({ files }, join(directory, nodeId), options);
  const app = managedApp(parameters, { app: "@quorate/node", name: nodeId, port: api.port });
  await app.launch();
  return Object.assign(app, { nodeId, trustee });
}

async function freePorts(
  trustees: number,
  options: AbortOptions,
): Promise<Parameters<typeof loopbackAddresses>[0]> {
  const submitterApi = await freePort(options);
  const nodes = [];
  for (let i = 0; i < trustees; i++)
    nodes.push({ network: await freePort(options), api: await freePort(options) });
  return { submitterApi, nodes };
}

/** Contract and trustee set, side by side: the first waits for a block. */
async function prepare(
  plan: ClusterPlan,
  { servers, signal }: StartClusterParameters,
): Promise<LocalCluster["recorder"]> {
  const dependencies = {
    clock: systemClock(),
    logger: createLogger({ level: "error", pretty: false, destination: "stderr" }),
  };
  const [{ address, blockNumber }, outcome] = await Promise.all([
    deployOnAnvil(servers.anvil, plan.submitterAddress, dependencies, { signal }),
    initCluster(plan.set, servers.etcd.endpoints, { signal }),
  ]);
  if (outcome !== "created")
    throw new LocalClusterError(
      "CLUSTER_FILE_INVALID",
      `etcd holds a cluster ${plan.set.clusterId} already; choose another cluster id`,
    );
  return { address, blockNumber };
}

/** The plan with the contract's address in the submitter's file. */
function withContract(plan: ClusterPlan, contractAddress: EvmAddress): ClusterPlan {
  const files = plan.files.map((file) => {
    if (file.path !== "submitter/submitter.json") return file;
    const config: { chain: object } = JSON.parse(file.content);
    const content = { ...config, chain: { ...config.chain, contractAddress } };
    return { ...file, content: `${JSON.stringify(content, null, 2)}\n` };
  });
  return { ...plan, files };
}

interface Managed {
  launch(env?: StartOptions["env"]): Promise<void>;
  awaitReady(options?: AbortOptions): Promise<void>;
}

/** All processes first, then the waits: nodes become ready only once they see each other. */
async function launchTogether(
  apps: readonly (LocalApp & Managed)[],
  { signal }: StartClusterParameters,
): Promise<void> {
  const givenUp = new AbortController();
  const either = signal === undefined ? givenUp.signal : AbortSignal.any([signal, givenUp.signal]);
  for (const app of apps) await app.launch();
  try {
    await Promise.all(apps.map((app) => app.awaitReady({ signal: either })));
  } catch (error) {
    givenUp.abort(error);
    signal?.throwIfAborted();
    throw error;
  }
}

function managedApp(
  { directory, onDeath, stepsDirectory }: StartClusterParameters,
  { app, name, port }: { readonly app: AppName; readonly name: string; readonly port: number },
): LocalApp & Managed {
  const url = `http://127.0.0.1:${port}`;
  const file = app === "@quorate/node" ? "node.json" : "submitter.json";
  const configFile = join(directory, name, file);
  const logFile = join(directory, `${name}.log`);
  let current: LoggedProcess | null = null;
  let wanted = false;
  const end = async (how: "stop" | "kill", options?: AbortOptions): Promise<void> => {
    wanted = false;
    await current?.[how](options);
  };
  const self: LocalApp & Managed = {
    name,
    url,
    configFile,
    logFile,
    get pid() {
      return current?.pid ?? null;
    },
    get running() {
      return current !== null && current.exit() === null;
    },
    ended: async () => {
      await current?.exited;
    },
    launch: async (env) => {
      if (self.running) return;
      const steps = stepsDirectory === undefined ? {} : { QUORATE_STEPS_DIRECTORY: stepsDirectory };
      const started = await startApp({ app, name, configFile, logFile, env: { ...steps, ...env } });
      current = started;
      wanted = true;
      void started.exited.then((exit) => {
        if (wanted && current === started) onDeath?.(self, exit);
      });
    },
    awaitReady: async (options) => {
      if (current === null) throw new LocalClusterError("APP_ENDED", `${name} was not started`);
      await awaitReady(current, { name, url, timeoutMs: READY_TIMEOUT_MS }, options);
    },
    start: async (options) => {
      await self.launch(options?.env);
      await self.awaitReady(options);
    },
    stop: (options) => end("stop", options),
    kill: (options) => end("kill", options),
    pause: async (options) => await current?.pause(options),
    resume: async (options) => await current?.resume(options),
    logTail: async () => (await current?.logTail()) ?? "",
  };
  return self;
}
