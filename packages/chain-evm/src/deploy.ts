import type { EvmAddress } from "@quorate/core";
import { type AbortOptions, ChainError, type Clock, type Hex, type Logger } from "@quorate/ports";
import { encodeDeployData, getContractAddress, keccak256 } from "viem";
import { privateKeyToAccount } from "viem/accounts";

import { createEndpointPool, type EndpointPool } from "./endpoint-pool.ts";
import { type FeePolicy, readFees } from "./fees.ts";
import { addressHex, toEvmAddress } from "./hex.ts";
import { recorderAbi, recorderBytecode } from "./recorder.generated.ts";
import { quantity, type ReceiptShape, readBlock, readQuantity, readReceipt } from "./rpc-shapes.ts";

export interface DeployRecorderOptions {
  readonly rpcUrl: string;
  readonly chainId: number;
  /** Pays for the deployment. */
  readonly deployerKey: Hex;
  /** The only account that may record. */
  readonly submitter: EvmAddress;
  /** Appoints submitters. Default: the deployer. */
  readonly owner?: EvmAddress | undefined;
  readonly feePolicy?: FeePolicy | undefined;
  /** Bound of one RPC call, in ms. Default 10,000. */
  readonly timeoutMs?: number | undefined;
  /** How long to wait for the receipt, in ms. Default 120,000. */
  readonly waitMs?: number | undefined;
}

export interface DeployedRecorder {
  readonly address: EvmAddress;
  readonly hash: Hex;
  readonly blockNumber: bigint;
}

const TIMEOUT_MS_DEFAULT = 10_000;
const WAIT_MS_DEFAULT = 120_000;
const POLL_MS = 200;

/**
 * Deploys a QuorateRecorder and waits until it is in a block (not until that is final).
 * An operator's step, not idempotent: each call deploys another contract.
 * @throws ChainError WRONG_CHAIN, RPC_UNREACHABLE, RPC_ERROR or REVERTED. When it waited in vain
 * the message names the hash: look there before deploying again.
 */
export async function deployRecorder(
  options: DeployRecorderOptions,
  dependencies: { readonly clock: Clock; readonly logger: Logger },
  { signal }: AbortOptions = {},
): Promise<DeployedRecorder> {
  const account = privateKeyToAccount(options.deployerKey);
  const stopped = new AbortController();
  const pool = createEndpointPool(
    {
      rpcUrls: [options.rpcUrl],
      chainId: options.chainId,
      timeoutMs: options.timeoutMs ?? TIMEOUT_MS_DEFAULT,
      unhealthyMs: 0,
      stopSignal: stopped.signal,
    },
    dependencies,
  );
  const data = encodeDeployData({
    abi: recorderAbi,
    bytecode: recorderBytecode,
    args: [
      options.owner === undefined ? account.address : addressHex(options.owner),
      addressHex(options.submitter),
    ],
  });
  const { nonce, gas, fees } = await pool.read(
    async (call) => {
      const count = await call("eth_getTransactionCount", [account.address, "pending"], { signal });
      const estimate = await call("eth_estimateGas", [{ from: account.address, data }, "latest"], {
        signal,
      });
      return {
        nonce: Number(readQuantity(count, "transaction count")),
        gas: (readQuantity(estimate, "gas") * 12n) / 10n,
        fees: await readFees(call, options.feePolicy, { signal }),
      };
    },
    { signal },
  );
  const raw = await account.signTransaction({
    type: "eip1559",
    chainId: options.chainId,
    nonce,
    data,
    gas,
    maxFeePerGas: fees.maxFeePerGasWei,
    maxPriorityFeePerGas: fees.maxPriorityFeePerGasWei,
  });
  const hash = keccak256(raw);
  const outcome = await pool.sendRaw(raw, { signal });
  if (outcome.kind !== "accepted" && outcome.kind !== "already-known") {
    throw new ChainError("RPC_ERROR", `the deployment ${hash} was not taken: ${outcome.detail}`, {
      retryable: outcome.kind === "unreachable",
    });
  }
  const receipt = await waitForReceipt(pool, hash, options, dependencies.clock, { signal });
  const address = toEvmAddress(getContractAddress({ from: account.address, nonce: BigInt(nonce) }));
  if (receipt.status !== "success" || receipt.contractAddress !== address) {
    throw new ChainError(
      "REVERTED",
      `the deployment ${hash} reverted in block ${receipt.blockNumber}`,
      {
        retryable: false,
      },
    );
  }
  return { address, hash, blockNumber: receipt.blockNumber };
}

async function waitForReceipt(
  pool: EndpointPool,
  hash: Hex,
  options: DeployRecorderOptions,
  clock: Clock,
  { signal }: AbortOptions,
): Promise<ReceiptShape> {
  const waitMs = options.waitMs ?? WAIT_MS_DEFAULT;
  const deadlineMs = clock.monotonicMs() + waitMs;
  for (;;) {
    const receipt = await pool.read(
      async (call) => {
        const found = readReceipt(
          await call("eth_getTransactionReceipt", [hash], { signal }),
          hash,
        );
        if (found === null) return null;
        const block = readBlock(
          await call("eth_getBlockByNumber", [quantity(found.blockNumber), false], { signal }),
        );
        return block?.hash === found.blockHash ? found : null;
      },
      { signal },
    );
    if (receipt !== null) return receipt;
    if (clock.monotonicMs() >= deadlineMs) {
      throw new ChainError(
        "RPC_ERROR",
        `the deployment ${hash} is in no block after ${waitMs} ms; it may still come`,
        { retryable: false },
      );
    }
    await clock.sleep(POLL_MS, { signal });
  }
}
