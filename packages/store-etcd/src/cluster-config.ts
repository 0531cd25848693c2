import {
  type ClusterId,
  type Epoch,
  fromBase64,
  LIMITS,
  makeTrusteeSet,
  parseEpoch,
  parseEvmAddress,
  parseNodeId,
  parsePeerId,
  type Trustee,
  type TrusteeSet,
  toBase64,
} from "@quorate/core";
import { type ClusterConfig, StoreError } from "@quorate/ports";
import type { IKeyValue, IRequestOp, IResponseOp, ITxnRequest } from "etcd3";
import type { CallOptions, EtcdHosts } from "./etcd-hosts.ts";
import { epochOf, type Keys } from "./keys.ts";
import {
  absent,
  get,
  getRange,
  inGroups,
  keyBytes,
  kvOf,
  put,
  rangeEnd,
  rangeOf,
  remove,
  textOf,
  unchanged,
} from "./ops.ts";
import type { Reading } from "./snapshot.ts";
import { parseObject, readCount } from "./values.ts";

/**
 * What this release writes and understands. A release that changes what older ones would read wrongly writes the next
 * number to `/config/data_version`; a cluster that never saw one has none.
 */
const DATA_VERSION = 1;

/** Writes the trustee set, unless the cluster has one. */
export function initRequest(keys: Keys, set: TrusteeSet): ITxnRequest {
  return {
    compare: [absent(keys.epoch)],
    success: setPuts(keys, set),
  };
}

function setPuts(keys: Keys, set: TrusteeSet): IRequestOp[] {
  return [
    put(keys.threshold, String(set.threshold)),
    put(keys.totalNodes, String(set.trustees.length)),
    put(keys.epoch, String(set.epoch)),
    put(keys.epochDocument(set.epoch), writeSet(set)),
    ...set.trustees.map((trustee) => put(keys.trustee(trustee.nodeId), writeTrustee(trustee))),
  ];
}

// Two hundred and more operations at a full exchange of a hundred trustees: ten groups, far below etcd's limit.
const GROUP_SIZE = 25;

/** Puts `next` in the place of the set in force, unless the epoch has moved on. */
function changeRequest(keys: Keys, before: ClusterConfig, next: TrusteeSet): ITxnRequest {
  const removed = before.set.trustees.filter(({ nodeId }) => !next.byNodeId.has(nodeId));
  const operations = [
    ...setPuts(keys, next),
    ...removed.map(({ nodeId }) => remove(keys.trustee(nodeId))),
    // A cluster from before there were such documents: what is open keeps its set.
    put(keys.epochDocument(before.set.epoch), writeSet(before.set)),
  ];
  return {
    compare: [unchanged(keys.epoch, before.epochVersion)],
    success: inGroups(operations, GROUP_SIZE),
  };
}

function configRequest(keys: Keys): ITxnRequest {
  return {
    success: [
      get(keys.epoch),
      get(keys.threshold),
      get(keys.totalNodes),
      getRange(keys.trustees),
      newestDocuments(keys),
      get(keys.dataVersion),
    ],
  };
}

/** @throws StoreError as `parseConfig` says. */
export async function readClusterConfig(
  hosts: EtcdHosts,
  reading: Reading,
  options: CallOptions,
): Promise<ClusterConfig> {
  const request = configRequest(reading.keys);
  const response = await hosts.idempotent(
    "config",
    (client, call) => client.kv.txn(request, call),
    options,
  );
  return parseConfig(reading, response.responses);
}

/** @throws StoreError REFUSED when `next` is not the epoch after the one in force. */
export async function changeTrusteesOnce(
  hosts: EtcdHosts,
  reading: Reading,
  next: TrusteeSet,
  epochVersion: bigint,
  options: CallOptions,
): Promise<"changed" | "conflict"> {
  for (;;) {
    const before = await readClusterConfig(hosts, reading, options);
    if (before.epochVersion !== epochVersion) {
      // Of a lost reply, repeated: the set in force is the one that is asked for.
      const inForce = before.set.epoch === next.epoch && writeSet(before.set) === writeSet(next);
      return inForce ? "changed" : "conflict";
    }
    if (next.epoch !== before.set.epoch + 1)
      throw new StoreError(
        "REFUSED",
        `epoch ${before.set.epoch} is followed by the next number, not by ${next.epoch}`,
        { retryable: false },
      );
    const request = changeRequest(reading.keys, before, next);
    const written = await hosts.once(
      "config",
      (client, call) => client.kv.txn(request, call),
      options,
    );
    // Lost only to another change: the next read shows it.
    if (written.succeeded) return "changed";
  }
}

// As many junk keys may lie between the sets as sets are kept.
const DOCUMENTS_READ = 2 * LIMITS.epochsKept;

/** A set's document is rewritten when the next one follows, so the newest epochs were written last. */
function newestDocuments(keys: Keys): IRequestOp {
  return {
    request_range: {
      key: keyBytes(keys.epochDocuments),
      range_end: rangeEnd(keys.epochDocuments),
      sort_target: "Mod",
      sort_order: "Descend",
      limit: DOCUMENTS_READ,
    },
  };
}

/**
 * @throws StoreError REFUSED when the cluster was never initialised, SCHEMA when a newer release wrote it, CORRUPT when
 * what is written is not a trustee set: without a sound one nothing may be counted.
 */
