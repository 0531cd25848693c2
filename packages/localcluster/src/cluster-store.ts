import type { ClusterId } from "@quorate/core";
import type { AbortOptions, TallyStore } from "@quorate/ports";
import { createEtcdTallyStore } from "@quorate/store-etcd";
import { createLogger, systemClock } from "@quorate/telemetry";

const TIMEOUT_MS = 5_000;

/**
 * Gives an operator's tool the cluster's store for the time of one task, past the nodes.
 * @throws StoreError when no etcd answers within 5 s.
 */
export async function withClusterStore<T>(
  cluster: { readonly clusterId: ClusterId; readonly etcdHosts: readonly string[] },
  task: (store: TallyStore) => Promise<T>,
  options: AbortOptions = {},
): Promise<T> {
  const store = createEtcdTallyStore(
    {
      hosts: cluster.etcdHosts,
      clusterId: cluster.clusterId,
      requestTimeoutMs: TIMEOUT_MS,
      dialTimeoutMs: TIMEOUT_MS,
    },
    {
      clock: systemClock(),
      logger: createLogger({ level: "error", pretty: false, destination: "stderr" }),
    },
  );
  try {
    await store.start(options);
    return await task(store);
  } finally {
    await store.stop();
  }
}
