import { createHash, randomBytes } from "node:crypto";
import { join } from "node:path";
import { deployRecorder } from "@quorate/chain-evm";
import {
  DEFAULT_PROTOCOL_CONFIG,
  type ProtocolConfig,
  parseClusterId,
  parseEvmAddress,
  type TrusteeSet,
  unwrap,
} from "@quorate/core";
import { freePort } from "@quorate/devkit";
import {
  type ClusterPlan,
  initCluster,
  type LocalServers,
  type NodeAddresses,
  type PlannedFile,
  planCluster,
  writeCluster,
} from "@quorate/localcluster";
import { createLogger, systemClock } from "@quorate/telemetry";
import { rpc } from "./json-rpc.ts";
import { PLAIN, type Placement, RigProcess } from "./rig-process.ts";

/** 1,000 ether: more than any run spends. */
const FUNDS_WEI = "0x3635c9adc5dea00000";
export const CONFIRMATIONS = 2;

/** Where a node lives, when it is not simply on this machine. */
export interface Seat {
  readonly addresses: NodeAddresses;
  readonly etcdHosts: readonly string[];
  readonly placement: Placement;
}

export interface RigRequest {
  readonly servers: LocalServers;
  readonly directory: string;
  readonly clusterId: string;
  readonly trustees: number;
  readonly threshold: number;
  readonly submitters: number;
  readonly protocol?: Partial<ProtocolConfig>;
  /** By the trustee's number, from 0. Default: on 127.0.0.1, with nothing in between. */
  readonly seatOf?: (index: number) => Seat | null;
  /** For nodes without a seat of their own. */
  readonly placementOf?: (index: number) => Placement;
  /** Trustees, by number from 0, whose nodes never run: their keys are in other hands. */
  readonly absent?: readonly number[];
  /** Added to every node's settings. */
  readonly nodeSettings?: Readonly<Record<string, unknown>>;
  readonly submitterSettings?: Readonly<Record<string, unknown>>;
  readonly rpcUrls?: readonly string[];
  /** Where every process records its steps on durable state. */
  readonly stepsDirectory?: string;
  readonly signal: AbortSignal;
}

export interface RigNode extends RigProcess {
  readonly nodeId: string;
  readonly peerId: string;
  /** Multiaddr with the peer id at its end. */
  readonly address: string;
}

/** A cluster of processes of its own on servers that several share: nodes, a submitter and its standbys, a contract. */
export interface Rig {
  readonly clusterId: string;
  readonly directory: string;
  readonly schema: string;
  readonly set: TrusteeSet;
  readonly threshold: number;
  readonly nodes: readonly RigNode[];
  readonly submitters: readonly RigProcess[];
  readonly servers: LocalServers;
  readonly contract: { readonly address: string; readonly blockNumber: bigint };
  readonly senderAddress: string;
  /** Opens the API of nodes that are not on loopback. */
  readonly token: string;
  /** The submitter that leads, by its own metrics; null while none does. */
  leader(): Promise<RigProcess | null>;
  stop(): Promise<void>;
}

