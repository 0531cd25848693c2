import type { TrusteeSet } from "@quorate/core";
import type { AbortOptions } from "@quorate/ports";
import { sameTrusteeSet } from "./cluster-file.ts";
import { withClusterStore } from "./cluster-store.ts";

/** Whether the set was written, was there already, or another one stands. */
export type InitOutcome = "created" | "already-there" | "another-set";

/**
 * Writes a cluster's trustee set into etcd. Idempotent; a set that stands is never replaced.
 * @throws StoreError when etcd can't be reached.
 */
export async function initCluster(
  set: TrusteeSet,
  etcdHosts: readonly string[],
  options: AbortOptions = {},
): Promise<InitOutcome> {
  return await withClusterStore(
    { clusterId: set.clusterId, etcdHosts },
    async (store) => {
      if ((await store.initCluster(set, options)) === "created") return "created";
      const standing = await store.readConfig(options);
      return sameTrusteeSet(standing.set, set) ? "already-there" : "another-set";
    },
    options,
  );
}
