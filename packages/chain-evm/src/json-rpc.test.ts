import { afterEach, describe, expect, test } from "vitest";

import { createRpcEndpoint, RpcFailure } from "./json-rpc.ts";
import { parseRpcUrl } from "./rpc-url.ts";
import { type Scripted, type ScriptedRpc, startScriptedRpc, systemClock } from "./test-world.ts";

const open: ScriptedRpc[] = [];
afterEach(async () => {
  await Promise.all(open.splice(0).map((server) => server.close()));
});

async function serve(answer: (method: string) => Scripted): Promise<ScriptedRpc> {
  const server = await startScriptedRpc(answer);
  open.push(server);
  return server;
}

function endpoint(url: string, timeoutMs = 5_000): ReturnType<typeof createRpcEndpoint> {
  return createRpcEndpoint({ url, timeoutMs }, { clock: systemClock });
}

async function failure(work: Promise<unknown>): Promise<RpcFailure> {
  const error = await work.catch((thrown: unknown) => thrown);
  if (!(error instanceof RpcFailure))
    throw new Error(`expected an RpcFailure, got ${String(error)}`);
  return error;
}

describe("a JSON-RPC call", () => {
  test("gives the result, null included", async () => {
    const server = await serve((method) => ({ result: method === "eth_chainId" ? "0x1" : null }));
    const { call } = endpoint(server.url);
    expect(await call("eth_chainId", [])).toBe("0x1");
    expect(await call("eth_getTransactionReceipt", ["0x"])).toBeNull();
  });

  test("keeps the endpoint's code, words and data of an error", async () => {
    const server = await serve(() => ({ error: { code: 3, message: "reverted", data: "0x12" } }));
    expect(await failure(endpoint(server.url).call("eth_call", []))).toMatchObject({
      kind: "error",
      text: "reverted",
      rpcCode: 3,
      data: "0x12",
    });
  });

  test("reads a JSON-RPC error that came with HTTP 400", async () => {
    const text = JSON.stringify({ jsonrpc: "2.0", id: 1, error: { code: -32_000, message: "no" } });
    const server = await serve(() => ({ status: 400, text }));
    expect((await failure(endpoint(server.url).call("eth_call", []))).kind).toBe("error");
  });

  test.each([
    ["HTTP 500", { status: 500, text: "oops" }, "unreachable"],
    ["HTTP 429", { status: 429, text: "slow down" }, "unreachable"],
    ["text that is not JSON", { status: 200, text: "<html>" }, "malformed"],
    [
      "an answer to another request",
      { status: 200, text: '{"jsonrpc":"2.0","id":99,"result":1}' },
      "malformed",
    ],
    ["an answer without a result", { status: 200, text: '{"jsonrpc":"2.0","id":1}' }, "malformed"],
    ["a redirect", { status: 307, text: "" }, "unreachable"],
  ] as const)("takes %s for a failure", async (_name, scripted, kind) => {
    const server = await serve(() => scripted);
    expect((await failure(endpoint(server.url).call("eth_chainId", []))).kind).toBe(kind);
  });

  test("stops reading an answer that is too long", async () => {
    const server = await serve(() => ({ status: 200, text: " ".repeat(17 * 1_024 * 1_024) }));
    const error = await failure(endpoint(server.url).call("eth_getLogs", []));
    expect(error.kind).toBe("malformed");
    expect(error.text).toContain("longer than");
  });

  test("fails when no answer comes in time", async () => {
    const server = await serve(() => ({ hang: true }));
    const error = await failure(endpoint(server.url, 50).call("eth_chainId", []));
    expect(error).toMatchObject({ kind: "unreachable", text: "no answer within 50 ms" });
  });

  test("says why an endpoint cannot be reached", async () => {
    const server = await serve(() => ({ result: null }));
    await server.close();
    expect((await failure(endpoint(server.url).call("eth_chainId", []))).text).toBe("ECONNREFUSED");
  });

  test("rejects with the signal's own reason, before and during", async () => {
    const arrived = Promise.withResolvers<void>();
    const server = await serve(() => {
      arrived.resolve();
      return { hang: true };
    });
    const { call } = endpoint(server.url);
    const reason = new Error("enough");
    await expect(call("eth_chainId", [], { signal: AbortSignal.abort(reason) })).rejects.toBe(
      reason,
    );
    expect(server.seen).toHaveLength(0);
    const controller = new AbortController();
    const pending = call("eth_chainId", [], { signal: controller.signal });
    await arrived.promise;
    controller.abort(reason);
    await expect(pending).rejects.toBe(reason);
  });
});

describe("the secrets in an endpoint's URL", () => {
  test("go into the request and nowhere else", async () => {
    const server = await serve((method) => ({
      error: { code: -32_000, message: `${method} refused for key s3cr3t-key at /v2/s3cr3t-key` },
    }));
    const url = server.url.replace("http://", "http://alice7:p%40ssword@");
    const { call, label } = endpoint(`${url}/v2/s3cr3t-key?token=t0ken-t0ken`);
    const error = await failure(call("eth_chainId", []));
    expect(server.seen[0]?.authorization).toBe(
      `Basic ${Buffer.from("alice7:p@ssword").toString("base64")}`,
    );
    expect(label).toBe(new URL(server.url).host);
    for (const shown of [label, error.message, error.text, String(error.stack)]) {
      expect(shown).not.toMatch(/alice7|ssword|s3cr3t|t0ken/);
    }
  });

  test("are not shown when the URL is refused", () => {
    for (const bad of ["ws://host/s3cr3t-key", "s3cr3t-key", "http://"]) {
      expect(() => parseRpcUrl(bad)).toThrow(/must be an http/);
      expect(() => parseRpcUrl(bad)).not.toThrow(/s3cr3t/);
    }
  });
});
