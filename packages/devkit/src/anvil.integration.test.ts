import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";

import { stopAll } from "./child-registry.ts";
import { freePort } from "./free-port.ts";
import { serverVersions } from "./server-versions.ts";
import { startAnvil } from "./start-anvil.ts";
import { waitUntil } from "./wait-until.ts";

let scratch: string;

beforeEach(async () => {
  scratch = await mkdtemp(join(tmpdir(), "quorate-chain-"));
});

afterEach(async () => {
  await stopAll();
  await rm(scratch, { recursive: true, force: true });
});

async function rpc(
  rpcUrl: string,
  method: string,
  params: readonly unknown[] = [],
  timeoutMs = 10_000,
): Promise<unknown> {
  const response = await fetch(rpcUrl, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ jsonrpc: "2.0", id: 1, method, params }),
    signal: AbortSignal.timeout(timeoutMs),
  });
  const body: unknown = await response.json();
  if (typeof body === "object" && body !== null && "result" in body) return body.result;
  throw new Error(JSON.stringify(body));
}

test("the chain has the id asked for, and its accounts are funded", async () => {
  const chain = await startAnvil({ chainId: 4242 });
  expect(chain.chainId).toBe(4242);
  expect(await rpc(chain.rpcUrl, "eth_chainId")).toBe("0x1092");
  expect(chain.accounts).toHaveLength(10);
  const balance = await rpc(chain.rpcUrl, "eth_getBalance", [chain.accounts[0]?.address, "latest"]);
  expect(BigInt(String(balance))).toBe(10_000n * 10n ** 18n);
});

test("with a block time, blocks come without transactions", async () => {
  const chain = await startAnvil({ blockTimeSeconds: 1 });
  await waitUntil(async () => BigInt(String(await rpc(chain.rpcUrl, "eth_blockNumber"))) > 0n, {
    timeoutMs: 10_000,
    what: "a block",
  });
});

test("the chain is written to its state file on stop and read from it at start", async () => {
  const stateFile = join(scratch, "state.json");
  const first = await startAnvil({ stateFile });
  const { address } = first.accounts[1]!;
  await rpc(first.rpcUrl, "anvil_setBalance", [address, "0x7b"]);
  await first.stop();
  const second = await startAnvil({ stateFile });
  expect(await rpc(second.rpcUrl, "eth_getBalance", [address, "latest"])).toBe("0x7b");
});

test("a paused chain answers nothing until it is resumed", async () => {
  const chain = await startAnvil();
  await chain.pause();
  await expect(rpc(chain.rpcUrl, "eth_chainId", [], 200)).rejects.toThrow(/timeout/);
  await chain.resume();
  expect(await rpc(chain.rpcUrl, "eth_chainId")).toBe("0x7a69");
});

test("the pid is the server's own: killing it frees the port", async () => {
  const chain = await startAnvil();
  await chain.kill();
  await expect(rpc(chain.rpcUrl, "eth_chainId")).rejects.toThrow();
  expect(() => process.kill(chain.pid, 0)).toThrow(/ESRCH/);
});

test("a fixed port that is taken is an error that says so", async () => {
  const port = await freePort();
  const squatter = createServer((socket) => socket.destroy());
  await new Promise<void>((resolve) => squatter.listen(port, "127.0.0.1", resolve));
  try {
    await expect(startAnvil({ port })).rejects.toMatchObject({ code: "PORT_TAKEN" });
  } finally {
    await new Promise((resolve) => squatter.close(resolve));
  }
});

test("every server reports its real version", async () => {
  const versions = await serverVersions();
  expect(versions.etcd).toMatch(/^3\.\d+\.\d+/);
  expect(versions.postgres).toMatch(/^\d+(\.\d+)+$/);
  expect(versions.anvil).toMatch(/^\d+\.\d+\.\d+/);
});
