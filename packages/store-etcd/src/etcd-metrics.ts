import type { Histogram, MetricsFactory } from "@quorate/ports";
import { ETCD_OPERATIONS } from "./etcd-hosts.ts";

export interface EtcdMetrics {
  readonly durations: Histogram<"operation">;
}

// etcd answers in about a millisecond on one machine; an election takes one to four seconds.
const DURATION_BUCKETS_SECONDS = [
  0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10,
];

/** What the adapter measures. @see spec §13.1 */
export function etcdMetrics(factory: MetricsFactory): EtcdMetrics {
  return {
    durations: factory.histogram({
      name: "etcd_operation_duration_seconds",
      help: "How long calls to etcd took, failed ones included.",
      labels: ["operation"],
      initial: ETCD_OPERATIONS.map((operation) => ({ operation })),
      buckets: DURATION_BUCKETS_SECONDS,
    }),
  };
}
