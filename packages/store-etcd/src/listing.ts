import { assert, type NodeId, type TxId } from "@quorate/core";
import type { OpenTransaction, Presence } from "@quorate/ports";
import type { IKeyValue } from "etcd3";
import type { CallOptions, EtcdHosts } from "./etcd-hosts.ts";
import { parseKey } from "./keys.ts";
import { getRange, keyBytes, kvOf, rangeEnd, rangeOf, textOf } from "./ops.ts";
import type { Reading } from "./snapshot.ts";
import { readCount, readPresence, readRecord, readStatus } from "./values.ts";

const PAGE_MAX = 1_000;
// As many statuses as our own commits can create in one revision, and so under one create revision.
const SIBLINGS_MAX = 128;
const GETS_PER_TXN = 100;
const CURSORS_MAX = 1_000;

interface Place {
  readonly txId: TxId;
  /** Revision in which it was opened. */
  readonly created: bigint;
}

interface Row extends Place {
  readonly kv: IKeyValue;
}

/** Pages through the transactions in the order in which they were opened. */
export class TransactionList {
  readonly #hosts: EtcdHosts;
  readonly #reading: Reading;
  /** When the last transactions of recent pages were opened: a caller may purge a page before it asks for the next. */
  readonly #cursors = new Map<TxId, bigint>();

  constructor(hosts: EtcdHosts, reading: Reading) {
    this.#hosts = hosts;
    this.#reading = reading;
  }

  /** A cursor that is known neither here nor in etcd begins again with the oldest. */
  async page(
    { after, limit }: { readonly after: TxId | null; readonly limit: number },
    options: CallOptions,
  ): Promise<readonly OpenTransaction[]> {
    assert(limit >= 1 && limit <= PAGE_MAX, `a page is of 1 to ${PAGE_MAX} transactions`);
    let place: Place | null = null;
    if (after !== null) {
      const created = await this.#openedAt(after, options);
      place = created === null ? null : { txId: after, created };
    }
    for (;;) {
      const { rows, revision } = await this.#rows(place?.created ?? 0n, limit, options);
      const from = place;
      const page = rows.filter((row) => from === null || isAfter(row, from)).slice(0, limit);
      const last = page.at(-1);
      if (last === undefined) return [];
      const listed = await this.#withRecords(page, revision, options);
      // A page of forgeries only must not look like the end.
      if (listed.length > 0) {
        this.#remember(page.findLast((row) => row.txId === listed.at(-1)?.txId) ?? last);
        return listed;
      }
      place = last;
    }
  }

