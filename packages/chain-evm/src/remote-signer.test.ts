import { parseEvmAddress, unwrap } from "@quorate/core";
import { SignerError, type UnsignedTransaction } from "@quorate/ports";
import { fromRlp, parseTransaction, serializeTransaction, toRlp } from "viem";
import { privateKeyToAccount } from "viem/accounts";
import { afterEach, describe, expect, test } from "vitest";

import { addressHex, toEvmAddress } from "./hex.ts";
import { isRecord } from "./json-rpc.ts";
import { createLocalSigner } from "./local-signer.ts";
import { createRemoteSigner, type RemoteSignerOptions } from "./remote-signer.ts";
import {
  createListLogger,
  type Scripted,
  type ScriptedRpc,
  startScriptedRpc,
  systemClock,
} from "./test-world.ts";

// Anvil's first two accounts: public knowledge.
const KEY = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";
const OTHER_KEY = "0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d";
const ADDRESS = unwrap(parseEvmAddress("0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266"));
const TOKEN = "t0ken-of-the-signer";
const ORDER = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n;

const open: ScriptedRpc[] = [];
afterEach(async () => {
  await Promise.all(open.splice(0).map((server) => server.close()));
});

const transaction: UnsignedTransaction = {
  chainId: 31_337,
  nonce: 7n,
  to: toEvmAddress("0x00000000000000000000000000000000000000AA"),
  data: "0xdeadbeef",
  valueWei: 5n,
  gasLimit: 100_000n,
  fees: { maxFeePerGasWei: 30n, maxPriorityFeePerGasWei: 2n },
};

/** Reads a request as a signer does. */
function readRequest(params: readonly unknown[]): UnsignedTransaction {
  const [request] = params;
  if (!isRecord(request)) throw new Error("no transaction");
  const number = (name: string): bigint => BigInt(String(request[name]));
  return {
    chainId: Number(number("chainId")),
    nonce: number("nonce"),
    to: toEvmAddress(String(request["to"])),
    data: `0x${String(request["data"]).slice(2)}`,
    valueWei: number("value"),
    gasLimit: number("gas"),
    fees: {
      maxFeePerGasWei: number("maxFeePerGas"),
      maxPriorityFeePerGasWei: number("maxPriorityFeePerGas"),
    },
  };
}

const unsignedOf = (asked: UnsignedTransaction) =>
  ({
    type: "eip1559",
    chainId: asked.chainId,
    nonce: Number(asked.nonce),
    to: addressHex(asked.to),
    data: asked.data,
    value: asked.valueWei,
    gas: asked.gasLimit,
    maxFeePerGas: asked.fees.maxFeePerGasWei,
    maxPriorityFeePerGas: asked.fees.maxPriorityFeePerGasWei,
  }) as const;

const hexOf = (raw: Uint8Array): `0x${string}` => `0x${Buffer.from(raw).toString("hex")}`;

/** A signer that really signs; `alter` says what it signs instead. */
async function signing(
  alter: (asked: UnsignedTransaction) => UnsignedTransaction = (asked) => asked,
  privateKey = KEY,
): Promise<ScriptedRpc> {
  return await serve(async (method, params) => {
    if (method === "eth_accounts") return { result: [OTHER_KEY.slice(0, 42), ADDRESS] };
    const { raw } = await createLocalSigner({ privateKey }).sign(alter(readRequest(params)));
    return { result: hexOf(raw) };
  });
}

async function serve(
  answer: (method: string, params: readonly unknown[]) => Scripted | Promise<Scripted>,
): Promise<ScriptedRpc> {
  const server = await startScriptedRpc(answer);
  open.push(server);
  return server;
}

const logger = createListLogger();
const signerAt = (server: ScriptedRpc, options: Partial<RemoteSignerOptions> = {}) =>
  createRemoteSigner(
    { url: server.url, address: ADDRESS, timeoutMs: 5_000, ...options },
    { clock: systemClock, logger },
  );

async function failure(work: Promise<unknown>): Promise<SignerError> {
  const error = await work.catch((thrown: unknown) => thrown);
  if (!(error instanceof SignerError))
    throw new Error(`expected a SignerError, got ${String(error)}`);
  return error;
}

