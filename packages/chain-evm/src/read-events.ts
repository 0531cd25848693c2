import type { EvmAddress } from "@quorate/core";
import { type AbortOptions, ChainError, type Clock, type RecordedEvent } from "@quorate/ports";

import { scanRecordedEvents } from "./event-scan.ts";
import { addressHex } from "./hex.ts";
import { createRpcEndpoint, RpcFailure } from "./json-rpc.ts";

export interface ReadRecordedEventsOptions {
  readonly rpcUrl: string;
  readonly contractAddress: EvmAddress;
  /** First block, included. */
  readonly fromBlock: bigint;
  /** Last block, included. */
  readonly toBlock: bigint;
  /** Blocks asked for at once. Default 2,000, which public endpoints allow; halved when one refuses. */
  readonly blocksPerCall?: number | undefined;
  /** Bound of one RPC call, in ms. Default 10,000. */
  readonly timeoutMs?: number | undefined;
}

const TIMEOUT_MS_DEFAULT = 10_000;

/**
 * All `Recorded` events of the contract in a range of blocks, in chain order. Reads the chain by
 * itself, independent of the submitter's client, so that a checker can hold one against the other.
 * Ask up to a final block: a reorg between two calls would mix two histories.
 * @throws ChainError RPC_UNREACHABLE or RPC_ERROR.
 */
export async function readRecordedEvents(
  options: ReadRecordedEventsOptions,
  dependencies: { readonly clock: Clock },
  { signal }: AbortOptions = {},
): Promise<readonly RecordedEvent[]> {
  const { call, label } = createRpcEndpoint(
    { url: options.rpcUrl, timeoutMs: options.timeoutMs ?? TIMEOUT_MS_DEFAULT },
    dependencies,
  );
  try {
    return await scanRecordedEvents(
      call,
      {
        address: addressHex(options.contractAddress),
        from: options.fromBlock,
        to: options.toBlock,
      },
      { signal, blocksPerCall: options.blocksPerCall },
    );
  } catch (error) {
    if (!(error instanceof RpcFailure)) throw error;
    throw new ChainError(
      error.kind === "unreachable" ? "RPC_UNREACHABLE" : "RPC_ERROR",
      `reading ${label} failed: ${error.text}`,
      { retryable: true, cause: error },
    );
  }
}
