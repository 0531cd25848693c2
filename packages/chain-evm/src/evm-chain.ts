import { assert, type ClusterId, type EvmAddress, LIMITS } from "@quorate/core";
import {
  type AbortOptions,
  type BlockRef,
  type Chain,
  ChainError,
  type ChainRecord,
  type Clock,
  type Hex,
  type Logger,
  type ReadOptions,
} from "@quorate/ports";
import { bytesToHex } from "viem";

import { readAgreed, readAgreedFinal } from "./agreement.ts";
import {
  blockByNumber,
  callContract,
  canonicalReceipt,
  checkContract,
  checkRecords,
  codeAt,
  estimateGas,
  finalBlock,
  newestBlock,
  noContract,
  transactionCountAt,
} from "./chain-reads.ts";
import { createEndpointPool, type EndpointTrouble, summarize, type Work } from "./endpoint-pool.ts";
import { reportEndpoints } from "./endpoint-reports.ts";
import { scanRecordedEvents } from "./event-scan.ts";
import { type FeePolicy, readFees } from "./fees.ts";
import { estimateAmong, gasLimitFor } from "./gas.ts";
import { createHeadWatch, type HeadWatch } from "./head-watch.ts";
import { addressHex } from "./hex.ts";
import { RpcFailure } from "./json-rpc.ts";
import { nonceFloorOf } from "./nonce-floor.ts";
import { recordKeyOf } from "./record-key.ts";
import {
  decodeRecordOf,
  decodeRecordsOf,
  encodeRecordBatch,
  encodeRecordOf,
  encodeRecordsOf,
} from "./recorder-codec.ts";
import { quantity, readQuantity } from "./rpc-shapes.ts";

export interface EvmChainOptions {
  /** JSON-RPC endpoints over http(s), preferred first. They may hold secrets: only host and port are ever logged. */
  readonly rpcUrls: readonly string[];
  readonly chainId: number;
  readonly contractAddress: EvmAddress;
  readonly clusterId: ClusterId;
  /** Bound of one RPC call, in ms. A read may take this much per call and endpoint. */
  readonly timeoutMs: number;
  /** Between two looks at the head, in ms. Default 1,000. */
  readonly headPollIntervalMs?: number | undefined;
  /** How long a failed endpoint is tried last, in ms. Default 10,000. */
  readonly unhealthyMs?: number | undefined;
  readonly feePolicy?: FeePolicy | undefined;
}

export interface EvmChainDependencies {
  readonly clock: Clock;
  readonly logger: Logger;
  /** Called each time an endpoint fails or is outvoted, with its host and port. For a counter. */
  readonly onEndpointTrouble?: ((endpoint: string, trouble: EndpointTrouble) => void) | undefined;
}

const HEAD_POLL_INTERVAL_MS_DEFAULT = 1_000;
const UNHEALTHY_MS_DEFAULT = 10_000;

/**
 * The chain behind JSON-RPC endpoints. Holds no state that matters: every answer is read anew.
 * Reads go to the first healthy endpoint and, when it fails, to the next; reads that must be agreed, looks at the head and
 * raw transactions go to all.
 * @throws TypeError when an RPC URL is none; AssertionError when there is no URL.
 * @see spec §8
 */
