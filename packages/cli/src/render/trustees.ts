import { faultBounds, isoTime, type PeerId, type TrusteeSet } from "@quorate/core";
import type { BanEntry, ClusterConfig, Presence } from "@quorate/ports";
import type { Style } from "../terminal.ts";
import { fields, table } from "./table.ts";

/** What etcd says about who belongs to a cluster. */
export interface ClusterMembers {
  readonly config: ClusterConfig;
  readonly presence: readonly Presence[];
  readonly bans: ReadonlyMap<PeerId, BanEntry>;
}

/** The set in force for a person, with the nodes that have no say. */
export function renderMembers(
  members: ClusterMembers,
  { epochs }: { readonly epochs?: true },
  style: Style,
): string {
  const { config, presence, bans } = members;
  const { set } = config;
  const online = new Map(presence.map((p) => [p.peerId, p]));
  const head = fields([
    ["cluster", `${style.bold(set.clusterId)}, epoch ${set.epoch}`],
    ["threshold", `${set.threshold} of ${set.trustees.length}`],
    ["tolerates", boundsText(set)],
  ]);
  const trustees = table(
    ["TRUSTEE", "STATE", "EVM ADDRESS", "PEER"],
    set.trustees.map(({ nodeId, peerId, evmAddress }) => {
      const ban = bans.get(peerId);
      const state =
        ban !== undefined
          ? style.bad(`banned: ${ban.reason}`)
          : online.has(peerId)
            ? style.good("online")
            : style.warn("offline");
      return [nodeId, state, evmAddress, peerId];
    }),
    style.dim,
  );
  const parts = [head, trustees];
  const others = presence.filter(({ peerId }) => !set.byPeerId.has(peerId));
  if (others.length > 0)
    parts.push(
      table(
        ["NO TRUSTEE", "SINCE", "PEER"],
        others.map((p) => [p.nodeId, isoTime(p.startedAtMs), p.peerId]),
        style.dim,
      ),
    );
  if (epochs === true)
    parts.push(
      table(
        ["EPOCH", "THRESHOLD", "CHANGES"],
        historyOf(config).map((h) => [
          String(h.epoch),
          `${h.threshold} of ${h.trustees}`,
          [...h.added.map((n) => `+${n}`), ...h.removed.map((n) => `-${n}`)].join(" ") || "-",
        ]),
        style.dim,
      ),
    );
  return parts.join("\n\n");
}

/** The same as a document. */
export function membersJson(
  { config, presence, bans }: ClusterMembers,
  { epochs }: { readonly epochs?: true },
): object {
  const { set } = config;
  const online = new Map(presence.map((p) => [p.peerId, p]));
  return {
    ...setJson(set),
    trustees: set.trustees.map(({ nodeId, peerId, evmAddress }) => ({
      nodeId,
      peerId,
      evmAddress,
      online: online.has(peerId),
      banned: bans.has(peerId),
      banReason: bans.get(peerId)?.reason ?? null,
      version: online.get(peerId)?.version ?? null,
    })),
    observers: presence
      .filter(({ peerId }) => !set.byPeerId.has(peerId))
      .map(({ nodeId, peerId, addresses, version, startedAtMs }) => ({
        nodeId,
        peerId,
        addresses,
        version,
        since: isoTime(startedAtMs),
      })),
    ...(epochs === true ? { epochs: historyOf(config) } : {}),
  };
}

/** One epoch's set as a document. */
export function setJson(set: TrusteeSet): object {
  return {
    clusterId: set.clusterId,
    epoch: set.epoch,
    threshold: set.threshold,
    totalNodes: set.trustees.length,
    faultBounds: faultBounds(set.trustees.length, set.threshold),
    trustees: set.trustees.map(({ nodeId, peerId, evmAddress }) => ({
      nodeId,
      peerId,
      evmAddress,
    })),
  };
}

/** What a change has done, or would do. */
export function renderChange(
  before: TrusteeSet,
  set: TrusteeSet,
  { dryRun }: { readonly dryRun: boolean },
  style: Style,
): string {
  const { added, removed } = differenceOf(before, set);
  const size = (s: TrusteeSet): string => `${s.threshold} of ${s.trustees.length}`;
  return fields([
    [
      "epoch",
      `${before.epoch} → ${style.bold(String(set.epoch))}${dryRun ? " (dry run: nothing was changed)" : " is in force"}`,
    ],
    ["threshold", `${size(before)} → ${size(set)}`],
    ["added", added.length === 0 ? null : added.join(", ")],
    ["removed", removed.length === 0 ? null : removed.join(", ")],
    ["tolerates", boundsText(set)],
    ["open", `transactions that opened before keep the trustees and threshold of their epoch`],
  ]);
}

/** What the operator should know about a set; loud when two values could win. */
export function warningsOf(
  set: TrusteeSet,
): readonly { readonly loud: boolean; readonly text: string }[] {
  const total = set.trustees.length;
  const loud = set.threshold * 2 <= total;
  const advice = loud ? `; use a threshold of ${Math.floor(total / 2) + 1} or more` : "";
  return faultBounds(total, set.threshold).warnings.map((text) => ({
    loud,
    text: `${text}${advice}`,
  }));
}

function boundsText(set: TrusteeSet): string {
  const { specified, safety, liveness } = faultBounds(set.trustees.length, set.threshold);
  return `f = ${specified} as specified; safety ${safety} (liars), liveness ${liveness} (absent)`;
}

interface EpochHistory {
  readonly epoch: number;
  readonly threshold: number;
  readonly trustees: number;
  readonly added: readonly string[];
  readonly removed: readonly string[];
}

/** The epochs that are kept, oldest first; the first of them has nothing before it to differ from. */
function historyOf({ sets }: ClusterConfig): readonly EpochHistory[] {
  const inOrder = [...sets.values()].toSorted((a, b) => a.epoch - b.epoch);
  return inOrder.map((set, i) => {
    const before = inOrder[i - 1];
    return {
      epoch: set.epoch,
      threshold: set.threshold,
      trustees: set.trustees.length,
      ...(before === undefined ? { added: [], removed: [] } : differenceOf(before, set)),
    };
  });
}

/** By key: a name with another key is one that left and one that came. */
function differenceOf(
  before: TrusteeSet,
  after: TrusteeSet,
): { readonly added: readonly string[]; readonly removed: readonly string[] } {
  const without = (a: TrusteeSet, b: TrusteeSet): readonly string[] =>
    a.trustees.filter((t) => !b.byPeerId.has(t.peerId)).map((t) => t.nodeId);
  return { added: without(after, before), removed: without(before, after) };
}
