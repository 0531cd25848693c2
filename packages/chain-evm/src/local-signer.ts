import { assert } from "@quorate/core";
import type { ChainSigner } from "@quorate/ports";
import { hexToBytes, keccak256 } from "viem";
import { type PrivateKeyAccount, privateKeyToAccount } from "viem/accounts";

import { addressHex, parseHex, toEvmAddress } from "./hex.ts";
import { KeyError } from "./key-error.ts";

/** The account of a private key in hexadecimal, with or without 0x. @throws KeyError KEY_INVALID. */
export function toAccount(privateKey: string): PrivateKeyAccount {
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
