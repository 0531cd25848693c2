import type { Clock, Logger, TallyStore } from "@quorate/ports";
import type { NodeSettings } from "@quorate/settings";
import { createEtcdTallyStore } from "@quorate/store-etcd";
import type { DoctorTally } from "./node-look.ts";

/** What is wrong is said in the checks; a log beside them would say it twice. */
export const SILENT: Logger = {
  error: () => {},
  warn: () => {},
  info: () => {},
  debug: () => {},
  child: () => SILENT,
};

/** A store that is opened by the first question, so that an etcd that is away is an answer and no failed start. */
export function startedOnUse(
  store: TallyStore,
): DoctorTally & Pick<TallyStore, "watch" | "lineage"> {
  return {
    readConfig: async (options = {}) => {
      await store.start(options);
      return await store.readConfig(options);
    },
    readPresence: (options) => store.readPresence(options),
    readBans: (options) => store.readBans(options),
    lineage: (options) => store.lineage(options),
    watch: (after, onChanges, options) => store.watch(after, onChanges, options),
  };
}

/** The node's tally for the time of one task. */
export async function withTally<T>(
  { etcd, clusterId }: Pick<NodeSettings, "etcd" | "clusterId">,
  clock: Clock,
  task: (tally: DoctorTally) => Promise<T>,
): Promise<T> {
  const store = createEtcdTallyStore({ ...etcd, clusterId }, { clock, logger: SILENT });
  try {
    return await task(startedOnUse(store));
  } finally {
    await store.stop();
  }
}
