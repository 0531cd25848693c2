import { type BanLift, type NodeId } from "@quorate/core";
import { type BanEntry, StoreError } from "@quorate/ports";
import type { IKeyValue, IRequestOp } from "etcd3";
import type { CallOptions, EtcdHosts } from "./etcd-hosts.ts";
import { parseKey } from "./keys.ts";
import { absent, get, getRange, kvOf, put, rangeOf, remove, textOf, unchanged } from "./ops.ts";
import type { Reading } from "./snapshot.ts";
import { readBan, readBanGrade, readLift, writeBan, writeLift } from "./values.ts";

/**
 * Bans a peer unless it is banned; a PROOF replaces an OPINION, if that is still the one that was
 * read. Of a lost reply, repeated: it is banned already.
 */
export async function recordBanOnce(
  hosts: EtcdHosts,
  { keys }: Reading,
  ban: BanEntry,
  options: CallOptions,
): Promise<boolean> {
  const key = keys.banned(ban.peerId);
  let compare = [absent(key)];
  for (;;) {
    const request = { compare, success: [put(key, writeBan(ban, null))], failure: [get(key)] };
    const written = await hosts.once(
      "bans",
      (client, call) => client.kv.txn(request, call),
      options,
    );
    if (written.succeeded) return true;
    const stored = kvOf(written.responses[0]);
    if (stored !== null) {
      const isWeaker = ban.grade === "PROOF" && readBanGrade(textOf(stored.value)) === "OPINION";
      if (!isWeaker) return false;
    }
    // Lost to a writer that moved this ban or ended it since it was read.
    compare = [stored === null ? absent(key) : unchanged(key, BigInt(stored.mod_revision))];
  }
}

/**
 * Ends an OPINION ban, if it is still the one that was read. The lift's own key makes a
 * repetition harmless: it is found, even when the peer has been banned anew meanwhile.
 */
export async function liftBanOnce(
  hosts: EtcdHosts,
  { keys }: Reading,
  lift: BanLift,
  options: CallOptions,
): Promise<"lifted" | "not-banned" | "permanent"> {
  const { peerId, liftedAtMs } = lift;
  const liftKey = keys.lift(peerId, liftedAtMs);
  const banKey = keys.banned(peerId);
  for (;;) {
    const before = await hosts.idempotent(
      "bans",
      (client, call) => client.kv.txn({ success: [get(liftKey), get(banKey)] }, call),
      options,
    );
    const liftKv = kvOf(before.responses[0]);
    const banKv = kvOf(before.responses[1]);
    if (isThis(liftKv, lift)) return "lifted";
    if (banKv === null) return "not-banned";
    // What can't be read is no proof of anything.
    if (readBanGrade(textOf(banKv.value)) === "PROOF") return "permanent";
    if (liftKv !== null) throw sameTime(lift);
    const success: IRequestOp[] = [remove(banKey), put(liftKey, writeLift(lift))];
    const nodeId = lift.nodeId ?? nodeOf(banKv, lift);
    if (nodeId !== null) success.push(put(keys.silence(nodeId), "0"));
    const compare = [unchanged(banKey, BigInt(banKv.mod_revision)), absent(liftKey)];
    const written = await hosts.once(
      "bans",
      (client, call) => client.kv.txn({ compare, success }, call),
      options,
    );
    // Lost only to a writer that moved this ban or ended it: the next read shows it.
    if (written.succeeded) return "lifted";
  }
}

/** Removes exactly this version of a ban, in one Txn. */
export async function strikeBanOnce(
  hosts: EtcdHosts,
  { keys }: Reading,
  lift: BanLift,
  version: bigint,
  options: CallOptions,
): Promise<boolean> {
  // Of a key that does not exist, etcd says that its revision is 0.
  if (version <= 0n) return false;
  const { peerId, liftedAtMs } = lift;
  const liftKey = keys.lift(peerId, liftedAtMs);
  const banKey = keys.banned(peerId);
  const request = {
    compare: [unchanged(banKey, version), absent(liftKey)],
    success: [remove(banKey), put(liftKey, writeLift(lift))],
    failure: [get(liftKey), get(banKey)],
  };
  const written = await hosts.once("bans", (client, call) => client.kv.txn(request, call), options);
  if (written.succeeded || isThis(kvOf(written.responses[0]), lift)) return true;
  if (BigInt(kvOf(written.responses[1])?.mod_revision ?? 0) === version) throw sameTime(lift);
  return false;
}

export async function readLiftList(
  hosts: EtcdHosts,
  { keys, logger }: Reading,
  options: CallOptions,
): Promise<readonly BanLift[]> {
  const response = await hosts.idempotent(
    "bans",
    (client, call) => client.kv.txn({ success: [getRange(keys.lifts)] }, call),
    options,
  );
  const lifts: BanLift[] = [];
  for (const kv of rangeOf(response.responses[0]).kvs) {
    const keyText = textOf(kv.key);
    const key = parseKey(keys, keyText);
    const read = key.kind === "lift" ? readLift(textOf(kv.value), key) : null;
    if (read?.ok === true) lifts.push(read.value);
    else
      logger.warn("unreadable key in etcd is ignored", {
        key: keyText,
        problem: read?.error ?? "not the end of a ban",
      });
  }
  return lifts.sort((a, b) => a.liftedAtMs - b.liftedAtMs || (a.peerId < b.peerId ? -1 : 1));
}

function isThis(kv: IKeyValue | null, lift: BanLift): boolean {
  return kv !== null && textOf(kv.value) === writeLift(lift);
}

function nodeOf(banKv: IKeyValue, { peerId }: BanLift): NodeId | null {
  const ban = readBan(textOf(banKv.value), peerId);
  return ban.ok ? ban.value.nodeId : null;
}

function sameTime({ peerId }: BanLift): StoreError {
  return new StoreError("REFUSED", `another end of ${peerId}'s ban has the same time`, {
    retryable: false,
  });
}
