import { type AbortOptions, ChainError, type Fees } from "@quorate/ports";

import { newestBlock } from "./chain-reads.ts";
import { isRecord, type RpcCall, RpcFailure } from "./json-rpc.ts";
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
// Blocks whose tips are looked at: two minutes of the main network, and a short answer.
const HISTORY_BLOCKS = 10;
// Of each block the tip that half of its gas paid less than: enough to be taken soon, not to be first.
const HISTORY_PERCENTILE = 50;

/**
 * Fees from the next block's base fee: maxFee = 2 × base fee + tip, both cut at the cap.
 * A cap below the base fee gives fees that wait until the chain is cheaper.
 * @throws ChainError RPC_ERROR, for no retry, when both would be zero: what costs nothing can't be replaced by what costs more.
 */
export function feesFor(
  baseFeePerGasWei: bigint,
  suggestedTipWei: bigint | null,
  policy: FeePolicy = {},
): Fees {
  const floor = policy.minPriorityFeeWei ?? MIN_PRIORITY_FEE_WEI_DEFAULT;
  const tip = suggestedTipWei !== null && suggestedTipWei > floor ? suggestedTipWei : floor;
  const wanted = BASE_FEE_MULTIPLIER * baseFeePerGasWei + tip;
  const cap = policy.maxFeeCapWei ?? wanted;
  const maxFeePerGasWei = wanted < cap ? wanted : cap;
  if (maxFeePerGasWei === 0n) {
    throw new ChainError(
      "RPC_ERROR",
      "the chain's base fee is zero and so is the least tip: a transaction that offers nothing can never be replaced by one that offers more. Offer a tip of at least 1 wei",
      { retryable: false },
    );
  }
  // A tip above the max fee would make the transaction invalid.
  return {
    maxFeePerGasWei,
    maxPriorityFeePerGasWei: tip < maxFeePerGasWei ? tip : maxFeePerGasWei,
  };
}

/**
 * Fees by one endpoint's fee history; where it has none, by its newest block and its own suggestion.
 * @throws RpcFailure; ChainError as `feesFor` and `newestBlock`.
 */
export async function readFees(
  call: RpcCall,
  policy: FeePolicy | undefined,
  options: AbortOptions,
): Promise<Fees> {
  const history = await feeHistory(call, options);
  if (history?.tipWei !== undefined && history.tipWei !== null)
    return feesFor(history.nextBaseFeeWei, history.tipWei, policy);
  // Asked in any case: it refuses a chain without EIP-1559, whose fee history may well answer.
  const { baseFeePerGasWei } = await newestBlock(call, options);
  const base = history?.nextBaseFeeWei ?? baseFeePerGasWei;
  return feesFor(base, await suggestedTip(call, options), policy);
}

/** Null when the endpoint can't say; a null tip when nobody paid one. */
async function feeHistory(
  call: RpcCall,
  options: AbortOptions,
): Promise<{ readonly nextBaseFeeWei: bigint; readonly tipWei: bigint | null } | null> {
  const params = [`0x${HISTORY_BLOCKS.toString(16)}`, "latest", [HISTORY_PERCENTILE]];
  let answer: unknown;
  try {
    answer = await call("eth_feeHistory", params, options);
  } catch (error) {
    // Many ways to say no are known (no such method, pruned, disabled): all have the same way out.
    if (error instanceof RpcFailure && error.kind === "error") return null;
    throw error;
  }
  if (!isRecord(answer) || !Array.isArray(answer["baseFeePerGas"]))
    throw new RpcFailure("malformed", "the answer has a bad fee history");
  const next: unknown = answer["baseFeePerGas"].at(-1);
  const nextBaseFeeWei = readQuantity(next, "next base fee");
  // Before EIP-1559 the history is made of zeros, and so is that of a chain without a base fee: the newest block tells.
  if (nextBaseFeeWei === 0n) return null;
  const { reward, gasUsedRatio } = answer;
  if (!Array.isArray(reward) || !Array.isArray(gasUsedRatio))
    return { nextBaseFeeWei, tipWei: null };
  // An empty block has a reward of zero, which nobody offered.
  const tips = reward
    .filter((_, index) => Number(gasUsedRatio[index]) > 0)
    .map((row: unknown) => readQuantity(Array.isArray(row) ? row[0] : null, "reward"));
  return { nextBaseFeeWei, tipWei: median(tips) };
}

/** The middle one, of two the higher. */
function median(values: readonly bigint[]): bigint | null {
  const sorted = values.toSorted((a, b) => (a < b ? -1 : a > b ? 1 : 0));
  return sorted[Math.floor(sorted.length / 2)] ?? null;
}

/** The endpoint's idea of a tip; null when it has none. */
async function suggestedTip(call: RpcCall, options: AbortOptions): Promise<bigint | null> {
  try {
    return readQuantity(await call("eth_maxPriorityFeePerGas", [], options), "priority fee");
  } catch (error) {
    if (error instanceof RpcFailure && isMethodMissing(error.rpcCode, error.text)) return null;
    throw error;
  }
}
