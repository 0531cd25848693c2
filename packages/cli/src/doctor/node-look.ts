import { type NodeId, type PeerId, peerIdOf } from "@quorate/core";
import { createVoteSigner } from "@quorate/crypto-sodium";
import type { Clock, ClusterConfig, Presence, TallyStore } from "@quorate/ports";
import { StoreError } from "@quorate/ports";
import { type NodeSettings, pathBeside } from "@quorate/settings";
import {
  check,
  type Diagnosis,
  type DoctorCheck,
  diagnosisOf,
  notChecked,
  type Probe,
  probe,
} from "./check.ts";
import { checkClock, readClock } from "./clock.ts";
import { checkCluster, checkEtcdMembers, clustersIn } from "./etcd-look.ts";
import { checkJournal, checkSecretFile, readSeedFile } from "./key-file.ts";
import { checkMembership, checkTwin, checkVersions } from "./membership.ts";
import { askOwnApi, isRefusal } from "./own-api.ts";
import { checkPeers, dialTarget, reach } from "./peers.ts";
import { checkPorts, type Listen, listenProblem } from "./ports.ts";

/** What both kinds of process need of etcd. */
export type DoctorTally = Pick<TallyStore, "readConfig" | "readPresence" | "readBans">;

export interface CommonWorld {
  readonly clusterId: string;
  readonly etcdHosts: readonly string[];
  readonly tally: DoctorTally;
  readonly clock: Clock;
  /** Of this program. */
  readonly version: string;
}

/** What etcd and the nodes say, for both kinds of process. */
export interface CommonLook {
  readonly etcd: DoctorCheck;
  readonly cluster: DoctorCheck;
  readonly clock: DoctorCheck;
  readonly versions: DoctorCheck;
  readonly config: Probe<ClusterConfig>;
  readonly presence: Probe<readonly Presence[]>;
}

const ETCD_TIMEOUT_MS = 3_000;
/** Nodes whose clocks are asked for. */
const CLOCKS_MAX = 10;

/** @param self this node, whose own clock proves nothing; null for a submitter */
export async function lookAtCommon(world: CommonWorld, self: PeerId | null): Promise<CommonLook> {
  const { etcdHosts, tally, clock } = world;
  const [members, { config, uninitialised }] = await Promise.all([
    Promise.all(etcdHosts.map((host) => etcdMember(host, clock))),
    readConfig(tally),
  ]);
  const isUp = members.some(({ problem }) => problem === null) || config.ok || uninitialised;
  const presence: Probe<readonly Presence[]> = config.ok
    ? await probe((signal) => tally.readPresence({ signal }))
    : { ok: false, problem: isUp ? "the cluster is not known" : "etcd can't be asked" };
  const others = presence.ok ? presence.value.filter(({ peerId }) => peerId !== self) : [];
  const nodes = await Promise.all(
    others
      .flatMap((other) => {
        const url = apiFrom(other);
        return url === null ? [] : [{ nodeId: other.nodeId, url }];
      })
      .slice(0, CLOCKS_MAX)
      .map(({ nodeId, url }) => readClock(nodeId, `${url}/health`, clock)),
  );
  const readings = [...members.map((m) => m.reading), ...nodes].flatMap((r) =>
    r?.ok === true ? [r.value] : [],
  );
  return {
    etcd: checkEtcdMembers(members),
    cluster: await clusterCheck(world, config, uninitialised, isUp),
    clock: checkClock(readings),
    versions: presence.ok
      ? checkVersions(others, world.version)
      : notChecked("versions", presence.problem),
    config,
    presence,
  };
}

/** Where another node's API is for us; null when it is for its own machine only. */
export function apiFrom({
  apiUrl,
  addresses,
}: Pick<Presence, "apiUrl" | "addresses">): string | null {
  if (apiUrl === null || !URL.canParse(apiUrl)) return null;
  const { hostname, port } = new URL(apiUrl);
  const hosts = addresses.flatMap((address) => dialTarget(address)?.host ?? []);
  const isHere = hosts.every(isLoopback);
  // On another machine's loopback there is our own API, if any: its clock would be ours.
  if (isLoopback(hostname)) return isHere ? apiUrl : null;
  if (hostname !== "0.0.0.0" && hostname !== "[::]") return apiUrl;
  const host = hosts.find((one) => !isLoopback(one)) ?? hosts[0];
  if (host === undefined) return null;
  return `http://${host.includes(":") ? `[${host}]` : host}:${port}`;
}

function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || host === "[::1]" || host.startsWith("127.");
}

async function etcdMember(host: string, clock: Clock) {
  const name = new URL(host).host;
  const url = `${host.replace(/\/+$/, "")}/version`;
  const answers = await probe(async (signal) => {
    const response = await fetch(url, { signal });
    await response.body?.cancel();
  }, ETCD_TIMEOUT_MS);
  if (!answers.ok) return { host: name, problem: answers.problem, reading: null };
  return { host: name, problem: null, reading: await readClock(`etcd ${name}`, url, clock) };
}

async function readConfig(
  tally: DoctorTally,
): Promise<{ readonly config: Probe<ClusterConfig>; readonly uninitialised: boolean }> {
  let uninitialised = false;
  const config = await probe(async (signal) => {
    try {
      return await tally.readConfig({ signal });
    } catch (error) {
      uninitialised = error instanceof StoreError && error.code === "REFUSED";
      throw error;
    }
  });
  return { config, uninitialised };
}

