import { describe, expect, test } from "vitest";

import {
  classifySendError,
  isBlockMissing,
  isMethodMissing,
  isRangeTooWide,
  isRevert,
  type SendErrorClass,
} from "./rpc-errors.ts";

// [client, what it says, what that means]
const SAID: readonly (readonly [string, string, SendErrorClass])[] = [
  ["geth", "already known", "already-known"],
  ["geth", "nonce too low: next nonce 5, tx nonce 4", "nonce-too-low"],
  ["geth", "nonce too low: address 0x1234, tx: 0 state: 1", "nonce-too-low"],
  ["geth", "replacement transaction underpriced: new tx gas fee cap 1 <= 2 queued", "underpriced"],
  ["geth", "transaction underpriced: gas tip cap 0, minimum needed 1", "fee-too-low"],
  [
    "geth",
    "max fee per gas less than block base fee: address 0x12, maxFeePerGas: 1, baseFee: 7",
    "fee-too-low",
  ],
  [
    "geth",
    "insufficient funds for gas * price + value: balance 0, tx cost 21000, overshot 21000",
    "insufficient-funds",
  ],
  ["geth", "intrinsic gas too low: gas 100, minimum needed 21000", "rejected"],
  ["geth", "exceeds block gas limit", "rejected"],
  ["geth", "tx fee (1.50 ether) exceeds the configured cap (1.00 ether)", "rejected"],
  ["geth", "invalid sender", "rejected"],
  ["geth", "invalid chain id for signer: have 1 want 5", "rejected"],
  ["geth", "txpool is full", "rejected"],
  ["reth", "already known", "already-known"],
  ["reth", "nonce too low: next nonce 2, tx nonce 1", "nonce-too-low"],
  ["reth", "replacement transaction underpriced", "underpriced"],
  ["reth", "insufficient funds for gas * price + value: have 1 want 2", "insufficient-funds"],
  ["reth", "transaction type not supported", "rejected"],
  ["nethermind", "AlreadyKnown", "already-known"],
  ["nethermind", "OldNonce, Current nonce: 5, nonce of rejected tx: 4", "nonce-too-low"],
  ["nethermind", "ReplacementNotAllowed", "underpriced"],
  ["nethermind", "FeeTooLow, MaxFeePerGas too low. MaxFeePerGas: 1", "fee-too-low"],
  ["nethermind", "FeeTooLowToCompete", "fee-too-low"],
  ["nethermind", "InsufficientFunds, Balance is zero", "insufficient-funds"],
  ["nethermind", "NonceGap, Future nonce", "rejected"],
  ["nethermind", "GasLimitExceeded, Gas limit: 1", "rejected"],
  ["erigon", "existing tx with same hash", "already-known"],
  ["erigon", "nonce too low", "nonce-too-low"],
  ["erigon", "could not replace existing tx", "underpriced"],
  ["erigon", "underpriced", "fee-too-low"],
  ["erigon", "fee too low", "fee-too-low"],
  ["erigon", "insufficient funds for gas * price + value", "insufficient-funds"],
  ["besu", "Known transaction", "already-known"],
  ["besu", "Nonce too low", "nonce-too-low"],
  ["besu", "Replacement transaction underpriced", "underpriced"],
  ["besu", "Gas price below current base fee", "fee-too-low"],
  ["besu", "Gas price below configured minimum gas price", "fee-too-low"],
  ["besu", "Upfront cost exceeds account balance", "insufficient-funds"],
  ["besu", "Intrinsic gas exceeds gas limit", "rejected"],
  ["besu", "Wrong chainId", "rejected"],
  ["anvil", "transaction already imported", "already-known"],
  ["anvil", "nonce too low", "nonce-too-low"],
  ["anvil", "replacement transaction underpriced", "underpriced"],
  ["anvil", "max fee per gas less than block base fee", "fee-too-low"],
  ["anvil", "Insufficient funds for gas * price + value", "insufficient-funds"],
  ["anvil", "intrinsic gas too low", "rejected"],
  ["a client of tomorrow", "the moon is in the wrong phase", "unknown"],
  ["any", "", "unknown"],
];

describe("text of a refused send", () => {
  test.each(SAID)("%s: %j means %s", (_client, text, meaning) => {
    expect(classifySendError(text)).toBe(meaning);
    // Some gateways put a word before it.
    if (!/^[A-Z][a-z]+[A-Z]/.test(text) && meaning !== "unknown") {
      expect(classifySendError(`err: ${text}`)).toBe(meaning);
    }
  });

  test("known bytes are never taken for a used nonce, nor the other way round", () => {
    const known = SAID.filter(([, , meaning]) => meaning === "already-known");
    const used = SAID.filter(([, , meaning]) => meaning === "nonce-too-low");
    expect(known.length).toBeGreaterThan(4);
    expect(used.length).toBeGreaterThan(4);
    for (const [, text] of known) expect(text).not.toMatch(/nonce/i);
    for (const [, text] of used) expect(text).not.toMatch(/known|imported|same hash/i);
  });
});

describe("text of a failed read", () => {
  test("a revert is told by its code or by its words", () => {
    expect(isRevert(3, "")).toBe(true);
    expect(isRevert(-32_000, "execution reverted")).toBe(true);
    expect(isRevert(-32_000, "Execution reverted")).toBe(true);
    expect(isRevert(-32_015, "VM execution error.")).toBe(true);
    expect(isRevert(-32_000, "insufficient funds for transfer")).toBe(false);
    expect(isRevert(-32_005, "limit exceeded")).toBe(false);
  });

  test("a missing block is told from a failure", () => {
    expect(isBlockMissing("Unknown block")).toBe(true);
    expect(isBlockMissing("finalized block not found")).toBe(true);
    expect(isBlockMissing("header not found")).toBe(true);
    expect(isBlockMissing("internal error")).toBe(false);
  });

  test("a missing method is told from a failure", () => {
    expect(isMethodMissing(-32_601, "")).toBe(true);
    expect(
      isMethodMissing(
        -32_000,
        "the method eth_maxPriorityFeePerGas does not exist/is not available",
      ),
    ).toBe(true);
    expect(isMethodMissing(-32_000, "internal error")).toBe(false);
  });

  test("a range that is too wide is told from a failure", () => {
    expect(isRangeTooWide("query returned more than 10000 results")).toBe(true);
    expect(isRangeTooWide("block range exceeds 2000")).toBe(true);
    expect(isRangeTooWide("internal error")).toBe(false);
  });
});
