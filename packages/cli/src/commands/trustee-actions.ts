import {
  addTrustee,
  changeThreshold,
  type EvmAddress,
  type NodeId,
  type ParseError,
  type PeerId,
  parseEvmAddress,
  parseNodeId,
  parsePeerId,
  publicKeyOf,
  type Result,
  removeTrustee,
  type Trustee,
  type TrusteeChange,
  type TrusteeSet,
} from "@quorate/core";
import { changeTrustees, drainTrustee } from "@quorate/engine";
import { withClusterStore } from "@quorate/localcluster";
import type { BanEntry, Clock, Presence, TallyStore } from "@quorate/ports";
import { systemClock } from "@quorate/telemetry";
import { CliError, EXIT, usageErrors } from "../failure.ts";
import {
  type ClusterMembers,
  membersJson,
  renderChange,
  renderMembers,
  setJson,
  warningsOf,
} from "../render/trustees.ts";
import { jsonDocument, type Terminal } from "../terminal.ts";
import { clusterIdOf } from "./trustee-cluster.ts";

interface ClusterOptions {
  readonly etcd: readonly string[];
  readonly cluster: string;
  readonly json?: true;
}

export interface ListOptions extends ClusterOptions {
  readonly epochs?: true;
}

export interface ThresholdOptions extends ClusterOptions {
  readonly dryRun?: true;
}

export interface RemoveOptions extends ThresholdOptions {
  readonly threshold?: number;
  readonly wait?: true;
}

export interface AddOptions extends ThresholdOptions {
  readonly peerId: string;
  readonly evmAddress: string;
  readonly threshold?: number;
}

/** What these commands need of the world. */
export interface TrusteeWorld {
  readonly withStore: typeof withClusterStore;
  readonly clock: Clock;
}

export function realWorld(): TrusteeWorld {
  return { withStore: withClusterStore, clock: systemClock() };
}

export async function listTrustees(
  options: ListOptions,
  terminal: Terminal,
  world: TrusteeWorld,
): Promise<number> {
  const members = await inCluster(options, world, readMembers);
  if (options.json === true) terminal.data(jsonDocument(membersJson(members, options)));
  else terminal.data(renderMembers(members, options, terminal.dataStyle));
  warn(members.config.set, terminal);
  return EXIT.ok;
}

export async function addTrusteeAction(
  name: string,
  options: AddOptions,
  terminal: Terminal,
  world: TrusteeWorld,
): Promise<number> {
  const trustee = checkAdd(name, options);
  return await inCluster(options, world, async (store) => {
    const { presence, bans } = await readMembers(store);
    const edit = (set: TrusteeSet): TrusteeChange => {
      const change = addTrustee(set, trustee, options.threshold);
      const problems = [
        ...(change.ok ? [] : change.error),
        ...againstPeer(trustee, presence, bans),
      ];
      return problems.length === 0 ? change : { ok: false, error: problems };
    };
    const code = await change(edit, { store, options, terminal, world });
    const seen = presence.some(({ peerId }) => peerId === trustee.peerId);
    // A peer id has no checksum: a wrong letter makes a trustee that nobody is.
    if (!seen)
      terminal.note(
        terminal.style.warn(
          `warning: no node with peer id ${trustee.peerId} is on the network: compare it with the one that its node says, and start the node`,
        ),
      );
    return code;
  });
}

export async function removeTrusteeAction(
  name: string,
  options: RemoveOptions,
  terminal: Terminal,
  world: TrusteeWorld,
): Promise<number> {
  const nodeId = takeAll((take) => take(parseNodeId(name), "node id"));
  return await inCluster(options, world, async (store) => {
    const { set, sets } = await store.readConfig();
    const leaving =
      set.byNodeId.get(nodeId) ??
      [...sets.values()].findLast((s) => s.byNodeId.has(nodeId))?.byNodeId.get(nodeId);
    const again = !set.byNodeId.has(nodeId) && leaving !== undefined;
    if (again && options.wait === true && options.dryRun !== true)
      terminal.note(`${nodeId} is not a trustee of epoch ${set.epoch} any more`);
    else {
      const edit = (now: TrusteeSet): TrusteeChange =>
        removeTrustee(now, nodeId, options.threshold);
      const drains = options.wait === true;
      await change(edit, { store, options, terminal, world, drains });
      if (options.dryRun === true) return EXIT.ok;
      if (!drains) {
        terminal.note(
          `Leave ${nodeId}'s node running until its open transactions are over; the same command with --wait tells when.`,
        );
        return EXIT.ok;
      }
    }
    if (leaving !== undefined) await drain(leaving, { store, options, terminal, world });
    return EXIT.ok;
  });
}

export async function changeThresholdAction(
  threshold: number,
  options: ThresholdOptions,
  terminal: Terminal,
  world: TrusteeWorld,
): Promise<number> {
  return await inCluster(options, world, (store) =>
    change((set) => changeThreshold(set, threshold), { store, options, terminal, world }),
  );
}

interface Doing {
  readonly store: TallyStore;
  readonly options: ThresholdOptions;
  readonly terminal: Terminal;
  readonly world: TrusteeWorld;
  /** The document is printed at the end of the draining. */
  readonly drains?: boolean;
}

