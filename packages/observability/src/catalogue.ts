import {
  garbageMetrics,
  nodeMetrics,
  receiptMetrics,
  submitterMetrics,
  submitterWatchMetrics,
  trusteeMetrics,
} from "@quorate/engine";
import { createGossipMetrics } from "@quorate/network-libp2p";
import type { MetricOptions, MetricsFactory } from "@quorate/ports";
import { etcdMetrics } from "@quorate/store-etcd";
import { postgresMetrics } from "@quorate/store-postgres";
import { createMetrics, diskMetrics } from "@quorate/telemetry";

export type MetricKind = "counter" | "gauge" | "histogram";
export type MetricApp = "node" | "submitter";

/** One metric as its code declares it. */
export interface MetricEntry {
  readonly name: string;
  readonly kind: MetricKind;
  readonly help: string;
  readonly labels: readonly string[];
  /** Values of its label that exist from the start, when it has one label and they are known. */
  readonly initial: readonly string[];
  readonly subject: string;
  readonly apps: readonly MetricApp[];
}

interface Source {
  readonly subject: string;
  readonly apps: readonly MetricApp[];
  readonly declare: (factory: MetricsFactory) => unknown;
}

const none = (): number => 0;

/** The code that declares metrics, by subject: the same functions that the apps call. */
const SOURCES: readonly Source[] = [
  { subject: "Votes", apps: ["node"], declare: nodeMetrics },
  { subject: "Trustees and quorum", apps: ["node"], declare: trusteeMetrics },
  { subject: "Refusals", apps: ["node"], declare: (f) => receiptMetrics(f, none) },
  {
    subject: "Gossip",
    apps: ["node"],
    declare: (f) =>
      createGossipMetrics(f, { connections: none, meshPeers: none, strangers: none, muted: none }),
  },
  { subject: "Disks", apps: ["node"], declare: diskMetrics },
  { subject: "Submission and history", apps: ["submitter"], declare: submitterMetrics },
  { subject: "Account, chain and queue", apps: ["submitter"], declare: submitterWatchMetrics },
  { subject: "Retention", apps: ["submitter"], declare: garbageMetrics },
  { subject: "etcd, as seen by its clients", apps: ["node", "submitter"], declare: etcdMetrics },
  {
    subject: "PostgreSQL, as seen by its clients",
    apps: ["submitter"],
    declare: (f) => postgresMetrics(f, { totalCount: 0, idleCount: 0, waitingCount: 0 }),
  },
];

/** Every metric that Quorate's own code declares, in the order of its code. */
export function catalogue(): readonly MetricEntry[] {
  return SOURCES.flatMap(({ subject, apps, declare }) => {
    const entries: MetricEntry[] = [];
    const note = (kind: MetricKind, options: MetricOptions<string>): void => {
      const labels = options.labels ?? [];
      const [label] = labels;
      const values = labels.length === 1 && label !== undefined ? options.initial : [];
      entries.push({
        name: options.name,
        kind,
        help: options.help,
        labels,
        initial: (values ?? []).flatMap((set) => Object.values(set)),
        subject,
        apps,
      });
    };
    declare({
      counter: (options) => {
        note("counter", options);
        return { inc: () => {} };
      },
      gauge: (options) => {
        note("gauge", options);
        return { set: () => {} };
      },
      histogram: (options) => {
        note("histogram", options);
        return { observe: () => {} };
      },
    });
    return entries;
  });
}

/** Names of the process metrics that each app has besides. */
export async function processMetricNames(): Promise<readonly string[]> {
  const text = await createMetrics({}).text();
  return [...text.matchAll(/^# TYPE (\S+) \S+$/gm)].map(([, name]) => name ?? "");
}

/** The names under which a metric can be asked for. */
export function seriesNames(entry: Pick<MetricEntry, "name" | "kind">): readonly string[] {
  return entry.kind === "histogram"
    ? [`${entry.name}_bucket`, `${entry.name}_sum`, `${entry.name}_count`]
    : [entry.name];
}
