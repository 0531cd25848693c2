import { assert, type EvmAddress, type Value } from "@quorate/core";
import { type AbortOptions, ChainError, type Clock, type Hex } from "@quorate/ports";

import { addressHex } from "./hex.ts";
import { createRpcEndpoint, type RpcCall, RpcFailure } from "./json-rpc.ts";
import { decodeRecordEvent, recordedTopic } from "./recorder-codec.ts";
import { isRangeTooWide } from "./rpc-errors.ts";
import { type LogShape, quantity, readLogs } from "./rpc-shapes.ts";

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

/** One `Recorded` event of the contract: the only trace of an effect that counts. */
export interface RecordedEvent {
  readonly key: Hex;
  readonly value: Value;
  readonly blockNumber: bigint;
  readonly txHash: Hex;
  readonly logIndex: number;
}

const BLOCKS_PER_CALL_DEFAULT = 2_000;
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
  const address = addressHex(options.contractAddress);
  let step = BigInt(options.blocksPerCall ?? BLOCKS_PER_CALL_DEFAULT);
  assert(step >= 1n, "a call asks for at least one block");
  const events: RecordedEvent[] = [];
  for (let from = options.fromBlock; from <= options.toBlock; ) {
    const last = from + step - 1n;
    const to = last < options.toBlock ? last : options.toBlock;
    try {
      events.push(...(await readRange(call, { address, from, to }, { signal })));
      from = to + 1n;
    } catch (error) {
      if (!(error instanceof RpcFailure)) throw error;
      if (error.kind === "error" && isRangeTooWide(error.text) && to > from) {
        step = (to - from + 1n) / 2n;
        continue;
      }
      throw new ChainError(
        error.kind === "unreachable" ? "RPC_UNREACHABLE" : "RPC_ERROR",
        `reading events of blocks ${from} to ${to} from ${label} failed: ${error.text}`,
        { retryable: true, cause: error },
      );
    }
  }
  return events;
}

async function readRange(
  call: RpcCall,
  range: { readonly address: Hex; readonly from: bigint; readonly to: bigint },
  options: AbortOptions,
): Promise<readonly RecordedEvent[]> {
  const filter = {
    address: range.address,
    topics: [recordedTopic],
    fromBlock: quantity(range.from),
    toBlock: quantity(range.to),
  };
  const logs = readLogs(await call("eth_getLogs", [filter], options));
  return logs
    .map((log) => toRecordedEvent(log, range))
    .toSorted((a, b) => Number(a.blockNumber - b.blockNumber) || a.logIndex - b.logIndex);
}

function toRecordedEvent(
  log: LogShape,
  range: { readonly address: Hex; readonly from: bigint; readonly to: bigint },
): RecordedEvent {
  const event = decodeRecordEvent(log);
  const asked =
    log.address === range.address && log.blockNumber >= range.from && log.blockNumber <= range.to;
  if (!asked || event?.kind !== "recorded") {
    throw new RpcFailure("malformed", "the answer holds a log that was not asked for");
  }
  return {
    key: event.key,
    value: event.value,
    blockNumber: log.blockNumber,
    txHash: log.transactionHash,
    logIndex: log.logIndex,
  };
}