/** Makes the change, or shows what it would be. @throws CliError with every objection. */
async function change(
  edit: (set: TrusteeSet) => TrusteeChange,
  { store, options, terminal, world, drains }: Doing,
): Promise<number> {
  const dryRun = options.dryRun === true;
  const outcome = dryRun
    ? await preview(edit, store)
    : await changeTrustees(edit, {
        store,
        clock: world.clock,
        onLostRace: (now) =>
          terminal.note(
            `another operator was first: epoch ${now.epoch} is in force, and the change is made on it`,
          ),
      });
  if (outcome.kind === "refused")
    throw new CliError(
      `the trustees of epoch ${outcome.before.epoch} stay as they are: ${outcome.problems.join("; ")}`,
    );
  const { before, set } = outcome;
  if (options.json !== true)
    terminal.data(renderChange(before, set, { dryRun }, terminal.dataStyle));
  else if (drains !== true || dryRun)
    terminal.data(jsonDocument({ changed: !dryRun, before: setJson(before), ...setJson(set) }));
  warn(set, terminal);
  return EXIT.ok;
}

async function preview(edit: (set: TrusteeSet) => TrusteeChange, store: TallyStore) {
  const { set: before } = await store.readConfig();
  const next = edit(before);
  return next.ok
    ? { kind: "changed" as const, before, set: next.value }
    : { kind: "refused" as const, before, problems: next.error };
}

async function drain(trustee: Trustee, { store, options, terminal, world }: Doing): Promise<void> {
  const { nodeId } = trustee;
  await drainTrustee(trustee, {
    store,
    clock: world.clock,
    onProgress: (open) => {
      if (open > 0)
        terminal.note(
          `${open} open ${open === 1 ? "transaction needs" : "transactions need"} ${nodeId}…`,
        );
    },
  });
  if (options.json === true) {
    const { set } = await store.readConfig();
    terminal.data(jsonDocument({ changed: true, ...setJson(set), drained: nodeId }));
  } else terminal.data(`nothing needs ${nodeId} any more: its node may be stopped`);
}

/** What is known about a peer that speaks against making it a trustee. */
function againstPeer(
  { nodeId, peerId }: Trustee,
  presence: readonly Presence[],
  bans: ReadonlyMap<PeerId, BanEntry>,
): readonly string[] {
  const problems: string[] = [];
  const ban = bans.get(peerId);
  if (ban !== undefined)
    problems.push(
      ban.grade === "PROOF"
        ? `peer ${peerId} is banned for good (${ban.reason}): give the node a new key`
        : `peer ${peerId} is banned (${ban.reason}): \`quorate ban lift\` comes first`,
    );
  const runs = presence.find((p) => p.peerId === peerId);
  if (runs !== undefined && runs.nodeId !== nodeId)
    problems.push(
      `the node with peer id ${peerId} calls itself ${runs.nodeId}, and would not vote as ${nodeId}`,
    );
  return problems;
}

function warn(set: TrusteeSet, terminal: Terminal): void {
  for (const { loud, text } of warningsOf(set))
    terminal.note(
      loud ? terminal.style.bad(`WARNING: ${text}`) : terminal.style.warn(`warning: ${text}`),
    );
}

async function readMembers(store: TallyStore): Promise<ClusterMembers> {
  const [config, presence, { bans }] = await Promise.all([
    store.readConfig(),
    store.readPresence(),
    store.readBans(),
  ]);
  return { config, presence, bans };
}

async function inCluster<T>(
  { etcd, cluster }: ClusterOptions,
  { withStore }: TrusteeWorld,
  task: (store: TallyStore) => Promise<T>,
): Promise<T> {
  return await withStore({ clusterId: await clusterIdOf(cluster), etcdHosts: etcd }, task);
}

/** All that is wrong with the arguments, at once. */
function checkAdd(name: string, options: AddOptions): Trustee {
  return takeAll((take): Trustee | null => {
    const nodeId: NodeId | null = take(parseNodeId(name), "node id");
    const peerId: PeerId | null = take(parsePeerId(options.peerId), "--peer-id");
    const evmAddress: EvmAddress | null = take(
      parseEvmAddress(options.evmAddress),
      "--evm-address",
    );
    const publicKey = peerId === null ? null : publicKeyOf(peerId);
    if (peerId !== null && publicKey === null)
      take({ ok: false, error: { message: `no Ed25519 key lies in ${peerId}` } }, "--peer-id");
    if (nodeId === null || evmAddress === null || peerId === null || publicKey === null)
      return null;
    return { nodeId, peerId, publicKey, evmAddress };
  });
}

type Take = <T>(result: Result<T, Pick<ParseError, "message">>, where: string) => T | null;

function takeAll<T>(read: (take: Take) => T | null): T {
  const problems: string[] = [];
  const value = read((result, where) => {
    if (result.ok) return result.value;
    problems.push(`${where}: ${result.error.message}`);
    return null;
  });
  if (value === null || problems.length > 0) throw usageErrors(problems);
  return value;
}
