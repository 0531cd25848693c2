import type { TrusteeSet } from "@quorate/core";
import type { AbortOptions } from "@quorate/ports";
import { createEtcdTallyStore } from "@quorate/store-etcd";
import { createLogger, systemClock } from "@quorate/telemetry";
import { sameTrusteeSet } from "./cluster-file.ts";

/** Whether the set was written, was there already, or another one stands. */
export type InitOutcome = "created" | "already-there" | "another-set";

const TIMEOUT_MS = 5_000;

/**
 * Writes a cluster's trustee set into etcd. Idempotent; a set that stands is never replaced.
 * @throws StoreError when etcd can't be reached.
 */
export async function initCluster(
  set: TrusteeSet,
  etcdHosts: readonly string[],
  options: AbortOptions = {},
): Promise<InitOutcome> {
  const store = createEtcdTallyStore(
    {
      hosts: etcdHosts,
      clusterId: set.clusterId,
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
    if ((await store.initCluster(set, options)) === "created") return "created";
    const standing = await store.readConfig(options);
    return sameTrusteeSet(standing.set, set) ? "already-there" : "another-set";
  } finally {
    await store.stop();
  }
}