describe("a remote signer", () => {
  test("gives the same bytes as the key itself, and asks for nothing else", async () => {
    const server = await signing();
    const signer = signerAt(server, { authorization: `Bearer ${TOKEN}` });
    expect([signer.kind, signer.address]).toEqual(["remote", ADDRESS]);
    const local = createLocalSigner({ privateKey: KEY });
    const requests = [
      transaction,
      { ...transaction, nonce: 0n, valueWei: 0n, data: "0x", gasLimit: 21_000n } as const,
    ];
    for (const request of requests)
      expect(await signer.sign(request)).toEqual(await local.sign(request));
    expect(server.seen).toMatchObject([
      {
        method: "eth_signTransaction",
        params: [{ from: ADDRESS, nonce: "0x7", gas: "0x186a0", type: "0x2" }],
        authorization: `Bearer ${TOKEN}`,
      },
      { method: "eth_signTransaction", params: [{ nonce: "0x0", data: "0x" }] },
    ]);
  });

  test("may answer as geth does, with the raw transaction in an object", async () => {
    const { raw } = await createLocalSigner({ privateKey: KEY }).sign(transaction);
    const server = await serve(() => ({ result: { raw: hexOf(raw), tx: {} } }));
    expect((await signerAt(server).sign(transaction)).raw).toEqual(raw);
  });

  test.each<readonly [string, (asked: UnsignedTransaction) => UnsignedTransaction]>([
    ["chain id", (asked) => ({ ...asked, chainId: 1 })],
    ["nonce", (asked) => ({ ...asked, nonce: asked.nonce + 1n })],
    ["recipient", (asked) => ({ ...asked, to: ADDRESS })],
    ["data", (asked) => ({ ...asked, data: "0xdeadbeee" })],
    ["data", (asked) => ({ ...asked, data: "0x" })],
    ["value", (asked) => ({ ...asked, valueWei: 0n })],
    ["gas limit", (asked) => ({ ...asked, gasLimit: asked.gasLimit - 1n })],
    [
      "max fee",
      (asked) => ({ ...asked, fees: { maxFeePerGasWei: 31n, maxPriorityFeePerGasWei: 2n } }),
    ],
    [
      "priority fee",
      (asked) => ({ ...asked, fees: { maxFeePerGasWei: 30n, maxPriorityFeePerGasWei: 1n } }),
    ],
  ])("that signs another %s is not believed", async (field, alter) => {
    const error = await failure(signerAt(await signing(alter)).sign(transaction));
    expect(error).toMatchObject({ code: "MISMATCH", retryable: false });
    expect(error.message).toContain(`another ${field} than`);
  });

  test("that signs with another key is not believed", async () => {
    const server = await signing((asked) => asked, OTHER_KEY);
    const error = await failure(signerAt(server).sign(transaction));
    expect(error.code).toBe("MISMATCH");
    expect(error.message).toContain("another sender");
  });

  test.each<readonly [string, (raw: `0x${string}`) => unknown]>([
    ["nothing", () => null],
    ["a text", () => "signed, honestly"],
    ["a number", () => 7],
    ["half a transaction", (raw) => raw.slice(0, 100)],
    ["bytes after it", (raw) => `${raw}00`],
    ["an odd digit", (raw) => `${raw}0`],
    ["another type", (raw) => raw.replace("0x02", "0x01")],
    [
      "no signature",
      (raw) => {
        const {
          r: _r,
          s: _s,
          yParity: _y,
          v: _v,
          ...unsigned
        } = parseTransaction(raw as `0x02${string}`);
        return serializeTransaction(unsigned);
      },
    ],
    [
      "an access list",
      async () =>
        await privateKeyToAccount(KEY).signTransaction({
          ...unsignedOf(transaction),
          accessList: [{ address: `0x${"99".repeat(20)}`, storageKeys: [] }],
        }),
    ],
    [
      "a nonce with a zero before it",
      (raw) => {
        const fields = fromRlp(`0x${raw.slice(4)}`, "hex");
        if (typeof fields === "string") throw new Error("no transaction");
        return `0x02${toRlp([fields[0] ?? "0x", "0x0007", ...fields.slice(2)]).slice(2)}`;
      },
    ],
    [
      "the twin of its signature",
      (raw) => {
        const signed = parseTransaction(raw as `0x02${string}`);
        const { r, s, yParity } = signed;
        if (r === undefined || s === undefined || yParity === undefined)
          throw new Error("unsigned");
        const twin = `0x${(ORDER - BigInt(s)).toString(16).padStart(64, "0")}` as const;
        return serializeTransaction(signed, { r, s: twin, yParity: 1 - yParity });
      },
    ],
  ])("that answers with %s is not believed", async (_what, garble) => {
    const { raw } = await createLocalSigner({ privateKey: KEY }).sign(transaction);
    const server = await serve(async () => ({ result: await garble(hexOf(raw)) }));
    expect(await failure(signerAt(server).sign(transaction))).toMatchObject({
      code: "MISMATCH",
      retryable: false,
    });
  });

  test.each<readonly [string, Scripted, SignerError["code"]]>([
    ["HTTP 500", { status: 500, text: "oops" }, "UNREACHABLE"],
    ["HTTP 429", { status: 429, text: "" }, "UNREACHABLE"],
    ["HTTP 401", { status: 401, text: "" }, "REFUSED"],
    ["HTTP 403", { status: 403, text: "" }, "REFUSED"],
    ["a refusal", { error: { code: -32_000, message: "policy forbids it" } }, "REFUSED"],
    ["a page", { status: 200, text: "<html>" }, "MISMATCH"],
  ])("that answers %s fails as it should", async (_what, scripted, code) => {
    const error = await failure(signerAt(await serve(() => scripted)).sign(transaction));
    expect(error.code).toBe(code);
    expect(error.retryable).toBe(code === "UNREACHABLE");
  });

  test("is not listened to for longer than an answer can be", async () => {
    const server = await serve(() => ({ status: 200, text: " ".repeat(1_100_000) }));
    const error = await failure(signerAt(server).sign(transaction));
    expect(error.code).toBe("MISMATCH");
    expect(error.message).toContain("longer than 1048576 bytes");
  });

  test("that is slow or away fails in time, for another try", async () => {
    const slow = await serve(() => ({ hang: true }));
    expect(await failure(signerAt(slow, { timeoutMs: 50 }).sign(transaction))).toMatchObject({
      code: "TIMEOUT",
      retryable: true,
    });
    await slow.close();
    expect(await failure(signerAt(slow).sign(transaction))).toMatchObject({
      code: "UNREACHABLE",
      retryable: true,
    });
  });

  test("ends with the signal's reason, before it is asked and while it is", async () => {
    const arrived = Promise.withResolvers<void>();
    const server = await serve(() => {
      arrived.resolve();
      return { hang: true };
    });
    const reason = new Error("lease lost");
    const signer = signerAt(server);
    await expect(signer.sign(transaction, { signal: AbortSignal.abort(reason) })).rejects.toBe(
      reason,
    );
    expect(server.seen).toEqual([]);
    const controller = new AbortController();
    const pending = signer.sign(transaction, { signal: controller.signal });
    await arrived.promise;
    controller.abort(reason);
    await expect(pending).rejects.toBe(reason);
  });

  test("shows neither its URL's secrets nor its authorization, even when the server repeats them", async () => {
    const repeating = (authorization: string): Scripted => ({
      error: { code: -32_000, message: `no: ${authorization} at /v1/s3cr3t-path` },
    });
    const server = await serve(() => repeating(`Bearer ${TOKEN}`));
    const url = `${server.url.replace("http://", "http://alice7:passw0rd@")}/v1/s3cr3t-path`;
    const signer = signerAt(server, { url, authorization: `Bearer ${TOKEN}` });
    const errors = [await failure(signer.sign(transaction)), await failure(signer.check())];
    await server.close();
    errors.push(await failure(signer.sign(transaction)));
    for (const error of errors)
      for (const shown of [error.message, String(error.stack), String(error.cause)])
        expect(shown).not.toMatch(/alice7|passw0rd|s3cr3t|t0ken/);
    expect(logger.lines.join()).not.toMatch(/alice7|passw0rd|s3cr3t|t0ken/);
    expect(JSON.stringify(signer)).not.toMatch(/alice7|passw0rd|s3cr3t|t0ken/);
  });
});