  async #openedAt(txId: TxId, options: CallOptions): Promise<bigint | null> {
    const known = this.#cursors.get(txId);
    if (known !== undefined) return known;
    const key = this.#reading.keys.status(txId);
    const response = await this.#hosts.idempotent(
      "list",
      (client, call) => client.kv.range({ key: keyBytes(key), keys_only: true }, call),
      options,
    );
    const kv = response.kvs[0];
    return kv === undefined ? null : BigInt(kv.create_revision);
  }

  async #rows(
    from: bigint,
    limit: number,
    options: CallOptions,
  ): Promise<{ readonly rows: readonly Row[]; readonly revision: string }> {
    const { keys, logger } = this.#reading;
    // etcd sorts by creation but leaves open how equals lie: enough of them are fetched to sort them here.
    const fetched = limit + 2 * SIBLINGS_MAX;
    const response = await this.#hosts.idempotent(
      "list",
      (client, call) =>
        client.kv.range(
          {
            key: keyBytes(keys.statuses),
            range_end: rangeEnd(keys.statuses),
            min_create_revision: from.toString(),
            sort_target: "Create",
            sort_order: "Ascend",
            limit: fetched,
          },
          call,
        ),
      options,
    );
    const rows: Row[] = [];
    for (const kv of response.kvs) {
      const key = textOf(kv.key);
      const parsed = parseKey(keys, key);
      if (parsed.kind === "status")
        rows.push({ txId: parsed.txId, created: BigInt(kv.create_revision), kv });
      else logger.warn("unreadable key in etcd is ignored", { key, problem: "not a status" });
    }
    rows.sort((a, b) => (isAfter(a, b) ? 1 : -1));
    if (response.kvs.length < fetched) return { rows, revision: response.header.revision };
    // The youngest group may be cut: it waits for the next page.
    const cut = rows.at(-1)?.created;
    const whole = rows.filter((row) => row.created !== cut);
    return { rows: whole, revision: response.header.revision };
  }

  async #withRecords(
    rows: readonly Row[],
    revision: string,
    options: CallOptions,
  ): Promise<readonly OpenTransaction[]> {
    const { keys, logger } = this.#reading;
    const result: OpenTransaction[] = [];
    for (let at = 0; at < rows.length; at += GETS_PER_TXN) {
      const part = rows.slice(at, at + GETS_PER_TXN);
      const success = part.map(({ txId }) => ({
        request_range: { key: keyBytes(keys.record(txId)), revision },
      }));
      const response = await this.#hosts.idempotent(
        "list",
        (client, call) => client.kv.txn({ success }, call),
        options,
      );
      for (const [i, { txId, kv }] of part.entries()) {
        const recordKv = kvOf(response.responses[i]);
        const status = readStatus(textOf(kv.value));
        const record = recordKv === null ? null : readRecord(textOf(recordKv.value));
        if (status.ok && record?.ok === true)
          result.push({ txId, status: status.value, record: record.value });
        else
          logger.warn("transaction without a readable status and record is not listed", { txId });
      }
    }
    return result;
  }

  #remember({ txId, created }: Place): void {
    this.#cursors.delete(txId);
    this.#cursors.set(txId, created);
    const oldest = this.#cursors.keys().next();
    if (this.#cursors.size > CURSORS_MAX && oldest.done !== true)
      this.#cursors.delete(oldest.value);
  }
}

function isAfter(row: Place, other: Place): boolean {
  return row.created === other.created ? row.txId > other.txId : row.created > other.created;
}

export async function readPresences(
  hosts: EtcdHosts,
  { keys, logger }: Reading,
  options: CallOptions,
): Promise<readonly Presence[]> {
  const response = await hosts.idempotent(
    "presence",
    (client, call) => client.kv.txn({ success: [getRange(keys.presences)] }, call),
    options,
  );
  const presences: Presence[] = [];
  for (const kv of rangeOf(response.responses[0]).kvs) {
    const keyText = textOf(kv.key);
    const key = parseKey(keys, keyText);
    const read = key.kind === "presence" ? readPresence(textOf(kv.value), key.peerId) : null;
    if (read?.ok === true) presences.push(read.value);
    else
      logger.warn("unreadable key in etcd is ignored", {
        key: keyText,
        problem: read?.error ?? "not a presence",
      });
  }
  return presences;
}

/** The silent runs, and the revision at which they were read. */
export async function readStreaksAt(
  hosts: EtcdHosts,
  { keys, logger }: Reading,
  options: CallOptions,
): Promise<{ readonly streaks: ReadonlyMap<NodeId, number>; readonly revision: bigint }> {
  const response = await hosts.idempotent(
    "silence",
    (client, call) => client.kv.txn({ success: [getRange(keys.silences)] }, call),
    options,
  );
  const streaks = new Map<NodeId, number>();
  for (const kv of rangeOf(response.responses[0]).kvs) {
    const keyText = textOf(kv.key);
    const key = parseKey(keys, keyText);
    const read = key.kind === "silence" ? readCount(textOf(kv.value)) : null;
    if (key.kind === "silence" && read?.ok === true) streaks.set(key.nodeId, read.value);
    else
      logger.warn("unreadable key in etcd is ignored", {
        key: keyText,
        problem: read?.ok === false ? read.error : "not a silent run",
      });
  }
  return { streaks, revision: BigInt(response.header.revision) };
}
