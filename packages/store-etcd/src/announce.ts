import type { Presence } from "@quorate/ports";
import type { ElectionDependencies } from "./election.ts";
import { grantLease, keepLease, revokeLease } from "./lease.ts";
import { put } from "./ops.ts";
import { storeErrorOf } from "./store-error.ts";
import { writePresence } from "./values.ts";

const RETRY_MS = 250;

/** Keeps a presence on a lease until aborted, over lost leases and unreachable hosts. */
export async function announcePresence(
  { hosts, keys, clock, logger }: ElectionDependencies,
  presence: Presence,
  ttlSeconds: number,
  signal: AbortSignal,
): Promise<void> {
  const { peerId } = presence;
  const value = writePresence(presence);
  while (!signal.aborted) {
    try {
      const lease = await grantLease(hosts, clock, ttlSeconds, { signal });
      try {
        const success = [put(keys.presence(peerId), value, lease.id)];
        await hosts.idempotent("presence", (client, call) => client.kv.txn({ success }, call), {
          signal,
        });
        await keepLease(hosts, clock, lease, signal);
        logger.warn("presence lease was lost, announcing again", { peerId });
      } finally {
        await revokeLease(hosts, lease);
      }
    } catch (error) {
      if (signal.aborted) return;
      const failure = storeErrorOf(error, "presence");
      if (!failure.retryable) throw failure;
      logger.warn("presence could not be announced, trying again", { error: failure.message });
      // An abort ends the sleep early, and then the loop.
      await clock.sleep(RETRY_MS, { signal }).catch(() => {});
    }
  }
}
