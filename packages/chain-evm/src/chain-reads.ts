import { assert } from "@quorate/core";
import {
  type AbortOptions,
  type BlockRef,
  ChainError,
  type ChainReceipt,
  type ChainRecord,
  type FinalityMode,
  type Hex,
  type RecordEvent,
} from "@quorate/ports";

import { isRecord, type RpcCall, RpcFailure } from "./json-rpc.ts";
import { RECORD_DOMAIN } from "./record-key.ts";
import {
  decodeRecordEvent,
  decodeRecordsOf,
  decodeRevert,
  encodeDomain,
  encodeRecordsOf,
} from "./recorder-codec.ts";
import { isBlockMissing, isRevert } from "./rpc-errors.ts";
import { quantity, readBlock, readData, readQuantity, readReceipt } from "./rpc-shapes.ts";

// Reads against ONE endpoint; the pool decides against which.

/** The newest block. @throws ChainError WRONG_CHAIN when it has no base fee: what we sign would never be valid there. */
export async function newestBlock(call: RpcCall, options: AbortOptions): Promise<BlockRef> {
  const answer = await call("eth_getBlockByNumber", ["latest", false], options);
  if (isRecord(answer) && (answer["baseFeePerGas"] ?? null) === null) {
    throw new ChainError(
      "WRONG_CHAIN",
      "the chain's newest block has no baseFeePerGas: it lacks EIP-1559, which the submitter's transactions need",
      { retryable: false },
    );
  }
  const block = readBlock(answer);
  if (block === null) throw new RpcFailure("malformed", "the endpoint has no newest block");
  return block;
}

/** The block under a tag or at a height; null when the endpoint has none. */
export async function blockByTag(
  call: RpcCall,
  tag: "finalized" | "safe" | Hex,
  options: AbortOptions,
): Promise<BlockRef | null> {
  try {
    return readBlock(await call("eth_getBlockByNumber", [tag, false], options));
  } catch (error) {
    // Before the chain is long enough some endpoints answer with an error instead of null.
    if (error instanceof RpcFailure && error.kind === "error" && isBlockMissing(error.text)) {
      return null;
    }
    throw error;
  }
}

/** The canonical block at a height; null when there is none. */
export async function blockByNumber(
  call: RpcCall,
  number: bigint,
  options: AbortOptions,
): Promise<BlockRef | null> {
  const block = await blockByTag(call, quantity(number), options);
  if (block !== null && block.number !== number) {
    throw new RpcFailure("malformed", "the answer is another block than the one asked for");
  }
  return block;
}

/** The newest block that is final by the mode; null when the chain is not that long yet. */
export async function finalBlock(
  call: RpcCall,
  mode: FinalityMode,
  options: AbortOptions,
): Promise<BlockRef | null> {
  if (mode.kind !== "confirmations") return await blockByTag(call, mode.kind, options);
  assert(
    Number.isSafeInteger(mode.blocks) && mode.blocks >= 0,
    "confirmations must be a whole number from 0 up",
  );
  const newest = await newestBlock(call, options);
  const number = newest.number - BigInt(mode.blocks);
  return number < 0n ? null : await blockByNumber(call, number, options);
}

/** The account's next nonce. */
export async function transactionCountAt(
  call: RpcCall,
  address: Hex,
  at: "latest" | "pending" | bigint,
  options: AbortOptions,
): Promise<bigint> {
  const params = [address, typeof at === "bigint" ? quantity(at) : at];
  const count = readQuantity(
    await call("eth_getTransactionCount", params, options),
    "transaction count",
  );
  // No account gets there; an endpoint that says so would burn every nonce below.
  if (count > BigInt(Number.MAX_SAFE_INTEGER))
    throw new RpcFailure("malformed", "the answer has an impossible transaction count");
  return count;
}

/** The receipt, if its block is still the canonical one at its height; else null. */
export async function canonicalReceipt(
  call: RpcCall,
  hash: Hex,
  contract: Hex,
  options: AbortOptions,
): Promise<ChainReceipt | null> {
  const receipt = readReceipt(await call("eth_getTransactionReceipt", [hash], options), hash);
  if (receipt === null) return null;
  // An endpoint may go on serving the receipt of a block that was reorged away.
  const block = await blockByNumber(call, receipt.blockNumber, options);
  if (block?.hash !== receipt.blockHash) return null;
  await checkReached(call, receipt.blockNumber, "receipt", options);
  const events = receipt.logs
    .filter((log) => log.address === contract)
    .map(decodeRecordEvent)
    .filter((event): event is RecordEvent => event !== null);
  return {
    hash,
    status: receipt.status,
    blockNumber: receipt.blockNumber,
    blockHash: receipt.blockHash,
    gasUsed: receipt.gasUsed,
    events,
  };
}

