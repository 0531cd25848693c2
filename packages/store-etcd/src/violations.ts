import { type PeerId, type TxId } from "@quorate/core";
import type { StandaloneViolation } from "@quorate/ports";
import type { IRequestOp } from "etcd3";
import type { CallOptions, EtcdHosts } from "./etcd-hosts.ts";
import { parseKey } from "./keys.ts";
import { absent, get, getRange, kvOf, put, rangeOf, textOf, unchanged } from "./ops.ts";
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
  readonly bans: ReadonlyMap<PeerId, StandaloneViolation["ban"]>;
}> {
  const response = await hosts.idempotent(
    "bans",
    (client, call) => client.kv.txn({ success: [getRange(keys.bans)] }, call),
    options,
  );
  const bans = new Map<PeerId, StandaloneViolation["ban"]>();
  for (const kv of rangeOf(response.responses[0]).kvs) {
    const key = textOf(kv.key);
    const parsed = parseKey(keys, key);
    if (parsed.kind !== "ban") {
      logger.warn("unreadable key in etcd is ignored", { key, problem: "not a peer id" });
      continue;
    }
    const ban = readBan(textOf(kv.value), parsed.peerId);
    if (ban.ok) bans.set(parsed.peerId, ban.value);
    else logger.warn("unreadable key in etcd is ignored", { key, problem: ban.error });
  }
  return { revision: BigInt(response.header.revision), bans };
}

export async function readViolationsOf(
  hosts: EtcdHosts,
  { keys, logger }: Reading,
  txId: TxId,
  options: CallOptions,
): Promise<readonly StandaloneViolation["violation"][]> {
  const response = await hosts.idempotent(
    "violation",
    (client, call) => client.kv.txn({ success: [getRange(keys.violationsOf(txId))] }, call),
    options,
  );
  const violations: StandaloneViolation["violation"][] = [];
  for (const kv of rangeOf(response.responses[0]).kvs) {
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
