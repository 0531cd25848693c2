import { type DeployedRecorder, deployRecorder } from "@quorate/chain-evm";
import type { EvmAddress } from "@quorate/core";
import type { AnvilServer } from "@quorate/devkit";
import type { AbortOptions, Clock, Logger } from "@quorate/ports";
import { LocalClusterError } from "./errors.ts";

/** 1,000 ether: more than any test spends. */
const FUNDS_WEI = 10n ** 21n;

/**
 * Puts a recorder contract of its own on a local chain and gives its submitter money.
 * One deployment a chain at a time: two at once would take the same nonce.
 */
export async function deployOnAnvil(
  anvil: AnvilServer,
  submitter: EvmAddress,
  dependencies: { readonly clock: Clock; readonly logger: Logger },
  options: AbortOptions = {},
): Promise<DeployedRecorder> {
  const before = deployments.get(anvil) ?? Promise.resolve();
  const deployment = before.then(() => deploy(anvil, submitter, dependencies, options));
  deployments.set(
    anvil,
    deployment.then(
      () => {},
      () => {},
    ),
  );
  return await deployment;
}

const deployments = new WeakMap<AnvilServer, Promise<void>>();

async function deploy(
  anvil: AnvilServer,
  submitter: EvmAddress,
  dependencies: { readonly clock: Clock; readonly logger: Logger },
  options: AbortOptions,
): Promise<DeployedRecorder> {
  const deployerKey = anvil.accounts[0]?.privateKey;
  if (deployerKey === undefined)
    throw new LocalClusterError("CHAIN_CALL_FAILED", "Anvil has no account to deploy with");
  await setBalance(anvil.rpcUrl, submitter, options);
  return await deployRecorder(
    { rpcUrl: anvil.rpcUrl, chainId: anvil.chainId, deployerKey, submitter },
    dependencies,
    options,
  );
}

async function setBalance(
  rpcUrl: string,
  address: EvmAddress,
  { signal }: AbortOptions,
): Promise<void> {
  const response = await fetch(rpcUrl, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({
      jsonrpc: "2.0",
      id: 1,
      method: "anvil_setBalance",
      params: [address, `0x${FUNDS_WEI.toString(16)}`],
    }),
    signal: signal ?? null,
  });
  const body: unknown = await response.json();
  if (typeof body === "object" && body !== null && "error" in body)
    throw new LocalClusterError(
      "CHAIN_CALL_FAILED",
      `${rpcUrl} refused to fund ${address}: ${JSON.stringify(body.error)}`,
    );
}
