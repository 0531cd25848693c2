import type { TxId } from "@quorate/core";
import type { AbortOptions, TallyStore } from "@quorate/ports";
import type { TallyView } from "./tally-view.ts";

/** Says which decisions are ABORT. */
export interface AbortGate {
  /** @returns those of `txIds` that etcd has aborted; rejects with StoreError while that can't be known. */
  abortedAmong(txIds: readonly TxId[], options?: AbortOptions): Promise<ReadonlySet<TxId>>;
}

const READS_AT_ONCE = 50;

/**
 * The last look before a nonce is taken: no submission follows a recorded abort (I3), whether the row was queued before
 * etcd was restored, went back to the queue, or was released by a person. What is in view costs nothing.
 */
export function createAbortGate(view: TallyView, store: Pick<TallyStore, "read">): AbortGate {
  return {
    abortedAmong: async (txIds, options = {}) => {
      const aborted = new Set<TxId>();
      const unknown: TxId[] = [];
      for (const txId of txIds) {
        const status = view.status(txId);
        if (status === null) unknown.push(txId);
        else if (status === "ABORTED_BYZANTINE") aborted.add(txId);
      }
      for (let at = 0; at < unknown.length; at += READS_AT_ONCE) {
        const some = unknown.slice(at, at + READS_AT_ONCE);
        const reads = await Promise.all(some.map((txId) => store.read(txId, options)));
        for (const { snapshot } of reads)
          if (snapshot.status === "ABORTED_BYZANTINE" || snapshot.decision?.kind === "ABORT")
            aborted.add(snapshot.txId);
      }
      return aborted;
    },
  };
}