async function clusterCheck(
  { clusterId, etcdHosts }: CommonWorld,
  config: Probe<ClusterConfig>,
  uninitialised: boolean,
  isUp: boolean,
): Promise<DoctorCheck> {
  if (config.ok) {
    const { epoch, threshold, trustees } = config.value.set;
    const set = { ok: true, epoch, threshold, trustees: trustees.length } as const;
    return checkCluster({ clusterId, set, others: null });
  }
  if (!isUp) return notChecked("cluster", "etcd can't be asked");
  const set = { ok: false, uninitialised, problem: config.problem } as const;
  const others = uninitialised ? await clustersOfAny(etcdHosts) : null;
  return checkCluster({ clusterId, set, others });
}

async function clustersOfAny(hosts: readonly string[]): Promise<readonly string[] | null> {
  for (const host of hosts) {
    const found = await probe(() => clustersIn(host), ETCD_TIMEOUT_MS);
    if (found.ok) return found.value;
  }
  return null;
}

/** Looks at every part a node needs, and changes nothing. */
export async function diagnoseNode(
  world: CommonWorld,
  settings: NodeSettings,
  file: string | null,
): Promise<Diagnosis> {
  const keyPath = pathBeside(file, settings.keyFile);
  const [keyFile, seed, ...journals] = await Promise.all([
    checkSecretFile("key file", keyPath),
    readSeedFile(keyPath),
    checkJournal("vote journal", pathBeside(file, settings.journalFile)),
    checkJournal("accusation journal", pathBeside(file, settings.accusationsFile)),
  ]);
  const peerId = seed.ok ? peerIdOf(createVoteSigner(seed.value).publicKey) : null;
  const common = await lookAtCommon(world, peerId);
  const own = ownPresence(common.presence, peerId);
  const listens = await listensOf(settings);
  const isBusy = listens.some(({ problem }) => problem === "EADDRINUSE");
  const runsHere =
    isBusy && ((own !== null && isThis(own, settings)) || (await answersHere(settings, peerId)));
  const twin = checkTwin({ presence: own, runsHere });
  return diagnosisOf([
    check("config", "ok", `node ${settings.nodeId}${file === null ? "" : ` (${file})`}`),
    keyFile,
    ...(seed.ok ? [] : keyFile.level === "ok" ? [check("key", "fail", seed.problem)] : []),
    ...journals,
    checkPorts(listens, runsHere),
    common.etcd,
    common.cluster,
    await membership(world, settings.nodeId, peerId, common),
    ...(twin === null ? [] : [twin]),
    common.clock,
    await peers(settings, common.presence, peerId),
    common.versions,
  ]);
}

function ownPresence(presence: Probe<readonly Presence[]>, peerId: PeerId | null): Presence | null {
  if (!presence.ok || peerId === null) return null;
  return presence.value.find((p) => p.peerId === peerId) ?? null;
}

/** Whether what etcd says of this key is the process on these ports. */
function isThis(own: Presence, { api, network }: NodeSettings): boolean {
  const ports = network.listen.map((address) => dialTarget(address)?.port);
  const announced = own.addresses.map((address) => dialTarget(address)?.port);
  const isApi = own.apiUrl !== null && Number(new URL(own.apiUrl).port) === api.port;
  return (
    isApi || announced.some((port) => port !== undefined && port !== 0 && ports.includes(port))
  );
}

/** For when etcd can't tell: whether this very node answers at its API's address. */
async function answersHere({ api }: NodeSettings, peerId: PeerId | null): Promise<boolean> {
  const own = await askOwnApi(api);
  return own !== null && (own.field("peerId") === peerId || isRefusal(own));
}

async function listensOf({ api, network }: NodeSettings) {
  const wanted: readonly Listen[] = [
    { setting: "api.port", host: api.host, port: api.port },
    ...network.listen.flatMap((address) => {
      const target = dialTarget(address);
      return target === null ? [] : [{ setting: "network.listen", ...target }];
    }),
  ];
  return await Promise.all(
    wanted.map(async ({ setting, host, port }) => ({
      setting,
      host,
      port,
      problem: await listenProblem({ setting, host, port }),
    })),
  );
}

async function membership(
  { tally }: CommonWorld,
  nodeId: NodeId,
  peerId: PeerId | null,
  { config }: CommonLook,
): Promise<DoctorCheck> {
  if (peerId === null) return notChecked("membership", "the key can't be read");
  if (!config.ok) return notChecked("membership", "the trustee set is not known");
  const bans = await probe((signal) => tally.readBans({ signal }));
  if (!bans.ok) return notChecked("membership", bans.problem);
  const bannedFor = bans.value.bans.get(peerId)?.reason ?? null;
  return checkMembership({ nodeId, peerId, set: config.value.set, bannedFor });
}

async function peers(
  { network }: NodeSettings,
  presence: Probe<readonly Presence[]>,
  self: PeerId | null,
): Promise<DoctorCheck> {
  const others = presence.ok ? presence.value.filter(({ peerId }) => peerId !== self) : [];
  const bootstrap = network.bootstrap.filter((address) => dialTarget(address)?.peerId !== self);
  const [live, first] = await Promise.all([
    Promise.all(others.map(({ nodeId, addresses }) => reach(nodeId, addresses))),
    Promise.all(bootstrap.map((address) => reach(address, [address]))),
  ]);
  return checkPeers(live, first);
}