function parseConfig(reading: Reading, responses: readonly IResponseOp[]): ClusterConfig {
  const { keys, clusterId } = reading;
  const corrupt = (problem: string): StoreError =>
    new StoreError("CORRUPT", `configuration of cluster ${clusterId} in etcd: ${problem}`, {
      retryable: false,
    });
  const epochKv = kvOf(responses[0]);
  if (epochKv === null)
    throw new StoreError("REFUSED", `cluster ${clusterId} is not initialised in this etcd`, {
      retryable: false,
    });
  checkDataVersion(clusterId, kvOf(responses[5]), corrupt);
  const epoch = parseEpoch(textOf(epochKv.value));
  if (!epoch.ok) throw corrupt(epoch.error.message);
  const threshold = numberOf(kvOf(responses[1]));
  const total = numberOf(kvOf(responses[2]));
  if (threshold === null || total === null)
    throw corrupt("threshold or total_nodes is not a whole number");
  const trustees: Trustee[] = [];
  for (const kv of rangeOf(responses[3]).kvs) {
    const nodeText = textOf(kv.key).slice(keys.trustees.length);
    const trustee = readTrustee(nodeText, textOf(kv.value));
    if (trustee === null) throw corrupt(`trustee ${nodeText.slice(0, 80)} is not readable`);
    trustees.push(trustee);
  }
  if (trustees.length !== total)
    throw corrupt(`total_nodes is ${total}, but there are ${trustees.length} trustees`);
  const set = makeTrusteeSet({ clusterId, epoch: epoch.value, threshold, trustees });
  if (!set.ok) throw corrupt(set.error.join("; "));
  const documents = rangeOf(responses[4]).kvs;
  const sets = readSets(reading, documents, set.value);
  const kept = sets.get(epoch.value);
  // A cluster from before there were documents has none, until its first change.
  const hasDocuments = documents.some(({ key }) => epochOf(keys, textOf(key)) !== null);
  if (hasDocuments && (kept === undefined || writeSet(kept) !== writeSet(set.value)))
    throw corrupt(`the trustees are not those that epoch ${epoch.value} began with`);
  if (kept === undefined) sets.set(epoch.value, set.value);
  return { set: set.value, epochVersion: BigInt(epochKv.mod_revision), sets };
}

/** First of all: nothing else is to be read by rules that may have changed. */
function checkDataVersion(
  clusterId: ClusterId,
  kv: IKeyValue | null,
  corrupt: (problem: string) => StoreError,
): void {
  if (kv === null) return;
  const version = numberOf(kv);
  if (version === null) throw corrupt("data_version is not a whole number");
  if (version <= DATA_VERSION) return;
  throw new StoreError(
    "SCHEMA",
    `cluster ${clusterId} is kept in etcd as version ${version}, by a newer release; this one understands version ${DATA_VERSION}: run that release or a later one`,
    { retryable: false },
  );
}

/** The documents of the newest epochs up to the one in force, in order. */
function readSets(
  { keys, clusterId, logger }: Reading,
  kvs: readonly IKeyValue[],
  current: TrusteeSet,
): Map<Epoch, TrusteeSet> {
  const sets: TrusteeSet[] = [];
  for (const kv of kvs) {
    const key = textOf(kv.key);
    const epoch = epochOf(keys, key);
    const set = epoch === null ? null : readSet(textOf(kv.value), clusterId, epoch);
    if (set !== null && set.epoch <= current.epoch) sets.push(set);
    else logger.warn("unreadable key in etcd is ignored", { key, problem: "not a trustee set" });
  }
  sets.sort((a, b) => a.epoch - b.epoch);
  return new Map(sets.slice(-LIMITS.epochsKept).map((set) => [set.epoch, set]));
}

/** A whole set as one document; the order of the trustees is that of the set, by node id. */
function writeSet(set: TrusteeSet): string {
  return JSON.stringify({
    threshold: set.threshold,
    trustees: set.trustees.map((trustee) => ({
      node_id: trustee.nodeId,
      ...trusteeFields(trustee),
    })),
  });
}

function readSet(text: string, clusterId: ClusterId, epoch: Epoch): TrusteeSet | null {
  const object = parseObject(text);
  if (!object.ok) return null;
  const { threshold, trustees: listed } = object.value;
  if (typeof threshold !== "number" || !Array.isArray(listed)) return null;
  const trustees: Trustee[] = [];
  for (const item of listed as readonly unknown[]) {
    const trustee = isObject(item) ? trusteeOf(item["node_id"], item) : null;
    if (trustee === null) return null;
    trustees.push(trustee);
  }
  const set = makeTrusteeSet({ clusterId, epoch, threshold, trustees });
  return set.ok ? set.value : null;
}

const isObject = (input: unknown): input is Readonly<Record<string, unknown>> =>
  typeof input === "object" && input !== null;

function numberOf(kv: IKeyValue | null): number | null {
  const read = kv === null ? null : readCount(textOf(kv.value));
  return read?.ok === true ? read.value : null;
}

function writeTrustee(trustee: Trustee): string {
  return JSON.stringify(trusteeFields(trustee));
}

function trusteeFields(trustee: Trustee): Readonly<Record<string, string>> {
  return {
    peer_id: trustee.peerId,
    public_key: toBase64(trustee.publicKey),
    evm_address: trustee.evmAddress,
  };
}

function readTrustee(nodeText: string, text: string): Trustee | null {
  const object = parseObject(text);
  return object.ok ? trusteeOf(nodeText, object.value) : null;
}

function trusteeOf(name: unknown, fields: Readonly<Record<string, unknown>>): Trustee | null {
  const nodeId = parseNodeId(name);
  const peerId = parsePeerId(fields["peer_id"]);
  const evmAddress = parseEvmAddress(fields["evm_address"]);
  const keyText = fields["public_key"];
  const publicKey = typeof keyText === "string" ? fromBase64(keyText) : null;
  if (!nodeId.ok || !peerId.ok || !evmAddress.ok || publicKey === null) return null;
  return {
    nodeId: nodeId.value,
    peerId: peerId.value,
    publicKey,
    evmAddress: evmAddress.value,
  };
}
