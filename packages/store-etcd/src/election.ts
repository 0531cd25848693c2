import type { Clock, Logger } from "@quorate/ports";
import { abortReasonOf, type EtcdHosts } from "./etcd-hosts.ts";
import type { Keys } from "./keys.ts";
import { grantLease, keepLease, type Lease, revokeLease } from "./lease.ts";
import { absent, keyBytes, put, rangeEnd, textOf } from "./ops.ts";
import { watchRevisions } from "./watch.ts";

export interface ElectionDependencies {
  readonly hosts: EtcdHosts;
  readonly keys: Keys;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly requestTimeoutMs: number;
}

interface Candidacy {
  readonly lease: Lease;
  /** Aborted when the lease is lost, or the whole campaign ends. */
  readonly lost: AbortSignal;
  /** Stops the renewals and ends the lease. */
  resign(): Promise<void>;
}

export interface Campaign {
  readonly name: string;
  readonly candidate: string;
  readonly ttlSeconds: number;
  /** Ends the wait. */
  readonly signal: AbortSignal;
  /** Ends a leadership too: the connections are about to be closed. */
  readonly stopping: AbortSignal;
}

/**
 * Candidates queue up in the order in which their keys were created; each waits
 * for the one before it to go. The first one leads.
 * etcd3's Election is not used: it watches with the Watcher that can miss a
 * deletion, and a lease that is lost during the wait goes unnoticed.
 */
export async function campaign<T>(
  dependencies: ElectionDependencies,
  parameters: Campaign,
  lead: (lost: AbortSignal) => Promise<T>,
): Promise<T> {
  const { name, signal } = parameters;
  for (;;) {
    signal.throwIfAborted();
    const candidacy = await stand(dependencies, parameters);
    try {
      const first = await waitForTurn(dependencies, name, candidacy, signal);
      if (first && !candidacy.lost.aborted) return await lead(candidacy.lost);
      dependencies.logger.warn("lease was lost while waiting to lead, standing again", { name });
    } finally {
      await candidacy.resign();
    }
  }
}

async function stand(
  { hosts, keys, clock }: ElectionDependencies,
  { name, candidate, ttlSeconds, signal, stopping }: Campaign,
): Promise<Candidacy> {
  const lease = await grantLease(hosts, clock, ttlSeconds, { signal });
  const over = new AbortController();
  const lost = new AbortController();
  const kept = keepLease(hosts, clock, lease, AbortSignal.any([over.signal, stopping]))
    .catch(() => {})
    .finally(() => lost.abort(new Error("the lease was lost")));
  const resign = async (): Promise<void> => {
    over.abort();
    await kept;
    await revokeLease(hosts, lease);
  };
  try {
    const key = keys.candidate(name, lease.id);
    // Guarded only so that a repetition after a lost reply keeps the place in the queue.
    await hosts.idempotent(
      "election",
      (client, call) =>
        client.kv.txn({ compare: [absent(key)], success: [put(key, candidate, lease.id)] }, call),
      { signal },
    );
  } catch (error) {
    await resign();
    throw error;
  }
  return { lease, lost: lost.signal, resign };
}

/** Waits until no candidate is older than this one. @returns false when its key is gone, and its place with it. */
async function waitForTurn(
  dependencies: ElectionDependencies,
  name: string,
  { lease, lost }: Candidacy,
  signal: AbortSignal,
): Promise<boolean> {
  const own = dependencies.keys.candidate(name, lease.id);
  const either = AbortSignal.any([signal, lost]);
  for (;;) {
    if (signal.aborted) throw abortReasonOf(signal);
    if (lost.aborted) return false;
    const { queue, revision } = await readQueue(dependencies, name, signal);
    const place = queue.findIndex(({ key }) => key === own);
    if (place === -1) return false;
    const before = queue[place - 1];
    if (before === undefined) return true;
    const watch = { target: before.key, after: revision, signal: either };
    await watchRevisions(watch, dependencies, async ({ events }) =>
      events.some((event) => event.type === "Delete") ? "stop" : "go on",
    );
  }
}

/** All candidates, oldest first. */
async function readQueue(
  { hosts, keys }: ElectionDependencies,
  name: string,
  signal: AbortSignal | undefined,
): Promise<{
  readonly queue: readonly { readonly key: string; readonly candidate: string }[];
  readonly revision: bigint;
}> {
  const prefix = keys.candidates(name);
  const response = await hosts.idempotent(
    "election",
    (client, call) =>
      client.kv.range(
        {
          key: keyBytes(prefix),
          range_end: rangeEnd(prefix),
          sort_target: "Create",
          sort_order: "Ascend",
        },
        call,
      ),
    { signal },
  );
  const queue = response.kvs.map((kv) => ({ key: textOf(kv.key), candidate: textOf(kv.value) }));
  return { queue, revision: BigInt(response.header.revision) };
}

/** The oldest candidate, or null. */
export async function leaderOf(
  dependencies: ElectionDependencies,
  name: string,
  signal: AbortSignal | undefined,
): Promise<string | null> {
  const { queue } = await readQueue(dependencies, name, signal);
  return queue[0]?.candidate ?? null;
}