/** Keys, contract, trustee set, then all processes at once. @throws when one of them does not get ready */
export async function startRig(request: RigRequest): Promise<Rig> {
  const { servers, trustees, threshold, directory } = request;
  const clusterId = unwrap(parseClusterId(request.clusterId));
  const seats = await seatsOf(request);
  const apis: number[] = [];
  for (let i = 0; i < request.submitters; i++) apis.push(await freePort());
  const planned = planCluster(
    {
      clusterId,
      trustees,
      threshold,
      protocol: { ...DEFAULT_PROTOCOL_CONFIG, ...request.protocol },
      etcdHosts: servers.etcd.endpoints,
      postgresUrl: servers.postgres.url,
      chain: {
        rpcUrls: request.rpcUrls ?? [servers.anvil.rpcUrl],
        chainId: servers.anvil.chainId,
        contractAddress: null,
        finality: { kind: "confirmations", blocks: CONFIRMATIONS },
        pollMs: 250,
      },
      logLevel: "info",
    },
    () => ({
      nodes: seats.map(({ addresses }) => addresses),
      submitterApi: { host: "127.0.0.1", port: apis[0] ?? 0 },
    }),
  );
  if (!planned.ok) throw new Error(`no such cluster: ${planned.error.join("; ")}`);
  const plan = planned.value;
  const token = `qrt_${randomBytes(32).toString("base64url")}`;
  const schema = `rig_${request.clusterId.replaceAll("-", "_")}`;
  const contract = await deploy(servers, plan.submitterAddress);
  const made = await initCluster(plan.set, servers.etcd.endpoints, { signal: request.signal });
  if (made !== "created") throw new Error(`etcd knows a cluster ${clusterId} already`);
  const extra = { seats, token, schema, apis, contract, request };
  await writeCluster({ files: filesOf(plan, extra) }, directory, { signal: request.signal });

  const nodes = plan.set.trustees
    .map((trustee): RigNode => {
      const index = numberOf(trustee.nodeId);
      const seat = seats[index];
      if (seat === undefined) throw new Error(`${trustee.nodeId} has no seat`);
      const { host, port } = seat.addresses.api;
      const name = trustee.nodeId;
      const app = new RigProcess({
        app: "@quorate/node",
        name,
        url: `http://${host}:${port}`,
        configFile: join(directory, name, "node.json"),
        logFile: join(directory, `${name}.log`),
        placement: seat.placement,
      });
      const { nodeId, peerId } = trustee;
      const address = `${seat.addresses.reachable}/p2p/${peerId}`;
      return Object.assign(app, { nodeId, peerId, address });
    })
    .toSorted((a, b) => numberOf(a.nodeId) - numberOf(b.nodeId));
  const submitters = apis.map((port, i) => {
    const name = submitterName(i);
    return new RigProcess({
      app: "@quorate/submitter",
      name,
      url: `http://127.0.0.1:${port}`,
      configFile: join(directory, name, "submitter.json"),
      logFile: join(directory, `${name}.log`),
    });
  });
  const wanted = nodes.filter((_, index) => request.absent?.includes(index) !== true);
  const everything = [...wanted, ...submitters];
  const stop = async (): Promise<void> => {
    await Promise.all(submitters.map((app) => app.stop()));
    await Promise.all(nodes.map((node) => node.stop()));
  };
  try {
    for (const app of everything) await app.launch();
    await Promise.all(everything.map((app) => app.ready()));
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    clusterId,
    directory,
    schema,
    set: plan.set,
    threshold,
    nodes,
    submitters,
    servers,
    contract,
    senderAddress: plan.submitterAddress,
    token,
    leader: async () => {
      for (const app of submitters)
        if (app.running && (await metricOf(app.url, "submitter_leader")) === 1) return app;
      return null;
    },
    stop,
  };
}

/** A trustee's number, from 0. */
export const numberOf = (nodeId: string): number => Number(nodeId.split("-").at(-1)) - 1;

const submitterName = (index: number): string =>
  index === 0 ? "submitter" : `submitter-${index + 1}`;

/** The sum of a metric's series whose labels have these values; 0 when the process does not answer. */
export async function metricOf(
  url: string,
  name: string,
  labels: Readonly<Record<string, string>> = {},
): Promise<number> {
  const text = await fetch(`${url}/metrics`, { signal: AbortSignal.timeout(5_000) })
    .then((response) => response.text())
    .catch(() => "");
  let sum = 0;
  for (const line of text.split("\n")) {
    const match = /^([a-zA-Z_:]+)(?:\{(.*)\})? (\S+)$/.exec(line);
    if (match?.[1] !== name) continue;
    const has = (label: string, value: string): boolean =>
      (match[2] ?? "").split(",").includes(`${label}="${value}"`);
    if (Object.entries(labels).every(([label, value]) => has(label, value)))
      sum += Number(match[3]);
  }
  return sum;
}

