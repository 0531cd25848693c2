/** One call of the chain, by plain fetch. @throws when it is refused or does not answer */
export async function rpc(
  url: string,
  method: string,
  params: readonly unknown[],
): Promise<unknown> {
  const response = await fetch(url, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ jsonrpc: "2.0", id: 1, method, params }),
    signal: AbortSignal.timeout(15_000),
  });
  const body: unknown = await response.json();
  if (typeof body === "object" && body !== null && "result" in body) return body.result;
  throw new Error(`${method} was refused: ${JSON.stringify(body)}`);
}
