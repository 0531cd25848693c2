import { StoreError, type TallyStorage } from "@quorate/ports";
import type { CallOptions, EtcdHosts } from "./etcd-hosts.ts";
import { keyBytes, rangeEnd } from "./ops.ts";
import type { Reading } from "./snapshot.ts";

// A member answers nothing while it rewrites its file: about 10 s for 2 GiB on a slow disk.
const DEFRAGMENT_TIMEOUT_MS = 120_000;
// Physically, so that the pages are free when it returns.
const COMPACT_TIMEOUT_MS = 60_000;

export async function countStatuses(
  hosts: EtcdHosts,
  { keys }: Reading,
  options: CallOptions,
): Promise<number> {
  const range = { key: keyBytes(keys.statuses), range_end: rangeEnd(keys.statuses) };
  const response = await hosts.idempotent(
    "list",
    (client, call) => client.kv.range({ ...range, count_only: true }, call),
    options,
  );
  return Number(response.count);
}

/** Of the largest of the members that are configured. */
export async function readStorage(
  hosts: EtcdHosts,
  quotaBytes: number | null,
  options: CallOptions,
): Promise<TallyStorage> {
  const members = await hosts.each(
    "maintenance",
    (client, call) => client.maintenance.status(call),
    options,
  );
  const { alarms } = await hosts.idempotent(
    "maintenance",
    (client, call) => client.maintenance.alarm({ action: "Get" }, call),
    options,
  );
  const largest = (sizes: readonly string[]): number => Math.max(0, ...sizes.map(Number));
  return {
    dbSizeBytes: largest(members.map(({ answer }) => answer.dbSize)),
    dbSizeInUseBytes: largest(members.map(({ answer }) => answer.dbSizeInUse)),
    quotaBytes,
    alarms: [...new Set(alarms.map(({ alarm }) => alarm.toUpperCase()))],
  };
}

export async function compactBefore(
  hosts: EtcdHosts,
  revision: bigint,
  options: CallOptions,
): Promise<boolean> {
  try {
    await hosts.idempotent(
      "maintenance",
      (client, call) => client.kv.compact({ revision: revision.toString(), physical: true }, call),
      { timeoutMs: COMPACT_TIMEOUT_MS, ...options },
    );
    return true;
  } catch (error) {
    // "has been compacted": by an earlier call, by another collector, or by etcd itself.
    if (error instanceof StoreError && error.code === "CORRUPT") return false;
    throw error;
  }
}

export async function defragmentAll(hosts: EtcdHosts, options: CallOptions): Promise<void> {
  const members = await hosts.each(
    "maintenance",
    (client, call) => client.maintenance.status(call),
    options,
  );
  // The leader last: while it does not answer the others would elect another, and once is enough.
  const leaders = new Set(
    members.filter(({ answer }) => answer.leader === answer.header.member_id).map(({ url }) => url),
  );
  for (const isTurn of [(url: string) => !leaders.has(url), (url: string) => leaders.has(url)])
    await hosts.each(
      "maintenance",
      (client, call) => client.maintenance.defragment(call),
      { timeoutMs: DEFRAGMENT_TIMEOUT_MS, ...options },
      isTurn,
    );
}

export async function disarmAll(hosts: EtcdHosts, options: CallOptions): Promise<number> {
  const { alarms } = await hosts.idempotent(
    "maintenance",
    (client, call) => client.maintenance.alarm({ action: "Get" }, call),
    options,
  );
  // Only the quota's: a CORRUPT alarm says that members differ, which is a person's to look at.
  const full = alarms.filter(({ alarm }) => alarm.toUpperCase() === "NOSPACE");
  for (const { memberID } of full)
    await hosts.idempotent(
      "maintenance",
      (client, call) =>
        client.maintenance.alarm({ action: "Deactivate", memberID, alarm: "Nospace" }, call),
      options,
    );
  return full.length;
}
