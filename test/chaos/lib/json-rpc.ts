export type Hex = `0x${string}`;

export const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

export const quantity = (value: bigint | number): Hex => `0x${value.toString(16)}`;

/** One JSON-RPC request straight to a server, past the product's client. Throws on an error answer. */
export async function jsonRpc(url: string, method: string, params: unknown): Promise<unknown> {
  const response = await fetch(url, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ jsonrpc: "2.0", id: 1, method, params }),
    signal: AbortSignal.timeout(15_000),
  });
  const body: unknown = await response.json();
  if (isRecord(body) && "result" in body) return body["result"];
  throw new Error(`${method} was refused: ${JSON.stringify(body)}`);
}

export async function readQuantity(url: string, method: string, params: unknown): Promise<bigint> {
  return BigInt(String(await jsonRpc(url, method, params)));
}
