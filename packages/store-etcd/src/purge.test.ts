import { parseClusterId, unwrap } from "@quorate/core";
import { StoreError } from "@quorate/ports";
import { txIdOf } from "@quorate/testkit";
import type { Etcd3 } from "etcd3";
import { expect, test } from "vitest";
import { keysOf } from "./keys.ts";
import { purgeAll } from "./purge.ts";
import { recordingLogger } from "./testing/real-parts.ts";

const clusterId = unwrap(parseClusterId("full"));
const keys = keysOf(clusterId);
const RECORD = {
  epoch: 1,
  policy: "strict-abort",
  profile: "balanced",
  excluded: [],
  openedAtMs: 1,
  deadlineAtMs: 2,
  value: "7",
  unanimous: true,
  thresholdAtMs: 1,
  reason: null,
  offenders: [],
  absent: [],
  chain: null,
};

/** An etcd that takes no Txn at all, as versions do that count one of nested Txns as a write. */
function fullEtcd(entries: Readonly<Record<string, string>>) {
  const stored = new Map(Object.entries(entries));
  const within = (key: Buffer, end: Buffer | undefined): string[] => {
    const from = key.toString("latin1");
    const to = end?.toString("latin1");
    return [...stored.keys()].filter((k) => (to === undefined ? k === from : k >= from && k < to));
  };
  const kv = {
    txn: async () => {
      throw new StoreError("NO_SPACE", "full", { retryable: true });
    },
    range: async ({ key, range_end: end }: { key: Buffer; range_end?: Buffer }) => ({
      kvs: within(key, end).map((k) => ({
        key: Buffer.from(k),
        value: Buffer.from(stored.get(k) ?? ""),
        mod_revision: "5",
      })),
    }),
    deleteRange: async ({ key, range_end: end }: { key: Buffer; range_end?: Buffer }) => {
      for (const k of within(key, end)) stored.delete(k);
    },
  };
  // Only what purging calls; the rest of a client is not there.
  const client = { kv } as unknown as Etcd3;
  const call = async <T>(
    _: string,
    attempt: (client: Etcd3, call: { readonly deadline: number }) => Promise<T>,
  ): Promise<T> => attempt(client, { deadline: 0 });
  return { stored, hosts: { once: call, idempotent: call } };
}

test("an etcd that is too full for a guarded purge loses the votes of what is settled and decided, and nothing else", async () => {
  const [settled, undecided, open] = ["tx-a", "tx-b", "tx-c"].map(txIdOf) as [
    ReturnType<typeof txIdOf>,
    ReturnType<typeof txIdOf>,
    ReturnType<typeof txIdOf>,
  ];
  const record = JSON.stringify(RECORD);
  const { stored, hosts } = fullEtcd({
    [keys.status(settled)]: "CONFIRMED",
    [keys.record(settled)]: record,
    [keys.decision(settled)]: "SUBMIT:7",
    [`${keys.votesOf(settled)}node-1`]: "{}",
    [`${keys.voteCountsOf(settled)}7`]: "1",
    // Without a decision the votes are what says that it is settled.
    [keys.status(undecided)]: "CONFIRMED",
    [keys.record(undecided)]: record,
    [`${keys.votesOf(undecided)}node-1`]: "{}",
    [keys.status(open)]: "COLLECTING",
    [keys.record(open)]: record,
    [`${keys.votesOf(open)}node-1`]: "{}",
  });
  const before = [...stored.keys()];
  const reading = { clusterId, keys, logger: recordingLogger() };
  const requests = [settled, undecided, open].map((txId) => ({
    txId,
    level: "all" as const,
    throughRevision: 9n,
  }));
  expect(await purgeAll(hosts, reading, requests, {})).toEqual(["freed", "kept", "kept"]);
  expect(before.filter((key) => !stored.has(key)).sort()).toEqual(
    [`${keys.votesOf(settled)}node-1`, `${keys.voteCountsOf(settled)}7`].sort(),
  );
});
