import {
  type ClusterId,
  type EvidenceGrade,
  type NodeId,
  type PeerId,
  type SignedVote,
  type TxId,
  type TxRecord,
  type TxStatus,
  type ViolationType,
} from "@quorate/core";
import type { Logger, VersionedSnapshot } from "@quorate/ports";
import type { IKeyValue, IRequestOp, IResponseOp } from "etcd3";
import { banOps } from "./ban-ops.ts";
import { type Keys, parseKey } from "./keys.ts";
import { get, getRange, kvOf, rangeOf, textOf } from "./ops.ts";
import {
  type Read,
  readBanGrade,
  readDecision,
  readRecord,
  readStatus,
  readViolation,
  readVote,
} from "./values.ts";

/** What reading stored data needs to know and whom to tell about forgeries. */
export interface Reading {
  readonly clusterId: ClusterId;
  readonly keys: Keys;
  readonly logger: Logger;
}

const FIXED_OPS = 5;

/** The gets that make up one transaction's snapshot, and whether these peers are banned. */
export function snapshotOps(keys: Keys, txId: TxId, peers: readonly PeerId[]): IRequestOp[] {
  return [
    get(keys.status(txId)),
    get(keys.record(txId)),
    getRange(keys.votesOf(txId)),
    getRange(keys.violationsOf(txId)),
    get(keys.decision(txId)),
    ...peers.map((peer) => banOps(keys, peer).get),
  ];
}

export function snapshotOpCount(peers: readonly PeerId[]): number {
  return FIXED_OPS + peers.length;
}

/**
 * The snapshot out of the answers to `snapshotOps`. What is not readable, or lies
 * where it does not belong, counts as absent: a forged key must not stop a
 * transaction, still less count in it.
 */
export function parseSnapshot(
  reading: Reading,
  txId: TxId,
  responses: readonly IResponseOp[],
  revision: bigint,
): VersionedSnapshot {
  const warn = (key: string, problem: string): void =>
    reading.logger.warn("unreadable key in etcd is ignored", { key, problem });
  const read = <T>(kv: IKeyValue | null, parse: (text: string) => Read<T>): T | null => {
    if (kv === null) return null;
    const result = parse(textOf(kv.value));
    if (result.ok) return result.value;
    warn(textOf(kv.key), result.error);
    return null;
  };
  const statusKv = kvOf(responses[0]);
  const status: TxStatus | null = read(statusKv, readStatus);
  const record: TxRecord | null = read(kvOf(responses[1]), readRecord);
  const votes = new Map<NodeId, SignedVote>();
  for (const kv of rangeOf(responses[2]).kvs) {
    const key = parseKey(reading.keys, textOf(kv.key));
    if (key.kind !== "vote") {
      warn(textOf(kv.key), key.kind === "unreadable" ? key.problem : "not a vote");
      continue;
    }
    const { nodeId } = key;
    const vote = read(kv, (text) => readVote(text, { txId, nodeId, clusterId: reading.clusterId }));
    if (vote !== null) votes.set(nodeId, vote.vote);
  }
  const violations = new Map<NodeId, Set<ViolationType>>();
  for (const kv of rangeOf(responses[3]).kvs) addViolation(reading, kv, violations, warn);
  return {
    snapshot: {
      txId,
      status,
      record,
      votes,
      violations,
      decision: read(kvOf(responses[4]), readDecision),
    },
    version: statusKv === null ? 0n : BigInt(statusKv.mod_revision),
    revision,
  };
}

function addViolation(
  { keys }: Reading,
  kv: IKeyValue,
  violations: Map<NodeId, Set<ViolationType>>,
  warn: (key: string, problem: string) => void,
): void {
  const keyText = textOf(kv.key);
  const key = parseKey(keys, keyText);
  if (key.kind !== "violation")
    return warn(keyText, key.kind === "unreadable" ? key.problem : "not a violation");
  const violation = readViolation(textOf(kv.value), key);
  if (!violation.ok) return warn(keyText, violation.error);
  const { nodeId, type } = violation.value;
  // A violation by a peer that is no trustee concerns no vote of this transaction.
  if (nodeId === null) return;
  const types = violations.get(nodeId) ?? new Set<ViolationType>();
  violations.set(nodeId, types.add(type));
}

/** Which of the peers asked for are banned. A ban that can't be read is still a ban. */
export function parseBans(
  peers: readonly PeerId[],
  responses: readonly IResponseOp[],
): ReadonlyMap<PeerId, EvidenceGrade> {
  const bans = new Map<PeerId, EvidenceGrade>();
  for (const [at, peer] of peers.entries()) {
    const kv = kvOf(responses[FIXED_OPS + at]);
    if (kv !== null) bans.set(peer, readBanGrade(textOf(kv.value)) ?? "OPINION");
  }
  return bans;
}
