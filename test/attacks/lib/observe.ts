import { type LocalCluster, type LocalNode, readEtcdPrefix } from "@quorate/localcluster";

/** One counter line of a node's metrics. */
interface Sample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

const METRICS_TIMEOUT_MS = 10_000;

/** All samples that a node's `/metrics` shows. */
export async function samplesOf(node: LocalNode): Promise<readonly Sample[]> {
  const response = await fetch(`${node.url}/metrics`, {
    signal: AbortSignal.timeout(METRICS_TIMEOUT_MS),
  });
  return (await response.text()).split("\n").flatMap((line) => {
    const match = /^([a-zA-Z_:]+)(?:\{(.*)\})? (\S+)$/.exec(line);
    if (match === null) return [];
    const labels = Object.fromEntries(
      [...(match[2] ?? "").matchAll(/([a-zA-Z_]+)="([^"]*)"/g)].map((m) => [m[1], m[2]]),
    );
    return [{ name: match[1] ?? "", labels, value: Number(match[3]) }];
  });
}

/** Sums over nodes of every counter that gives a reason or a verdict for what it turned away. */
export type Refusals = ReadonlyMap<string, number>;

export async function readRefusals(nodes: readonly LocalNode[]): Promise<Refusals> {
  const sums = new Map<string, number>();
  for (const node of nodes)
    for (const { name, labels, value } of await samplesOf(node)) {
      const key = refusalKey(name, labels);
      if (key !== null) sums.set(key, (sums.get(key) ?? 0) + value);
    }
  return sums;
}

function refusalKey(name: string, labels: Readonly<Record<string, string>>): string | null {
  if (name === "gossipsub_messages_total" && labels["direction"] === "in")
    return labels["verdict"] === "ACCEPT" ? null : `gossip ${labels["verdict"]}`;
  if (name === "gossipsub_duplicates_dropped_total") return "gossip duplicate";
  const refuses = /reject|refus|dropped|receipt/.test(name) && name.endsWith("_total");
  return refuses && labels["reason"] !== undefined ? labels["reason"] : null;
}

/** What came on top since, as words; only what grew. */
export function growth(before: Refusals, after: Refusals): ReadonlyMap<string, number> {
  return new Map(
    [...after].flatMap(([key, value]) => {
      const more = value - (before.get(key) ?? 0);
      return more > 0 ? [[key, more] as const] : [];
    }),
  );
}

/** Nodes whose own commit recorded a violation of a type, by the count that each keeps. */
export async function recordersOf(
  nodes: readonly LocalNode[],
  type: string,
): Promise<ReadonlyMap<string, number>> {
  const counts = await Promise.all(
    nodes.map(async (node) => {
      const samples = await samplesOf(node);
      const own = samples.filter(
        (s) => s.name === "votes_rejected_byzantine_total" && s.labels["type"] === type,
      );
      return [node.name, own.reduce((sum, s) => sum + s.value, 0)] as const;
    }),
  );
  return new Map(counts);
}

/** Bans that nodes enforced by their own commits, and how many of them within 10 ms of the commit [spec §3.3]. */
export async function enforcementsOf(
  nodes: readonly LocalNode[],
): Promise<{ readonly all: number; readonly within10Ms: number }> {
  let all = 0;
  let within10Ms = 0;
  for (const node of nodes)
    for (const { name, labels, value } of await samplesOf(node)) {
      if (name === "ban_enforcement_seconds_count") all += value;
      if (name === "ban_enforcement_seconds_bucket" && labels["le"] === "0.01") within10Ms += value;
    }
  return { all, within10Ms };
}

/** Bans that a node acts on, peer to reason. */
export async function bansAt(
  node: LocalNode,
  options: { readonly signal?: AbortSignal } = {},
): Promise<ReadonlyMap<string, string>> {
  const response = await fetch(`${node.url}/v1/bans`, { signal: options.signal ?? null });
  const body = (await response.json()) as { bans: { peerId: string; reason: string }[] };
  return new Map(body.bans.map((ban) => [ban.peerId, ban.reason]));
}

/** A cluster's keys in etcd, read past Quorate's own client. */
export class EtcdEyes {
  readonly #endpoint: string;
  readonly #root: string;

  constructor(endpoint: string, cluster: LocalCluster) {
    this.#endpoint = endpoint;
    this.#root = `/quorate/${cluster.clusterId}/`;
  }

  /** Everything under a path, by what follows the path. */
  async under(path: string): Promise<ReadonlyMap<string, string>> {
    const prefix = this.#root + path;
    const entries = await readEtcdPrefix(this.#endpoint, prefix);
    return new Map(entries.map(({ key, value }) => [key.slice(prefix.length), value]));
  }

  /** Bans, peer to their record. */
  async bans(): Promise<ReadonlyMap<string, Readonly<Record<string, unknown>>>> {
    const bans = await this.under("banned/");
    return new Map([...bans].map(([peerId, json]) => [peerId, recordOf(json)]));
  }
}

/** A JSON object, or an empty one. */
export function recordOf(json: string | undefined): Readonly<Record<string, unknown>> {
  const parsed: unknown = json === undefined ? null : JSON.parse(json);
  return typeof parsed === "object" && parsed !== null ? { ...parsed } : {};
}

/** Size of each node's old and large objects, in bytes: what has outlived the first collections. */
export async function heldBytes(nodes: readonly LocalNode[]): Promise<ReadonlyMap<string, number>> {
  const sizes = await Promise.all(
    nodes.map(async (node) => {
      const held = (await samplesOf(node)).filter(
        ({ name, labels }) =>
          name === "nodejs_heap_space_size_used_bytes" &&
          (labels["space"] === "old" || labels["space"] === "large_object"),
      );
      return [node.name, held.reduce((sum, { value }) => sum + value, 0)] as const;
    }),
  );
  return new Map(sizes);
}

/** The longest that a node's event loop was held up since this was last asked, in ms. */
export async function worstLagMs(nodes: readonly LocalNode[]): Promise<number> {
  const lags = await Promise.all(
    nodes.map(async (node) => {
      const samples = await samplesOf(node);
      return samples.find(({ name }) => name === "nodejs_eventloop_lag_max_seconds")?.value ?? 0;
    }),
  );
  return Math.round(Math.max(...lags) * 1_000);
}
