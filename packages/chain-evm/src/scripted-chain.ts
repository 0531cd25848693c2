import { parseEvmAddress, unwrap } from "@quorate/core";
import { type Chain, ChainError, type Hex } from "@quorate/ports";
import { keccak256 } from "viem";

import { createEvmChain, type EvmChainDependencies, type EvmChainOptions } from "./evm-chain.ts";
import { RECORD_DOMAIN } from "./record-key.ts";
import { encodeRecordsOf } from "./recorder-codec.ts";
import {
  CLUSTER,
  createListLogger,
  type Scripted,
  type ScriptedRpc,
  startScriptedRpc,
  systemClock,
} from "./test-world.ts";

// Endpoints that lie, lag or break off: what no real node does on demand.

export const CONTRACT = unwrap(parseEvmAddress(`0x${"c0".repeat(20)}`));
export const OTHER = `0x${"0d".repeat(20)}`;
export const HASH: Hex = `0x${"11".repeat(32)}`;
export const BLOCK_HASH = `0x${"bb".repeat(32)}`;

const open: ScriptedRpc[] = [];

/** Closes every endpoint served so far. */
export async function closeEndpoints(): Promise<void> {
  await Promise.all(open.splice(0).map((server) => server.close()));
}

export type Script = Readonly<Record<string, unknown>>;

export const block = (overrides: Script = {}): Script => ({
  number: "0x5",
  hash: BLOCK_HASH,
  timestamp: "0x10",
  baseFeePerGas: "0x7",
  ...overrides,
});

export const log = (overrides: Script = {}): Script => ({
  address: CONTRACT,
  // keccak256("Recorded(bytes32,uint64)")
  topics: [keccak256(new TextEncoder().encode("Recorded(bytes32,uint64)")), HASH],
  data: `0x${"2a".padStart(64, "0")}`,
  blockNumber: "0x5",
  transactionHash: HASH,
  logIndex: "0x0",
  ...overrides,
});

export const receipt = (overrides: Script = {}): Script => ({
  transactionHash: HASH,
  status: "0x1",
  blockNumber: "0x5",
  blockHash: BLOCK_HASH,
  gasUsed: "0x5208",
  logs: [log()],
  ...overrides,
});

// An empty array, as the ABI encodes it.
const NO_RECORDS = `0x${"20".padStart(64, "0")}${"0".repeat(64)}`;

/** An honest endpoint, but for the methods given. A function may answer with a whole Scripted. */
export async function serve(
  script: Readonly<Record<string, unknown>>,
  respond: (method: string, params: readonly unknown[]) => Scripted | null = () => null,
): Promise<ScriptedRpc> {
  const honest: Script = {
    eth_chainId: "0x539",
    eth_getBlockByNumber: block(),
    eth_getCode: "0x6000",
  };
  const call = (params: readonly unknown[]): unknown =>
    JSON.stringify(params[0]).includes(encodeRecordsOf([])) ? NO_RECORDS : RECORD_DOMAIN;
  const server = await startScriptedRpc((method, params) => {
    const scripted = respond(method, params);
    if (scripted !== null) return scripted;
    const known =
      method in script ? script[method] : method === "eth_call" ? call(params) : honest[method];
    return known === undefined
      ? { error: { code: -32_601, message: "Method not found" } }
      : { result: known };
  });
  open.push(server);
  return server;
}

export function chainOf(
  servers: readonly ScriptedRpc[],
  options: Partial<EvmChainOptions> = {},
  dependencies: Partial<EvmChainDependencies> = {},
): Chain {
  return createEvmChain(
    {
      rpcUrls: servers.map((server) => server.url),
      chainId: 1_337,
      contractAddress: CONTRACT,
      clusterId: CLUSTER,
      timeoutMs: 5_000,
      ...options,
    },
    { clock: systemClock, logger: createListLogger(), ...dependencies },
  );
}

export async function failure(work: Promise<unknown>): Promise<ChainError> {
  const error = await work.catch((thrown: unknown) => thrown);
  if (!(error instanceof ChainError))
    throw new Error(`expected a ChainError, got ${String(error)}`);
  return error;
}
