import { execFile } from "node:child_process";
import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { encryptKeystore } from "@quorate/chain-evm";
import { afterAll, beforeAll, expect, test } from "vitest";

// The program itself, run until it gives up: whatever it says on the way must hold no secret.

// Anvil's first account: public knowledge.
const KEY = "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";
const ADDRESS = "0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266";
const PASSWORD = "c0rrect-horse-battery";
const TOKEN = "t0ken-of-the-signer";
const MAIN = fileURLToPath(new URL("main.ts", import.meta.url));
const DEADLINE_MS = 30_000;

let directory = "";
let gossip: Server;
let signerUrl = "";
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "quorate-secrets-"));
  const files = {
    "ks.json": await encryptKeystore(KEY, PASSWORD, { scryptN: 2 }),
    "ks.password": PASSWORD,
    token: `Bearer ${TOKEN}`,
  };
  for (const [name, text] of Object.entries(files)) {
    await writeFile(join(directory, name), text);
    await chmod(join(directory, name), 0o600);
  }
  // A signer that refuses, and repeats all it was sent.
  gossip = createServer((request, response) => {
    request.resume();
    const message = `go away, ${request.headers.authorization}, from ${request.url}`;
    response.end(JSON.stringify({ jsonrpc: "2.0", id: 1, error: { code: -32_000, message } }));
  });
  await new Promise<void>((resolve) => {
    gossip.listen(0, "127.0.0.1", resolve);
  });
  const address = gossip.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  signerUrl = `http://127.0.0.1:${address.port}/v1/s3cr3t-path`;
});
afterAll(async () => {
  gossip.closeAllConnections();
  gossip.close();
  await rm(directory, { recursive: true });
});

function run(signer: object): Promise<{ readonly code: unknown; readonly output: string }> {
  const settings = {
    clusterId: "secrets",
    etcd: { hosts: ["http://127.0.0.1:1"] },
    postgres: { url: "postgres://localhost:1/none" },
    chain: {
      rpcUrls: ["http://127.0.0.1:1"],
      chainId: 31_337,
      contractAddress: `0x${"c0".repeat(20)}`,
    },
    log: { level: "debug" },
    ...signer,
  };
  return new Promise((resolve, reject) => {
    const config = join(directory, "submitter.json");
    writeFile(config, JSON.stringify(settings)).then(() => {
      const child = execFile(
        process.execPath,
        ["--conditions=@quorate/source", MAIN, "--config", config],
        { timeout: DEADLINE_MS },
        (_error, stdout, stderr) => resolve({ code: child.exitCode, output: stdout + stderr }),
      );
    }, reject);
  });
}

// [what, settings, what it says]
test.each<readonly [string, () => object, RegExp]>([
  [
    "a good keystore, and nobody to connect to",
    () => ({ signer: { kind: "keystore", file: "ks.json", passwordFile: "ks.password" } }),
    /no chain endpoint can be reached/,
  ],
  [
    "a remote signer that repeats what it was sent",
    () => ({
      signer: { kind: "remote", url: signerUrl, address: ADDRESS, authorizationFile: "token" },
    }),
    /go away/,
  ],
])("with %s a submitter gives up and shows no secret", async (_what, settings, says) => {
  const { code, output } = await run(settings());
  expect(code).toBe(1);
  expect(output).toMatch(says);
  expect(output).not.toMatch(new RegExp(KEY.slice(0, 12), "i"));
  expect(output).not.toMatch(/c0rrect|t0ken|s3cr3t/);
});