test.each(["", `Bearer ${TOKEN}\nX-Other: 1`, `Bearer ${TOKEN}\u{1f511}`])(
  "an authorization that can't be a header is refused without showing it",
  async (authorization) => {
    const server = await signing();
    const make = () => signerAt(server, { authorization });
    expect(make).toThrow(/one line of printable ASCII/);
    expect(make).not.toThrow(/t0ken/);
  },
);

describe("the check at start", () => {
  test("passes when the address is served", async () => {
    await signerAt(await signing()).check();
  });

  test("fails when only others are, and says how many", async () => {
    const server = await serve(() => ({ result: [OTHER_KEY.slice(0, 42)] }));
    const error = await failure(signerAt(server).check());
    expect(error).toMatchObject({ code: "REFUSED", retryable: false });
    expect(error.message).toContain(`does not serve ${ADDRESS}: it has 1 other`);
  });

  test("fails when the signer refuses to talk or talks nonsense", async () => {
    const codeOf = async (scripted: Scripted) =>
      (await failure(signerAt(await serve(() => scripted)).check())).code;
    expect(await codeOf({ status: 401, text: "" })).toBe("REFUSED");
    expect(await codeOf({ result: "many" })).toBe("MISMATCH");
  });

  test("lets a submitter start whose signer is away, or does not list accounts", async () => {
    const silent = await serve(() => ({ error: { code: -32_601, message: "Method not found" } }));
    await signerAt(silent).check();
    const away = await serve(() => ({ result: [] }));
    await away.close();
    await signerAt(away).check();
    expect(logger.lines.slice(-2).join()).toMatch(/does not tell.*can't be reached/);
  });
});