async function seatsOf(request: RigRequest): Promise<readonly Seat[]> {
  const seats: Seat[] = [];
  for (let index = 0; index < request.trustees; index++) {
    const own = request.seatOf?.(index) ?? null;
    if (own !== null) {
      seats.push(own);
      continue;
    }
    const listen = `/ip4/127.0.0.1/tcp/${await freePort()}`;
    seats.push({
      addresses: {
        listen,
        reachable: listen,
        api: { host: "127.0.0.1", port: await freePort() },
      },
      etcdHosts: request.servers.etcd.endpoints,
      placement: request.placementOf?.(index) ?? PLAIN,
    });
  }
  return seats;
}

interface Extra {
  readonly seats: readonly Seat[];
  readonly token: string;
  readonly schema: string;
  readonly apis: readonly number[];
  readonly contract: Rig["contract"];
  readonly request: RigRequest;
}

/** The planned files with what a rig adds: seats, tokens, the contract, the standbys. */
function filesOf(plan: ClusterPlan, extra: Extra): readonly PlannedFile[] {
  const { seats, token, schema, apis, contract, request } = extra;
  const changed = (file: PlannedFile, change: (config: Json) => Json): PlannedFile => ({
    ...file,
    content: `${JSON.stringify(change(JSON.parse(file.content)), null, 2)}\n`,
  });
  const { stepsDirectory } = request;
  const steps = stepsDirectory === undefined ? {} : { steps: { directory: stepsDirectory } };
  const sha256 = createHash("sha256").update(token).digest("hex");
  const tokens = `${JSON.stringify([{ name: "chaos", role: "vote", sha256 }])}\n`;
  return plan.files.flatMap((file): readonly PlannedFile[] => {
    if (file.path.endsWith("/node.json")) {
      const seat = seats[numberOf(file.path.slice(0, -"/node.json".length))];
      const away = seat !== undefined && seat.addresses.api.host !== "127.0.0.1";
      const node = changed(file, (config) => ({
        ...config,
        etcd: { hosts: seat?.etcdHosts },
        ...(away ? { api: { ...seat.addresses.api, tokensFile: "tokens.json" } } : {}),
        ...steps,
        ...request.nodeSettings,
      }));
      const path = file.path.replace("node.json", "tokens.json");
      return away ? [node, { path, content: tokens, secret: true }] : [node];
    }
    if (!file.path.startsWith("submitter/")) return [file];
    return apis.map((port, index) => {
      const path = file.path.replace("submitter/", `${submitterName(index)}/`);
      if (!file.path.endsWith("submitter.json")) return { ...file, path };
      return changed({ ...file, path }, (config) => ({
        ...config,
        postgres: { ...config["postgres"], schema },
        chain: {
          ...config["chain"],
          contractAddress: contract.address,
          deployedAtBlock: Number(contract.blockNumber),
        },
        api: { host: "127.0.0.1", port },
        ...steps,
        ...request.submitterSettings,
      }));
    });
  });
}

type Json = Record<string, Record<string, unknown>>;

async function deploy({ anvil }: LocalServers, submitter: string): Promise<Rig["contract"]> {
  const deployerKey = anvil.accounts[0]?.privateKey;
  if (deployerKey === undefined) throw new Error("Anvil has no account to deploy with");
  await rpc(anvil.rpcUrl, "anvil_setBalance", [submitter, FUNDS_WEI]);
  const logger = createLogger({ level: "error", pretty: false, destination: "stderr" });
  const recorder = await deployRecorder(
    {
      rpcUrl: anvil.rpcUrl,
      chainId: anvil.chainId,
      deployerKey,
      submitter: unwrap(parseEvmAddress(submitter)),
    },
    { clock: systemClock(), logger },
  );
  return { address: recorder.address, blockNumber: recorder.blockNumber };
}
