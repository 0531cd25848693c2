import { constants } from "node:fs";
import { open } from "node:fs/promises";

import { assert } from "@quorate/core";
import type { AbortOptions, ChainSigner, Hex } from "@quorate/ports";
import { hexToBytes, keccak256 } from "viem";
import { type PrivateKeyAccount, privateKeyToAccount } from "viem/accounts";

import { addressHex, parseHex, toEvmAddress } from "./hex.ts";

/** A key could not be used. Neither message nor cause ever holds the key, or a part of it. */
export class KeyError extends Error {
  override readonly name = "KeyError";
  readonly code: "KEY_INVALID" | "KEY_FILE_UNREADABLE" | "KEY_FILE_EXPOSED";
  constructor(code: KeyError["code"], message: string) {
    super(message);
    this.code = code;
  }
}

const GROUP_OR_WORLD = 0o077;
// 0x, 64 digits and a line end fit; a whole other file does not.
const KEY_FILE_BYTES_MAX = 128;

function toAccount(privateKey: string): PrivateKeyAccount {
  const key = parseHex(privateKey.startsWith("0x") ? privateKey : `0x${privateKey}`);
  if (key !== null && key.length === 66) {
    try {
      return privateKeyToAccount(key);
    } catch {
      // The library's error may quote its input.
    }
  }
  throw new KeyError(
    "KEY_INVALID",
    "the EVM private key must be 32 bytes in hexadecimal, from 1 up to the curve's order (it is not shown)",
  );
}

/**
 * Signs EIP-1559 transactions with a key in memory. Deterministic (RFC 6979).
 * @throws KeyError KEY_INVALID.
 */
export function createLocalSigner(options: { readonly privateKey: string }): ChainSigner {
  const account = toAccount(options.privateKey);
  return {
    address: toEvmAddress(account.address),
    kind: "local",
    sign: async (transaction, { signal } = {}) => {
      signal?.throwIfAborted();
      assert(
        transaction.nonce >= 0n && transaction.nonce <= BigInt(Number.MAX_SAFE_INTEGER),
        "a nonce must fit a safe integer",
      );
      const serialized = await account.signTransaction({
        type: "eip1559",
        chainId: transaction.chainId,
        nonce: Number(transaction.nonce),
        to: addressHex(transaction.to),
        data: transaction.data,
        value: transaction.valueWei,
        gas: transaction.gasLimit,
        maxFeePerGas: transaction.fees.maxFeePerGasWei,
        maxPriorityFeePerGas: transaction.fees.maxPriorityFeePerGasWei,
      });
      signal?.throwIfAborted();
      return { hash: keccak256(serialized), raw: hexToBytes(serialized) };
    },
  };
}

/**
 * Reads a private key from a file: 64 hexadecimal digits, with or without 0x and a final line end.
 * The file must be readable by its owner alone.
 * @throws KeyError KEY_FILE_UNREADABLE, KEY_FILE_EXPOSED or KEY_INVALID; none holds the key.
 */
export async function loadKeyFile(path: string, { signal }: AbortOptions = {}): Promise<Hex> {
  signal?.throwIfAborted();
  const file = await open(path, constants.O_RDONLY).catch((error: unknown) => {
    throw new KeyError(
      "KEY_FILE_UNREADABLE",
      `key file ${path} cannot be opened: ${errorCode(error)}`,
    );
  });
  try {
    // Asked of the open file, not of the path: nobody can swap it in between.
    const status = await file.stat();
    if (!status.isFile()) {
      throw new KeyError("KEY_FILE_UNREADABLE", `key file ${path} is not a regular file`);
    }
    const mode = status.mode & 0o777;
    if ((mode & GROUP_OR_WORLD) !== 0) {
      throw new KeyError(
        "KEY_FILE_EXPOSED",
        `key file ${path} has mode ${mode.toString(8).padStart(4, "0")}: others than its owner have access. Run: chmod 600 ${path}`,
      );
    }
    if (status.size > KEY_FILE_BYTES_MAX) {
      throw new KeyError("KEY_INVALID", `key file ${path} is too long to hold one private key`);
    }
    const text = (await file.readFile({ encoding: "utf8", signal })).trim();
    toAccount(text);
    const key = parseHex(text.startsWith("0x") ? text : `0x${text}`);
    assert(key !== null, "a key that makes an account is hexadecimal");
    return key;
  } finally {
    await file.close();
  }
}

function errorCode(error: unknown): string {
  return error instanceof Error && "code" in error ? String(error.code) : "unknown error";
}
