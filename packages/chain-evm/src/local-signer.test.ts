import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { AssertionError } from "@quorate/core";
import type { UnsignedTransaction } from "@quorate/ports";
import { bytesToHex, keccak256, parseTransaction, recoverTransactionAddress } from "viem";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { toEvmAddress } from "./hex.ts";
import { KeyError } from "./key-error.ts";
import { loadKeyFile } from "./key-file.ts";
import { createLocalSigner } from "./local-signer.ts";

// Anvil's first account: public knowledge.
const KEY = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";
const ADDRESS = "0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266";

const transaction: UnsignedTransaction = {
  chainId: 31_337,
  nonce: 7n,
  to: toEvmAddress("0x00000000000000000000000000000000000000AA"),
  data: "0xdeadbeef",
  valueWei: 0n,
  gasLimit: 100_000n,
  fees: { maxFeePerGasWei: 30n, maxPriorityFeePerGasWei: 2n },
};

async function failure(work: Promise<unknown>): Promise<KeyError> {
  const error = await work.catch((thrown: unknown) => thrown);
  if (!(error instanceof KeyError)) throw new Error(`expected a KeyError, got ${String(error)}`);
  return error;
}

describe("a local signer", () => {
  const signer = createLocalSigner({ privateKey: KEY });

  test("has the key's address", () => {
    expect(signer.address).toBe(ADDRESS);
  });

  test("signs exactly the transaction it was given", async () => {
    const { hash, raw } = await signer.sign(transaction);
    const serialized = bytesToHex(raw);
    expect(hash).toBe(keccak256(serialized));
    expect(parseTransaction(serialized)).toMatchObject({
      type: "eip1559",
      chainId: 31_337,
      nonce: 7,
      to: transaction.to,
      data: "0xdeadbeef",
      gas: 100_000n,
      maxFeePerGas: 30n,
      maxPriorityFeePerGas: 2n,
    });
    if (!serialized.startsWith("0x02")) throw new Error("not an EIP-1559 transaction");
    const recovered = await recoverTransactionAddress({
      serializedTransaction: `0x02${serialized.slice(4)}`,
    });
    expect(recovered.toLowerCase()).toBe(ADDRESS);
  });

  test("gives the same bytes for the same transaction", async () => {
    const first = await signer.sign(transaction);
    const second = await createLocalSigner({ privateKey: KEY }).sign(transaction);
    expect(second).toEqual(first);
  });

  test("refuses a nonce that a number cannot hold", async () => {
    const tooLarge = { ...transaction, nonce: 2n ** 53n };
    await expect(signer.sign(tooLarge)).rejects.toBeInstanceOf(AssertionError);
  });

  test("does not sign when aborted", async () => {
    const reason = new Error("no more");
    await expect(signer.sign(transaction, { signal: AbortSignal.abort(reason) })).rejects.toBe(
      reason,
    );
  });

  test("does not show its key", () => {
    const shown = JSON.stringify(signer) + String(Object.values(signer));
    expect(shown).not.toContain(KEY.slice(2));
  });

  test.each([
    ["too short", KEY.slice(0, -2)],
    ["not hexadecimal", `0x${"zz".repeat(32)}`],
    ["zero", `0x${"00".repeat(32)}`],
    ["beyond the curve's order", `0x${"ff".repeat(32)}`],
  ])("refuses a key that is %s, without showing it", (_why, bad) => {
    try {
      createLocalSigner({ privateKey: bad });
      expect.unreachable();
    } catch (error) {
      if (!(error instanceof KeyError)) throw error;
      expect(error.code).toBe("KEY_INVALID");
      expect(`${error.message} ${error.stack} ${String(error.cause)}`).not.toContain(bad.slice(2));
    }
  });
});

describe("a key file", () => {
  let directory = "";
  const file = async (text: string, mode: number): Promise<string> => {
    const path = join(directory, `key-${mode.toString(8)}-${text.length}`);
    await writeFile(path, text);
    await chmod(path, mode);
    return path;
  };
  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), "quorate-key-"));
  });
  afterAll(async () => {
    await rm(directory, { recursive: true });
  });

  test("is read with or without 0x and a line end", async () => {
    expect(await loadKeyFile(await file(`${KEY}\n`, 0o600))).toBe(KEY);
    expect(await loadKeyFile(await file(KEY.slice(2), 0o400))).toBe(KEY);
  });

  test.each([0o640, 0o604, 0o620, 0o610])("with mode %o is refused", async (mode) => {
    const error = await failure(loadKeyFile(await file(KEY, mode)));
    expect(error.code).toBe("KEY_FILE_EXPOSED");
    expect(error.message).toContain("chmod 600");
    expect(error.message).not.toContain(KEY.slice(2, 12));
  });

  test("that holds no key is refused, without showing what it holds", async () => {
    const error = await failure(loadKeyFile(await file("correct horse battery", 0o600)));
    expect(error.code).toBe("KEY_INVALID");
    expect(error.message).not.toContain("horse");
    expect((await failure(loadKeyFile(await file("ab".repeat(200), 0o600)))).code).toBe(
      "KEY_INVALID",
    );
  });

  test("that is not there, or is a directory, is named with the reason", async () => {
    const missing = await failure(loadKeyFile(join(directory, "none")));
    expect(missing.code).toBe("KEY_FILE_UNREADABLE");
    expect(missing.message).toContain("ENOENT");
    expect((await failure(loadKeyFile(directory))).code).toBe("KEY_FILE_UNREADABLE");
  });
});