/**
 * Passes when the endpoint itself has come to the block. Asked after the answer that names it: heads go up. Without it, one
 * endpoint could hide for ever that a nonce is unused, behind a block that nobody will ever reach.
 * @throws RpcFailure malformed.
 */
async function checkReached(
  call: RpcCall,
  number: bigint,
  what: string,
  options: AbortOptions,
): Promise<void> {
  const head = await newestBlock(call, options);
  if (number > head.number)
    throw new RpcFailure(
      "malformed",
      `the answer has a ${what} of block ${number}, but the endpoint's own head is block ${head.number}`,
    );
}

/** Passes when every record was made in a block that was there when it was asked for. @throws RpcFailure malformed. */
export async function checkRecords(
  call: RpcCall,
  records: readonly (ChainRecord | null)[],
  at: "latest" | bigint,
  options: AbortOptions,
): Promise<void> {
  let last: bigint | null = null;
  for (const record of records)
    if (record !== null && (last === null || record.blockNumber > last)) last = record.blockNumber;
  if (last === null) return;
  if (at !== "latest" && last > at)
    throw new RpcFailure("malformed", `the answer has a record of block ${last} at block ${at}`);
  await checkReached(call, last, "record", options);
}

/** What a call to the contract answers; "0x" when there is no code. */
export async function callContract(
  call: RpcCall,
  request: { readonly contract: Hex; readonly data: Hex; readonly block: string },
  options: AbortOptions,
): Promise<Hex> {
  const params = [{ to: request.contract, data: request.data }, request.block];
  return readData(await call("eth_call", params, options), "contract answer");
}

/** The code at an address; "0x" when there is none. */
export async function codeAt(
  call: RpcCall,
  contract: Hex,
  block: string,
  options: AbortOptions,
): Promise<Hex> {
  return readData(await call("eth_getCode", [contract, block], options), "code");
}

/** Passes when a recorder stands at the address. @throws ChainError NO_CONTRACT. */
export async function checkContract(
  call: RpcCall,
  label: string,
  contract: Hex,
  options: AbortOptions,
): Promise<void> {
  if ((await codeAt(call, contract, "latest", options)) === "0x") throw noContract(label, contract);
  try {
    const request = { contract, data: encodeDomain(), block: "latest" };
    if ((await callContract(call, request, options)) === RECORD_DOMAIN) {
      // One of an earlier build records as well, but can't be asked for many keys at once.
      const none = await callContract(call, { ...request, data: encodeRecordsOf([]) }, options);
      if (none !== "0x" && decodeRecordsOf(none, 0).length === 0) return;
    }
  } catch (error) {
    if (!(error instanceof RpcFailure) || !isRevert(error.rpcCode, error.text)) throw error;
  }
  throw new ChainError(
    "NO_CONTRACT",
    `endpoint ${label} has code at ${contract}, but it is no QuorateRecorder of this version: expected DOMAIN() to answer ${RECORD_DOMAIN}, and recordsOf() to answer at all`,
    { retryable: false },
  );
}

/** The error for an address without the contract. */
export function noContract(label: string, contract: Hex): ChainError {
  return new ChainError(
    "NO_CONTRACT",
    `endpoint ${label} has no code at ${contract}: expected the QuorateRecorder contract there`,
    { retryable: false },
  );
}

/** The gas a call needs, without headroom. @throws ChainError REVERTED, with the contract's own error by name. */
export async function estimateGas(
  call: RpcCall,
  transaction: { readonly from: Hex; readonly to: Hex; readonly data: Hex },
  options: AbortOptions,
): Promise<bigint> {
  try {
    return readQuantity(await call("eth_estimateGas", [transaction, "latest"], options), "gas");
  } catch (error) {
    if (
      error instanceof RpcFailure &&
      error.kind === "error" &&
      isRevert(error.rpcCode, error.text)
    ) {
      const reason = decodeRevert(error.data) ?? error.text;
      throw new ChainError("REVERTED", `the contract refuses the batch: ${reason}`, {
        retryable: false,
        cause: error,
      });
    }
    throw error;
  }
}
