import {
  type ClusterId,
  fromBase64,
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
import type { IKeyValue, IResponseOp, ITxnRequest } from "etcd3";
import type { Keys } from "./keys.ts";
import { absent, get, getRange, kvOf, put, rangeOf, textOf } from "./ops.ts";
import { parseObject, readCount } from "./values.ts";

/** Writes the trustee set, unless the cluster has one. */
export function initRequest(keys: Keys, set: TrusteeSet): ITxnRequest {
  return {
    compare: [absent(keys.epoch)],
    success: [
      put(keys.threshold, String(set.threshold)),
      put(keys.totalNodes, String(set.trustees.length)),
      put(keys.epoch, String(set.epoch)),
      ...set.trustees.map((trustee) => put(keys.trustee(trustee.nodeId), writeTrustee(trustee))),
    ],
  };
}

export function configRequest(keys: Keys): ITxnRequest {
  return {
    success: [get(keys.epoch), get(keys.threshold), get(keys.totalNodes), getRange(keys.trustees)],
  };
}

/**
 * @throws StoreError REFUSED when the cluster was never initialised, CORRUPT when
 * what is written is not a trustee set: without a sound one nothing may be counted.
 */
export function parseConfig(
  keys: Keys,
  clusterId: ClusterId,
  responses: readonly IResponseOp[],
): ClusterConfig {
  const corrupt = (problem: string): StoreError =>
    new StoreError("CORRUPT", `configuration of cluster ${clusterId} in etcd: ${problem}`, {
      retryable: false,
    });
  const epochKv = kvOf(responses[0]);
  if (epochKv === null)
    throw new StoreError("REFUSED", `cluster ${clusterId} is not initialised in this etcd`, {
      retryable: false,
    });
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
  return { set: set.value, epochVersion: BigInt(epochKv.mod_revision) };
}

function numberOf(kv: IKeyValue | null): number | null {
  const read = kv === null ? null : readCount(textOf(kv.value));
  return read?.ok === true ? read.value : null;
}

function writeTrustee(trustee: Trustee): string {
  return JSON.stringify({
    peer_id: trustee.peerId,
    public_key: toBase64(trustee.publicKey),
    evm_address: trustee.evmAddress,
  });
}

function readTrustee(nodeText: string, text: string): Trustee | null {
  const object = parseObject(text);
  if (!object.ok) return null;
  const nodeId = parseNodeId(nodeText);
  const peerId = parsePeerId(object.value["peer_id"]);
  const evmAddress = parseEvmAddress(object.value["evm_address"]);
  const keyText = object.value["public_key"];
  const publicKey = typeof keyText === "string" ? fromBase64(keyText) : null;
  if (!nodeId.ok || !peerId.ok || !evmAddress.ok || publicKey === null) return null;
  return {
    nodeId: nodeId.value,
    peerId: peerId.value,
    publicKey,
    evmAddress: evmAddress.value,
  };
}
