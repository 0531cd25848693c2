import { type AnvilServer, startAnvil, waitUntil } from "@quorate/devkit";
import {
  type Chain,
  type ChainReceipt,
  type ChainSigner,
  type Hex,
  type RecordItem,
} from "@quorate/ports";

import { type DeployedRecorder, deployRecorder } from "./deploy.ts";
import { createEvmChain, type EvmChainOptions } from "./evm-chain.ts";
import { addressHex, parseHex, toEvmAddress } from "./hex.ts";
import { createLocalSigner } from "./local-signer.ts";
import { CLUSTER, createListLogger, rpc, systemClock } from "./test-world.ts";

/** A running Anvil with the contract on it, and everyone who plays a part. */
export interface AnvilWorld {
  readonly anvil: AnvilServer;
  readonly recorder: DeployedRecorder;
  readonly chain: Chain;
  readonly submitter: ChainSigner;
  /** Owns the contract; may not record. */
  readonly owner: ChainSigner;
  readonly stranger: ChainSigner;
  /** A client of the same contract, with other options. */
  connect(options?: Partial<EvmChainOptions>): Chain;
  /** Signs a batch as the submitter (or as `from`), without sending it. */
  sign(
    items: readonly RecordItem[],
    options?: { readonly nonce?: bigint; readonly from?: ChainSigner; readonly gasLimit?: bigint },
  ): Promise<{ readonly hash: Hex; readonly raw: Uint8Array }>;
  /** Waits until the transaction is in a block: Anvil answers a send a moment before it mines. */
  mined(hash: Hex): Promise<ChainReceipt>;
  /** Signs, sends and waits for the receipt. */
  record(items: readonly RecordItem[]): Promise<ChainReceipt>;
  /** Sends a call of the contract from an unlocked account; resolves to its receipt's status. */
  transact(from: ChainSigner, data: Hex, valueWei?: bigint): Promise<ChainReceipt["status"]>;
  rpc(method: string, ...params: unknown[]): Promise<unknown>;
  stop(): Promise<void>;
}

// A reorg must not reach the deployment, or it would take the contract away.
const BLOCKS_AFTER_DEPLOYMENT = "0x10";

export async function startAnvilWorld(): Promise<AnvilWorld> {
  const anvil = await startAnvil({ chainId: 31_337 });
  const signerAt = (index: number): ChainSigner => {
    const account = anvil.accounts[index];
    if (account === undefined) throw new Error(`anvil has no account ${index}`);
    return createLocalSigner({ privateKey: account.privateKey });
  };
  const [deployer, submitter, owner, stranger] = [0, 1, 2, 3].map(signerAt);
  const deployerKey = anvil.accounts[0]?.privateKey;
  if (!deployer || !submitter || !owner || !stranger || deployerKey === undefined) {
    throw new Error("anvil has too few accounts");
  }
  const recorder = await deployRecorder(
    {
      rpcUrl: anvil.rpcUrl,
      chainId: anvil.chainId,
      deployerKey,
      submitter: submitter.address,
      owner: owner.address,
    },
    { clock: systemClock, logger: createListLogger() },
  );
  const call: AnvilWorld["rpc"] = (method, ...params) => rpc(anvil.rpcUrl, method, ...params);
  await call("anvil_mine", BLOCKS_AFTER_DEPLOYMENT);

  const connect: AnvilWorld["connect"] = (options = {}) =>
    createEvmChain(
      {
        rpcUrls: [anvil.rpcUrl],
        chainId: anvil.chainId,
        contractAddress: recorder.address,
        clusterId: CLUSTER,
        timeoutMs: 10_000,
        headPollIntervalMs: 20,
        ...options,
      },
      { clock: systemClock, logger: createListLogger() },
    );
  const chain = connect();
  await chain.start();

  const sign: AnvilWorld["sign"] = async (items, { nonce, from = submitter, gasLimit } = {}) =>
    await from.sign({
      chainId: anvil.chainId,
      nonce: nonce ?? (await chain.transactionCount(from.address, "pending")),
      to: recorder.address,
      data: chain.encodeBatch(items),
      valueWei: 0n,
      gasLimit: gasLimit ?? (await chain.simulateBatch(from.address, items)).gasLimit,
      fees: await chain.suggestFees(),
    });

  const mined: AnvilWorld["mined"] = async (hash) => {
    const found: ChainReceipt[] = [];
    await waitUntil(
      async ({ signal }) => {
        const receipt = await chain.receipt(hash, { signal });
        if (receipt !== null) found.push(receipt);
        return receipt !== null;
      },
      { timeoutMs: 10_000, what: `the receipt of ${hash}` },
    );
    const [receipt] = found;
    if (receipt === undefined) throw new Error("waited for a receipt and have none");
    return receipt;
  };

  return {
    anvil,
    recorder,
    chain,
    submitter,
    owner,
    stranger,
    connect,
    sign,
    mined,
    rpc: call,
    record: async (items) => {
      const { hash, raw } = await sign(items);
      const outcome = await chain.send(raw);
      if (outcome.kind !== "accepted") throw new Error(`not accepted: ${outcome.detail}`);
      return await mined(hash);
    },
    transact: async (from, data, valueWei = 0n) => {
      const hash = await call("eth_sendTransaction", {
        from: addressHex(from.address),
        to: addressHex(toEvmAddress(recorder.address)),
        data,
        gas: "0x100000",
        value: `0x${valueWei.toString(16)}`,
      });
      const parsed = parseHex(hash);
      if (parsed === null) throw new Error("anvil answered no hash");
      return (await mined(parsed)).status;
    },
    stop: async () => {
      await chain.stop();
      await anvil.stop();
    },
  };
}
