import {
  assert,
  err,
  LIMITS,
  ok,
  type Receipt,
  receiptFromJson,
  receiptToJson,
} from "@quorate/core";
import type { Clock } from "@quorate/ports";
import type { IKeyValue } from "etcd3";
import { type CallOptions, type EtcdHosts, untilAborted } from "./etcd-hosts.ts";
import { type ParsedKey, parseKey } from "./keys.ts";
import { grantLease, type Lease } from "./lease.ts";
import { get, keyBytes, kvOf, put, rangeEnd, textOf, unchanged } from "./ops.ts";
import type { Reading } from "./snapshot.ts";
import { storeErrorOf } from "./store-error.ts";
import type { Read } from "./values.ts";

// One lease serves what is written in this time, and so it lasts that much longer than the receipts must.
const LEASE_USED_SECONDS = LIMITS.receiptsTtlSeconds / 4;
// A read's bound: the keys' names alone are 1 MB, and their values are fetched only as far as needed.
const LIMIT_MAX = 10_000;
// Values of 60 kB each in one reply.
const GETS_PER_TXN = 50;

type ReceiptsKey = Extract<ParsedKey, { readonly kind: "receipts" }>;

/** What a value under `/receipts/` says; all of it is by the node and the run that its key names. */
export function readReceiptsValue(text: string, key: ReceiptsKey): Read<readonly Receipt[]> {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    return err("value is not JSON");
  }
  if (!Array.isArray(json) || json.length === 0 || json.length > LIMITS.receiptsPerWriteMax)
    return err("value is no list of receipts");
  const receipts: Receipt[] = [];
  for (const item of json) {
    const receipt = receiptFromJson(item);
    if (!receipt.ok) return receipt;
    const { nodeId, runStartedAtMs, sequence } = receipt.value;
    if (nodeId !== key.nodeId || runStartedAtMs !== key.runStartedAtMs)
      return err("receipt is by another node or of another run than its key says");
    const before = receipts.at(-1)?.sequence;
    if (before === undefined ? sequence !== key.sequence : sequence <= before)
      return err("receipts are not in the order of their numbers");
    receipts.push(receipt.value);
  }
  return ok(receipts);
}

/** Receipts on leases: they vanish by themselves, long after history has them. */
export class ReceiptShelf {
  readonly #hosts: EtcdHosts;
  readonly #reading: Reading;
  readonly #clock: Clock;
  #lease: { readonly lease: Promise<Lease>; readonly untilMs: number } | null = null;

  constructor(hosts: EtcdHosts, reading: Reading, clock: Clock) {
    this.#hosts = hosts;
    this.#reading = reading;
    this.#clock = clock;
  }

