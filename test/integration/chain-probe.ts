import { readRecordedEvents, recordKeyOf } from "@quorate/chain-evm";
import { parseTxId, unwrap } from "@quorate/core";
import { waitUntil } from "@quorate/devkit";
import type { LocalCluster, LocalServers } from "@quorate/localcluster";
import { systemClock } from "@quorate/telemetry";

/** The height of the chain, asked past our own client. */
export async function blockNumber(rpcUrl: string): Promise<bigint> {
  const response = await fetch(rpcUrl, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ jsonrpc: "2.0", id: 1, method: "eth_blockNumber", params: [] }),
  });
  const body: unknown = await response.json();
  const result = typeof body === "object" && body !== null ? Reflect.get(body, "result") : null;
  return BigInt(String(result));
}

/** Waits until the chain is so many blocks longer than now. */
export async function blocksPass(rpcUrl: string, count: bigint): Promise<void> {
  const until = (await blockNumber(rpcUrl)) + count;
  await waitUntil(async () => (await blockNumber(rpcUrl)) >= until, {
    timeoutMs: 30_000,
    what: `block ${until}`,
    pollMs: 100,
  });
}

/** Values that the cluster's contract has recorded, by transaction id of those asked for; what it recorded besides is `unexpected`. */
export async function recordedOnChain(
  servers: LocalServers,
  cluster: LocalCluster,
  txIds: readonly string[],
): Promise<{
  readonly values: ReadonlyMap<string, readonly bigint[]>;
  readonly unexpected: number;
}> {
  const events = await readRecordedEvents(
    {
      rpcUrl: servers.anvil.rpcUrl,
      contractAddress: cluster.recorder.address,
      fromBlock: cluster.recorder.blockNumber,
      toBlock: await blockNumber(servers.anvil.rpcUrl),
    },
    { clock: systemClock() },
  );
  const names = new Map(
    txIds.map((id) => [recordKeyOf(cluster.clusterId, unwrap(parseTxId(id))), id] as const),
  );
  const values = new Map<string, bigint[]>();
  let unexpected = 0;
  for (const { key, value } of events) {
    const id = names.get(key);
    if (id === undefined) unexpected++;
    else values.set(id, [...(values.get(id) ?? []), value]);
  }
  return { values, unexpected };
}
