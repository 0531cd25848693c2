import type { AbortOptions, BlockRef, Fees } from "@quorate/ports";

import { type RpcCall, RpcFailure } from "./json-rpc.ts";
import { isMethodMissing } from "./rpc-errors.ts";
import { readQuantity } from "./rpc-shapes.ts";

/** How fees are chosen. */
export interface FeePolicy {
  /** Least tip offered, in wei per gas. Default 1 gwei. */
  readonly minPriorityFeeWei?: bigint | undefined;
  /** Most ever offered as max fee, in wei per gas. Default: no cap. */
  readonly maxFeeCapWei?: bigint | undefined;
}

/** 1 gwei: what public mempools take at the least. */
export const MIN_PRIORITY_FEE_WEI_DEFAULT = 1_000_000_000n;

// Twice the base fee outlives six full blocks in a row (each raises it by at most 12.5 %).
const BASE_FEE_MULTIPLIER = 2n;

/**
 * Fees from the newest block: maxFee = 2 × base fee + tip, both cut at the cap.
 * A cap below the base fee gives fees that wait until the chain is cheaper.
 */
export function feesFor(
  head: BlockRef,
  suggestedTipWei: bigint | null,
  policy: FeePolicy = {},
): Fees {
  const floor = policy.minPriorityFeeWei ?? MIN_PRIORITY_FEE_WEI_DEFAULT;
  const tip = suggestedTipWei !== null && suggestedTipWei > floor ? suggestedTipWei : floor;
  const wanted = BASE_FEE_MULTIPLIER * head.baseFeePerGasWei + tip;
  const cap = policy.maxFeeCapWei ?? wanted;
  const maxFeePerGasWei = wanted < cap ? wanted : cap;
  // A tip above the max fee would make the transaction invalid.
  return {
    maxFeePerGasWei,
    maxPriorityFeePerGasWei: tip < maxFeePerGasWei ? tip : maxFeePerGasWei,
  };
}

/** The endpoint's idea of a tip; null when it has none. */
export async function suggestedTip(call: RpcCall, options: AbortOptions): Promise<bigint | null> {
  try {
    return readQuantity(await call("eth_maxPriorityFeePerGas", [], options), "priority fee");
  } catch (error) {
    if (error instanceof RpcFailure && isMethodMissing(error.rpcCode, error.text)) return null;
    throw error;
  }
}