  /**
   * Each key is written once, so a repetition after a lost reply changes nothing; what it
   * holds beyond the first writing goes under a key of its own.
   */
  async record(receipts: readonly Receipt[], options: CallOptions): Promise<void> {
    checkBatch(receipts, this.#reading.clusterId);
    const { keys, logger } = this.#reading;
    let rest = receipts;
    let version = 0n;
    for (let first = rest[0]; first !== undefined; first = rest[0]) {
      const { nodeId, runStartedAtMs, sequence } = first;
      const key = keys.receipts(nodeId, runStartedAtMs, sequence);
      const stored = await this.#putOnce(key, version, rest, options);
      if (stored === "written") return;
      const place = { kind: "receipts", nodeId, runStartedAtMs, sequence } as const;
      const read = stored === null ? null : readReceiptsValue(textOf(stored.value), place);
      const own = rest;
      const isOwn =
        read?.ok === true && read.value.every((r, i) => r.signature === (own[i] ?? r).signature);
      if (read?.ok === true && isOwn) {
        const last = read.value.at(-1)?.sequence ?? sequence;
        rest = rest.filter((receipt) => receipt.sequence > last);
        version = 0n;
      } else {
        // Expired, or put in this node's place by somebody else.
        version = BigInt(stored?.mod_revision ?? 0);
        if (read !== null)
          logger.warn("receipts in etcd that are not this node's are replaced", { key });
      }
    }
  }

  async #putOnce(
    key: string,
    version: bigint,
    receipts: readonly Receipt[],
    options: CallOptions,
  ): Promise<IKeyValue | null | "written"> {
    const value = JSON.stringify(receipts.map(receiptToJson));
    for (let renewed = false; ; renewed = true) {
      const lease = await this.#leaseInUse(options);
      const request = {
        compare: [unchanged(key, version)],
        success: [put(key, value, lease.id)],
        failure: [get(key)],
      };
      try {
        const reply = await this.#hosts.once(
          "receipts",
          (client, call) => client.kv.txn(request, call),
          options,
        );
        return reply.succeeded ? "written" : kvOf(reply.responses[0]);
      } catch (error) {
        const failure = storeErrorOf(error, "receipts");
        if (renewed || failure.code !== "REFUSED") throw failure;
        // The lease may be gone, as after a restored backup: nothing was written, and a new one will do.
        this.#lease = null;
      }
    }
  }

  async #leaseInUse(options: CallOptions): Promise<Lease> {
    const nowMs = this.#clock.monotonicMs();
    if (this.#lease === null || this.#lease.untilMs <= nowMs) {
      const ttlSeconds = LIMITS.receiptsTtlSeconds + LEASE_USED_SECONDS;
      this.#lease = {
        // Not under the caller's signal: other calls wait for the same lease.
        lease: grantLease(this.#hosts, this.#clock, ttlSeconds, {}),
        untilMs: nowMs + LEASE_USED_SECONDS * 1_000,
      };
    }
    const inUse = this.#lease;
    try {
      return await untilAborted(inUse.lease, options.signal);
    } catch (error) {
      if (this.#lease === inUse) this.#lease = null;
      throw error;
    }
  }

  /** The newest by the order of their writing, sorted by the time they bear. */
  async newest(limit: number, options: CallOptions): Promise<readonly Receipt[]> {
    assert(limit >= 1 && limit <= LIMIT_MAX, `1 to ${LIMIT_MAX} receipts are read at once`);
    const { keys, logger } = this.#reading;
    const range = {
      key: keyBytes(keys.allReceipts),
      range_end: rangeEnd(keys.allReceipts),
      keys_only: true,
      sort_target: "Mod",
      sort_order: "Descend",
      limit,
    } as const;
    const named = await this.#hosts.idempotent(
      "receipts",
      (client, call) => client.kv.range(range, call),
      options,
    );
    const newest: Receipt[] = [];
    for (let at = 0; at < named.kvs.length && newest.length < limit; at += GETS_PER_TXN) {
      const success = named.kvs
        .slice(at, at + GETS_PER_TXN)
        .map(({ key }) => ({ request_range: { key } }));
      const values = await this.#hosts.idempotent(
        "receipts",
        (client, call) => client.kv.txn({ success }, call),
        options,
      );
      for (const response of values.responses) {
        const kv = kvOf(response);
        // Expired between the two reads.
        if (kv === null || newest.length >= limit) continue;
        const keyText = textOf(kv.key);
        const key = parseKey(keys, keyText);
        const read = key.kind === "receipts" ? readReceiptsValue(textOf(kv.value), key) : null;
        if (read?.ok === true) newest.push(...read.value);
        else
          logger.warn("unreadable key in etcd is ignored", {
            key: keyText,
            problem: read?.error ?? "not a place for receipts",
          });
      }
    }
    return newest.sort(newestFirst).slice(0, limit);
  }
}

function newestFirst(a: Receipt, b: Receipt): number {
  return (
    b.issuedAtMs - a.issuedAtMs ||
    (a.nodeId === b.nodeId ? b.sequence - a.sequence : a.nodeId < b.nodeId ? -1 : 1)
  );
}

function checkBatch(receipts: readonly Receipt[], clusterId: string): void {
  assert(
    receipts.length <= LIMITS.receiptsPerWriteMax,
    `at most ${LIMITS.receiptsPerWriteMax} receipts are written at once`,
  );
  const [first] = receipts;
  let before = -1;
  for (const receipt of receipts) {
    assert(receipt.clusterId === clusterId, "receipts are of this cluster");
    assert(receipt.nodeId === first?.nodeId, "receipts that are written at once are one node's");
    assert(receipt.runStartedAtMs === first.runStartedAtMs, "and of one run of it");
    assert(receipt.sequence > before, "receipts come in the order of their sequence numbers");
    before = receipt.sequence;
  }
}
