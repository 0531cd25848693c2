import { assert, type PeerId, type TxId } from "@quorate/core";
import {
  type BanEntry,
  type StandaloneViolation,
  StoreError,
  type ViolationsPage,
} from "@quorate/ports";
import type { IKeyValue, IRequestOp } from "etcd3";
import type { CallOptions, EtcdHosts } from "./etcd-hosts.ts";
import { parseKey } from "./keys.ts";
import {
  absent,
  get,
  getRange,
  keyBytes,
  kvOf,
  put,
  rangeEnd,
  rangeOf,
  textOf,
  unchanged,
} from "./ops.ts";
import type { Reading } from "./snapshot.ts";
import { readBan, readBanGrade, readViolation, writeBan, writeViolation } from "./values.ts";

/**
 * Records a violation and bans for it, in one Txn, once. A ban that is as strong
 * already stays as it is; a weaker one is replaced.
 */
export async function recordViolationOnce(
  hosts: EtcdHosts,
  { keys }: Reading,
  { violation, ban }: StandaloneViolation,
  options: CallOptions,
): Promise<boolean> {
  const { txId, peerId, type } = violation;
  const violationKey = keys.violation(txId, peerId, type);
  const banKey = keys.banned(peerId);
  for (;;) {
    const before = await hosts.idempotent(
      "violation",
      (client, call) => client.kv.txn({ success: [get(violationKey), get(banKey)] }, call),
      options,
    );
    if (kvOf(before.responses[0]) !== null) return false;
    const banKv = kvOf(before.responses[1]);
    const stands =
      banKv !== null && (ban.grade !== "PROOF" || readBanGrade(textOf(banKv.value)) === "PROOF");
    const puts: IRequestOp[] = [put(violationKey, writeViolation(violation))];
    if (!stands) puts.push(put(banKey, writeBan(ban, txId)));
    const compare = [absent(violationKey), unchanged(banKey, BigInt(banKv?.mod_revision ?? 0))];
    const written = await hosts.once(
      "violation",
      (client, call) => client.kv.txn({ compare, success: puts }, call),
      options,
    );
    // Lost only to a writer that recorded this violation or moved this ban: the next read shows it.
    if (written.succeeded) return true;
  }
}

export async function readBanList(
  hosts: EtcdHosts,
  { keys, logger }: Reading,
  options: CallOptions,
): Promise<{
  readonly revision: bigint;
  readonly bans: ReadonlyMap<PeerId, BanEntry>;
  readonly versions: ReadonlyMap<PeerId, bigint>;
}> {
  const response = await hosts.idempotent(
    "bans",
    (client, call) => client.kv.txn({ success: [getRange(keys.bans)] }, call),
    options,
  );
  const bans = new Map<PeerId, BanEntry>();
  // Also of bans that nobody can read: they hold up their peer's votes, and can be struck.
  const versions = new Map<PeerId, bigint>();
  for (const kv of rangeOf(response.responses[0]).kvs) {
    const key = textOf(kv.key);
    const parsed = parseKey(keys, key);
    if (parsed.kind !== "ban") {
      logger.warn("unreadable key in etcd is ignored", { key, problem: "not a peer id" });
      continue;
    }
    versions.set(parsed.peerId, BigInt(kv.mod_revision));
    const ban = readBan(textOf(kv.value), parsed.peerId);
    if (ban.ok) bans.set(parsed.peerId, ban.value);
    else logger.warn("unreadable key in etcd is ignored", { key, problem: ban.error });
  }
  return { revision: BigInt(response.header.revision), bans, versions };
}

export async function readViolationsOf(
  hosts: EtcdHosts,
  reading: Reading,
  txId: TxId,
  options: CallOptions,
): Promise<readonly StandaloneViolation["violation"][]> {
  const response = await hosts.idempotent(
    "violation",
    (client, call) => client.kv.txn({ success: [getRange(reading.keys.violationsOf(txId))] }, call),
    options,
  );
  return readableOf(reading, rangeOf(response.responses[0]).kvs);
}

function readableOf(
  { keys, logger }: Reading,
  kvs: readonly IKeyValue[],
): readonly StandaloneViolation["violation"][] {
  const violations: StandaloneViolation["violation"][] = [];
  for (const kv of kvs) {
    const keyText = textOf(kv.key);
    const key = parseKey(keys, keyText);
    const read = key.kind === "violation" ? readViolation(textOf(kv.value), key) : null;
    if (read?.ok === true) violations.push(read.value);
    else
      logger.warn("unreadable key in etcd is ignored", {
        key: keyText,
        problem: read?.error ?? "not a violation",
      });
  }
  return violations;
}

const PAGE_MAX = 1_000;
// A minority vote among a hundred brings a hundred signed votes with it, 100 kB: far below the largest reply.
const KEYS_PER_READ = 100;

/** In the order of the keys. The place to go on from is the last key seen, readable or not. */
export async function readViolationsPage(
  hosts: EtcdHosts,
  reading: Reading,
  { after, limit }: { readonly after: string | null; readonly limit: number },
  options: CallOptions,
): Promise<ViolationsPage> {
  assert(limit >= 1 && limit <= PAGE_MAX, `a page is of 1 to ${PAGE_MAX} violations`);
  const { violations: prefix } = reading.keys;
  let last = after === null ? null : keyOfCursor(reading, after);
  const violations: StandaloneViolation["violation"][] = [];
  for (;;) {
    // The byte 0 behind a key makes the smallest key after it.
    const key = last === null ? keyBytes(prefix) : Buffer.concat([last, Buffer.of(0)]);
    const range = {
      key,
      range_end: rangeEnd(prefix),
      limit: Math.min(limit - violations.length, KEYS_PER_READ),
    };
    const { kvs, more } = await hosts.idempotent(
      "violation",
      (client, call) => client.kv.range(range, call),
      options,
    );
    violations.push(...readableOf(reading, kvs));
    last = kvs.at(-1)?.key ?? last;
    if (!more || last === null) return { violations, next: null };
    if (violations.length >= limit) return { violations, next: cursorOf(reading, last) };
  }
}

function cursorOf({ keys }: Reading, key: Buffer): string {
  return key.subarray(keys.root.length).toString("base64url");
}

function keyOfCursor({ keys }: Reading, cursor: string): Buffer {
  const rest = Buffer.from(cursor, "base64url");
  const key = Buffer.concat([keyBytes(keys.root), rest]);
  const isOurs =
    rest.toString("base64url") === cursor &&
    key.subarray(0, keys.violations.length).equals(keyBytes(keys.violations));
  if (!isOurs)
    throw new StoreError("REFUSED", "unknown place to continue the list at", { retryable: false });
  return key;
}