export function createEvmChain(
  options: EvmChainOptions,
  dependencies: EvmChainDependencies,
): Chain {
  assert(options.rpcUrls.length > 0, "a chain needs at least one RPC URL");
  assert(
    Number.isSafeInteger(options.chainId) && options.chainId > 0,
    "the chain id must be a positive whole number",
  );
  const { clock } = dependencies;
  const logger = dependencies.logger.child({ chainId: options.chainId });
  const contract = addressHex(options.contractAddress);
  const stopped = new AbortController();
  const pool = createEndpointPool(
    {
      rpcUrls: options.rpcUrls,
      chainId: options.chainId,
      timeoutMs: options.timeoutMs,
      unhealthyMs: options.unhealthyMs ?? UNHEALTHY_MS_DEFAULT,
      stopSignal: stopped.signal,
    },
    { clock, logger, onEndpointTrouble: dependencies.onEndpointTrouble },
  );
  let started = false;

  const read = <T>(what: string, work: Work<T>, { signal, agreed }: ReadOptions): Promise<T> =>
    agreed === true ? readAgreed(pool, what, work, { signal }) : pool.read(work, { signal });

  /** A call of a view; null before the contract's deployment, when there was truly nothing. */
  const view = <T>(
    what: string,
    request: {
      readonly data: Hex;
      readonly at: "latest" | bigint;
      readonly decode: (answer: Hex) => T;
      readonly recordsIn: (decoded: T) => readonly (ChainRecord | null)[];
    },
    readOptions: ReadOptions,
  ): Promise<T | null> => {
    const { data, at, decode, recordsIn } = request;
    const block = typeof at === "bigint" ? quantity(at) : at;
    const { signal } = readOptions;
    return read(
      what,
      async (call, label) => {
        const answer = await callContract(call, { contract, data, block }, { signal });
        if (answer !== "0x") {
          const decoded = decode(answer);
          await checkRecords(call, recordsIn(decoded), at, { signal });
          return decoded;
        }
        // Nothing answered. Other than before the deployment an empty answer must not pass for "not recorded".
        if (typeof at === "bigint" && (await codeAt(call, contract, block, { signal })) === "0x")
          return null;
        throw noContract(label, contract);
      },
      readOptions,
    );
  };

  return {
    chainId: options.chainId,
    contractAddress: options.contractAddress,
    keyOf: (txId) => recordKeyOf(options.clusterId, txId),
    encodeBatch: (items) => encodeRecordBatch(options.clusterId, items),
    head: ({ signal } = {}) => pool.read((call) => newestBlock(call, { signal }), { signal }),

    start: async ({ signal } = {}) => {
      if (started) return;
      await pool.verifyAll({ signal });
      await pool.read(
        async (call, label) => {
          await newestBlock(call, { signal });
          await checkContract(call, label, contract, { signal });
        },
        { signal },
      );
      started = true;
      logger.info("chain connected", {
        endpoints: pool.labels,
        contractAddress: options.contractAddress,
      });
    },

    stop: async () => {
      stopped.abort(new Error("the chain client was stopped"));
      await pool.drain();
    },

    finalizedHead: (mode, { signal, agreed } = {}) => {
      const finalOf: Work<BlockRef | null> = (call) => finalBlock(call, mode, { signal });
      return agreed === true
        ? readAgreedFinal(pool, finalOf, { clock }, { signal })
        : pool.read(finalOf, { signal });
    },

    blockAt: (number, readOptions = {}) =>
      read(
        "block",
        (call) => blockByNumber(call, number, { signal: readOptions.signal }),
        readOptions,
      ),

    transactionCount: (address, at, readOptions = {}) =>
      read(
        "transaction count",
        (call) => transactionCountAt(call, addressHex(address), at, { signal: readOptions.signal }),
        readOptions,
      ),

    nonceFloor: async (address, { signal } = {}) => {
      signal?.throwIfAborted();
      const replies = await Promise.all(
        pool.askAll(
          async (call) => {
            const [latest, pending] = await Promise.all(
              (["latest", "pending"] as const).map((at) =>
                transactionCountAt(call, addressHex(address), at, { signal }),
              ),
            );
            assert(latest !== undefined && pending !== undefined, "two were asked for");
            return { latest, pending };
          },
          { signal },
        ),
      );
      const counts = replies.flatMap((reply) => (reply.kind === "answer" ? [reply.value] : []));
      if (counts.length === 0) throw summarize(replies.filter((reply) => reply.kind === "failure"));
      return nonceFloorOf(counts);
    },

    balanceWei: (address, { signal } = {}) =>
      pool.read(
        async (call) =>
          readQuantity(await call("eth_getBalance", [address, "latest"], { signal }), "balance"),
        { signal },
      ),

    receipt: (hash, readOptions = {}) =>
      read(
        "receipt",
        (call) => canonicalReceipt(call, hash, contract, { signal: readOptions.signal }),
        readOptions,
      ),

    recordOf: (txId, at, readOptions = {}) => {
      const data = encodeRecordOf(recordKeyOf(options.clusterId, txId));
      const recordsIn = (record: ChainRecord | null) => [record];
      return view("record", { data, at, decode: decodeRecordOf, recordsIn }, readOptions);
    },

    recordsOf: async (txIds, at, readOptions = {}) => {
      assert(txIds.length <= LIMITS.chainBatchMax, "at most LIMITS.chainBatchMax are read at once");
      readOptions.signal?.throwIfAborted();
      if (txIds.length === 0) return [];
      const data = encodeRecordsOf(txIds.map((txId) => recordKeyOf(options.clusterId, txId)));
      const decode = (answer: Hex) => decodeRecordsOf(answer, txIds.length);
      const recordsIn = (decoded: readonly (ChainRecord | null)[]) => decoded;
      const records = await view("records", { data, at, decode, recordsIn }, readOptions);
      return records ?? txIds.map(() => null);
    },

    recordedEvents: async (fromBlock, toBlock, readOptions = {}) => {
      const { signal } = readOptions;
      signal?.throwIfAborted();
      if (toBlock < fromBlock) return [];
      const { events } = await read(
        "events",
        async (call) => {
          // One that is not that far yet would answer without the events it lacks. The hash is part of what is agreed on.
          const last = await blockByNumber(call, toBlock, { signal });
          if (last === null) throw new RpcFailure("error", `it has no block ${toBlock} yet`);
          const range = { address: contract, from: fromBlock, to: toBlock };
          return { events: await scanRecordedEvents(call, range, { signal }), hash: last.hash };
        },
        readOptions,
      );
      return events;
    },

    endpointReports: (address, mode, { signal } = {}) =>
      reportEndpoints(
        pool,
        { address: addressHex(address), contract, mode },
        { clock },
        { signal },
      ),

    suggestFees: ({ signal } = {}) =>
      pool.read((call) => readFees(call, options.feePolicy, { signal }), { signal }),

    simulateBatch: async (from, items, { signal } = {}) => {
      const data = encodeRecordBatch(options.clusterId, items);
      const estimate = await estimateAmong(
        pool,
        (call) => estimateGas(call, { from: addressHex(from), to: contract, data }, { signal }),
        items.length,
        { clock },
        { signal },
      );
      return { gasLimit: gasLimitFor(estimate, items.length) };
    },

    send: (raw, { signal } = {}) => pool.sendRaw(bytesToHex(raw), { signal }),

    watchHeads: async (onHead, { signal }) => {
      const heads = createHeadWatch(pool, { clock });
      let lastHash: Hex | null = null;
      let failing = false;
      try {
        while (signal?.aborted !== true && !stopped.signal.aborted) {
          const outcome = await lookUnlessAborted(heads, { signal });
          if (outcome instanceof ChainError) {
            if (!failing) logger.warn("head polling fails", { code: outcome.code });
            failing = true;
          } else if (outcome !== null) {
            failing = false;
            // The hash, not the number: a reorg to a block of the same height is a new head.
            if (outcome.hash !== lastHash) await onHead(outcome);
            lastHash = outcome.hash;
          }
          await pause(clock, options.headPollIntervalMs ?? HEAD_POLL_INTERVAL_MS_DEFAULT, [
            signal,
            stopped.signal,
          ]);
        }
      } finally {
        heads.close();
      }
    },
  };
}

/** A look at the heads; null when aborted. */
async function lookUnlessAborted(
  heads: HeadWatch,
  { signal }: AbortOptions,
): Promise<BlockRef | ChainError | null> {
  try {
    return await heads.look({ signal });
  } catch (error) {
    if (signal?.aborted === true) return null;
    throw error;
  }
}

/** Waits `ms`, or until one of the signals fires; never rejects for that. */
function pause(
  clock: Clock,
  ms: number,
  signals: readonly (AbortSignal | undefined)[],
): Promise<void> {
  return new Promise((resolve) => {
    const undo: (() => void)[] = [];
    const end = (): void => {
      for (const step of undo) step();
      resolve();
    };
    undo.push(clock.schedule(ms, end));
    for (const signal of signals) {
      if (signal === undefined) continue;
      signal.addEventListener("abort", end, { once: true });
      undo.push(() => signal.removeEventListener("abort", end));
      if (signal.aborted) end();
    }
  });
}
