import { assert, type ClusterId, type EvmAddress } from "@quorate/core";
import {
  type AbortOptions,
  type BlockRef,
  type Chain,
  ChainError,
  type Clock,
  type Hex,
  type Logger,
} from "@quorate/ports";
import { bytesToHex } from "viem";

import {
  blockByNumber,
  blockByTag,
  callContract,
  canonicalReceipt,
  checkContract,
  codeAt,
  estimateGas,
  newestBlock,
  noContract,
} from "./chain-reads.ts";
import { createEndpointPool } from "./endpoint-pool.ts";
import { type FeePolicy, feesFor, suggestedTip } from "./fees.ts";
import { addressHex } from "./hex.ts";
import { recordKeyOf } from "./record-key.ts";
import { decodeRecordOf, encodeRecordBatch, encodeRecordOf } from "./recorder-codec.ts";
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
}

const HEAD_POLL_INTERVAL_MS_DEFAULT = 1_000;
const UNHEALTHY_MS_DEFAULT = 10_000;

// Gas. An estimate holds for one state only: when it was made against keys that a reorg
// then clears, the same bytes need far more. The floor is what a batch costs at worst
// (measured: 25.2 k per fresh key), so that resent bytes never run out of gas.
const GAS_HEADROOM_PERCENT = 120n;
const GAS_HEADROOM_CONSTANT = 20_000n;
const GAS_FLOOR_BASE = 40_000n;
const GAS_FLOOR_PER_ITEM = 27_000n;

/**
 * The chain behind JSON-RPC endpoints. Holds no state that matters: every answer is read anew.
 * Reads go to the first healthy endpoint and, when it fails, to the next; raw transactions go to all.
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
    { clock, logger },
  );
  let started = false;

  const head: Chain["head"] = ({ signal } = {}) =>
    pool.read((call) => newestBlock(call, { signal }), { signal });

  return {
    chainId: options.chainId,
    contractAddress: options.contractAddress,
    keyOf: (txId) => recordKeyOf(options.clusterId, txId),
    encodeBatch: (items) => encodeRecordBatch(options.clusterId, items),
    head,

    start: async ({ signal } = {}) => {
      if (started) return;
      await pool.verifyAll({ signal });
      await pool.read((call, label) => checkContract(call, label, contract, { signal }), {
        signal,
      });
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

    finalizedHead: (mode, { signal } = {}) =>
      pool.read(
        async (call) => {
          if (mode.kind !== "confirmations") return await blockByTag(call, mode.kind, { signal });
          assert(
            Number.isSafeInteger(mode.blocks) && mode.blocks >= 0,
            "confirmations must be a whole number from 0 up",
          );
          const newest = await newestBlock(call, { signal });
          const number = newest.number - BigInt(mode.blocks);
          return number < 0n ? null : await blockByNumber(call, number, { signal });
        },
        { signal },
      ),

    blockAt: (number, { signal } = {}) =>
      pool.read((call) => blockByNumber(call, number, { signal }), { signal }),

    transactionCount: (address, at, { signal } = {}) =>
      pool.read(
        async (call) => {
          const params = [address, typeof at === "bigint" ? quantity(at) : at];
          return readQuantity(
            await call("eth_getTransactionCount", params, { signal }),
            "transaction count",
          );
        },
        { signal },
      ),

    balanceWei: (address, { signal } = {}) =>
      pool.read(
        async (call) =>
          readQuantity(await call("eth_getBalance", [address, "latest"], { signal }), "balance"),
        { signal },
      ),

    receipt: (hash, { signal } = {}) =>
      pool.read((call) => canonicalReceipt(call, hash, contract, { signal }), { signal }),

    recordOf: (txId, at, { signal } = {}) => {
      const data = encodeRecordOf(recordKeyOf(options.clusterId, txId));
      const block = typeof at === "bigint" ? quantity(at) : at;
      return pool.read(
        async (call, label) => {
          const answer = await callContract(call, { contract, data, block }, { signal });
          if (answer !== "0x") return decodeRecordOf(answer);
          // Nothing answered. Before the contract's deployment there was truly no record;
          // in any other case an empty answer must not pass for "not recorded".
          if (
            typeof at === "bigint" &&
            (await codeAt(call, contract, block, { signal })) === "0x"
          ) {
            return null;
          }
          throw noContract(label, contract);
        },
        { signal },
      );
    },

    suggestFees: ({ signal } = {}) =>
      pool.read(
        async (call) => {
          const newest = await newestBlock(call, { signal });
          return feesFor(newest, await suggestedTip(call, { signal }), options.feePolicy);
        },
        { signal },
      ),

    simulateBatch: async (from, items, { signal } = {}) => {
      const data = encodeRecordBatch(options.clusterId, items);
      const estimate = await pool.read(
        (call) => estimateGas(call, { from: addressHex(from), to: contract, data }, { signal }),
        { signal },
      );
      const padded = (estimate * GAS_HEADROOM_PERCENT) / 100n + GAS_HEADROOM_CONSTANT;
      const floor = GAS_FLOOR_BASE + GAS_FLOOR_PER_ITEM * BigInt(items.length);
      return { gasLimit: padded > floor ? padded : floor };
    },

    send: (raw, { signal } = {}) => pool.sendRaw(bytesToHex(raw), { signal }),

    watchHeads: async (onHead, { signal }) => {
      let lastHash: Hex | null = null;
      let failing = false;
      while (signal?.aborted !== true && !stopped.signal.aborted) {
        const outcome = await lookAtHead(head, { signal });
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
    },
  };
}

/** The head, a ChainError that polling outlasts, or null when aborted. Anything else is a bug and throws. */
async function lookAtHead(
  head: Chain["head"],
  { signal }: AbortOptions,
): Promise<BlockRef | ChainError | null> {
  try {
    return await head({ signal });
  } catch (error) {
    if (signal?.aborted === true) return null;
    if (error instanceof ChainError) return error;
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
