import type { ClusterId, TxId } from "@quorate/core";
import type { Hex } from "@quorate/ports";
import { encodeAbiParameters, keccak256, stringToHex } from "viem";

/** keccak256("quorate/record/v1"), the contract's DOMAIN. */
export const RECORD_DOMAIN: Hex = keccak256(stringToHex("quorate/record/v1"));

const PREIMAGE = [{ type: "bytes32" }, { type: "string" }, { type: "string" }] as const;

/**
 * The contract's once-for-ever key: keccak256(abi.encode(DOMAIN, clusterId, txId)). Pure.
 * The cluster's id is inside, so that two clusters which share a contract cannot
 * take each other's transaction ids.
 */
export function recordKeyOf(clusterId: ClusterId, txId: TxId): Hex {
  return keccak256(encodeAbiParameters(PREIMAGE, [RECORD_DOMAIN, clusterId, txId]));
}
