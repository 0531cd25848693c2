import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inspect } from "node:util";
import { createLocalSigner, encryptKeystore, KeyError } from "@quorate/chain-evm";
import { parseEvmAddress, unwrap } from "@quorate/core";
import type { UnsignedTransaction } from "@quorate/ports";
import { createLogger, systemClock } from "@quorate/telemetry";
import { afterAll, beforeAll, expect, test } from "vitest";
import { openSigner } from "./signer.ts";

// Anvil's first account: public knowledge.
const KEY = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";
const ADDRESS = unwrap(parseEvmAddress("0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266"));
const transaction: UnsignedTransaction = {
  chainId: 31_337,
  nonce: 7n,
  to: ADDRESS,
  data: "0xdeadbeef",
  valueWei: 0n,
  gasLimit: 100_000n,
  fees: { maxFeePerGasWei: 30n, maxPriorityFeePerGasWei: 2n },
};
const dependencies = {
  clock: systemClock(),
  logger: createLogger({ level: "error", pretty: false }),
};

let directory = "";
let configuration = "";
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "quorate-signer-"));
  configuration = join(directory, "submitter.json");
  const secrets = {
    key: KEY,
    "ks.json": await encryptKeystore(KEY, "pass word", { scryptN: 2 }),
    "ks.password": "pass word\n",
    token: "Bearer t0ken\n",
  };
  for (const [name, text] of Object.entries(secrets)) {
    await writeFile(join(directory, name), text);
    await chmod(join(directory, name), 0o600);
  }
});
afterAll(() => rm(directory, { recursive: true }));

test.each([
  { signer: { kind: "keyFile" }, keyFile: "key" },
  { signer: { kind: "keystore", file: "ks.json", passwordFile: "ks.password" } },
] as const)("a key beside the configuration signs in memory: %j", async (settings) => {
  const { signer, check } = await openSigner(
    { keyFile: undefined, ...settings },
    configuration,
    dependencies,
  );
  await check();
  expect([signer.kind, signer.address]).toEqual(["local", ADDRESS]);
  expect(await signer.sign(transaction)).toEqual(
    await createLocalSigner({ privateKey: KEY }).sign(transaction),
  );
});

test("a key in another process is asked with the authorization of its file, and checked at start", async () => {
  const { raw } = await createLocalSigner({ privateKey: KEY }).sign(transaction);
  const seen: (string | undefined)[] = [];
  const server = createServer((request, response) => {
    seen.push(request.headers.authorization);
    let body = "";
    request.setEncoding("utf8").on("data", (chunk: string) => {
      body += chunk;
    });
    request.on("end", () => {
      const { id, method } = JSON.parse(body) as { id: number; method: string };
      const result =
        method === "eth_accounts" ? [ADDRESS] : `0x${Buffer.from(raw).toString("hex")}`;
      response.end(JSON.stringify({ jsonrpc: "2.0", id, result }));
    });
  });
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve);
  });
  try {
    const address = server.address();
    if (address === null || typeof address === "string") throw new Error("no port");
    const { signer, check } = await openSigner(
      {
        keyFile: undefined,
        signer: {
          kind: "remote",
          url: `http://127.0.0.1:${address.port}`,
          address: ADDRESS,
          timeoutMs: 5_000,
          authorizationFile: "token",
        },
      },
      configuration,
      dependencies,
    );
    expect(seen).toEqual([]);
    await check();
    expect([signer.kind, signer.address]).toEqual(["remote", ADDRESS]);
    expect((await signer.sign(transaction)).raw).toEqual(raw);
    expect(seen).toEqual(["Bearer t0ken", "Bearer t0ken"]);
  } finally {
    server.closeAllConnections();
    server.close();
  }
});

test("an authorization file that others may read is refused", async () => {
  const exposed = join(directory, "exposed");
  await writeFile(exposed, "Bearer t0ken");
  await chmod(exposed, 0o644);
  const remote = {
    kind: "remote",
    url: "http://127.0.0.1:1",
    address: ADDRESS,
    timeoutMs: 100,
    authorizationFile: exposed,
  } as const;
  await expect(
    openSigner({ keyFile: undefined, signer: remote }, configuration, dependencies),
  ).rejects.toMatchObject({ code: "KEY_FILE_EXPOSED" });
});

test.each([
  ["a wrong password", { kind: "keystore", file: "ks.json", passwordFile: "token" }],
  ["a key where a keystore should be", { kind: "keystore", file: "key", passwordFile: "token" }],
  ["a keystore where a key should be", { kind: "keyFile" }],
] as const)("%s is refused without showing it", async (_what, signer) => {
  const keyFile = signer.kind === "keyFile" ? "ks.json" : undefined;
  const error: unknown = await openSigner({ signer, keyFile }, configuration, dependencies).catch(
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(KeyError);
  for (const secret of [KEY.slice(2, 14), "pass word", "t0ken"])
    expect(inspect(error, { depth: 10 })).not.toContain(secret);
});
