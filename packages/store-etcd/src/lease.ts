import { assert } from "@quorate/core";
import type { Clock } from "@quorate/ports";
import type { ILeaseKeepAliveResponse } from "etcd3";
import { type CallOptions, type EtcdHosts, untilAborted } from "./etcd-hosts.ts";

export interface Lease {
  /** Decimal, as etcd's protocol carries it. */
  readonly id: string;
  readonly ttlSeconds: number;
  /** Monotonic time until which it lives at least, whatever happens to the connection. */
  readonly aliveUntilMs: number;
}

const RETRY_MS = 100;

/** A new lease. One that nobody gets to know, because the reply was lost, ends by itself. */
export async function grantLease(
  hosts: EtcdHosts,
  clock: Clock,
  ttlSeconds: number,
  options: CallOptions,
): Promise<Lease> {
  assert(Number.isInteger(ttlSeconds) && ttlSeconds >= 1, "etcd leases last whole seconds");
  const askedMs = clock.monotonicMs();
  const granted = await hosts.idempotent(
    "lease",
    (client, call) => client.leaseClient.leaseGrant({ TTL: ttlSeconds }, call),
    options,
  );
  return { id: granted.ID, ttlSeconds, aliveUntilMs: askedMs + Number(granted.TTL) * 1_000 };
}

/** Ends a lease and deletes its keys. Best effort: the lease ends by itself otherwise. */
export async function revokeLease(hosts: EtcdHosts, lease: Lease): Promise<void> {
  try {
    await hosts.idempotent("lease", (client, call) =>
      client.leaseClient.leaseRevoke({ ID: lease.id }, call),
    );
  } catch {
    // Gone already, or not reachable: either way its time runs out.
  }
}

/**
 * Keeps a lease alive. Resolves when it is lost, at the latest when its time has
 * run out by this machine's clock: a host that does not answer says nothing about it.
 * Rejects with the signal's reason when aborted.
 */
export async function keepLease(
  hosts: EtcdHosts,
  clock: Clock,
  lease: Lease,
  signal: AbortSignal,
): Promise<void> {
  let { aliveUntilMs } = lease;
  const intervalMs = (lease.ttlSeconds * 1_000) / 3;
  let waitMs = intervalMs;
  for (;;) {
    await clock.sleep(Math.min(waitMs, Math.max(0, aliveUntilMs - clock.monotonicMs())), {
      signal,
    });
    const askedMs = clock.monotonicMs();
    const leftMs = aliveUntilMs - askedMs;
    if (leftMs <= 0) return;
    try {
      const ttlSeconds = await renew(hosts, lease, {
        signal,
        timeoutMs: Math.min(leftMs, intervalMs),
      });
      if (ttlSeconds <= 0) return;
      aliveUntilMs = askedMs + ttlSeconds * 1_000;
      waitMs = intervalMs;
    } catch {
      signal.throwIfAborted();
      waitMs = RETRY_MS;
    }
  }
}

/** One renewal. @returns the seconds it lives now; 0 or less when it is gone. */
function renew(hosts: EtcdHosts, lease: Lease, options: CallOptions): Promise<number> {
  return hosts.once(
    "lease",
    async (client, call) => {
      const stream = await client.leaseClient.leaseKeepAlive(call);
      const reply = new Promise<ILeaseKeepAliveResponse>((resolve, reject) => {
        stream.on("data", resolve);
        stream.on("error", reject);
        stream.on("end", () => reject(new Error("etcd ended the stream without a reply")));
      });
      stream.write({ ID: lease.id });
      // No more requests: the server answers this one and ends.
      stream.end();
      return Number((await untilAborted(reply, options.signal)).TTL);
    },
    options,
  );
}
