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
  ["geth", "transaction gas price below minimum: gas tip cap 0, minimum needed 1", "fee-too-low"],
  ["geth", "account limit exceeded: pooled 64 txs", "rejected"],
  ["geth", "transaction gas limit too high (cap: 16777216, tx: 20000000)", "rejected"],
  ["geth", "max priority fee per gas higher than max fee per gas", "rejected"],
  ["geth", "authority nonce too low", "rejected"],
  ["geth", "authority already reserved", "rejected"],
  ["geth", "in-flight transaction limit reached for delegated accounts", "rejected"],
  ["geth", "future transaction tries to replace pending", "rejected"],
  ["geth", "sender not an eoa", "rejected"],
  ["geth", "nonce has max value", "rejected"],
  ["reth", "transaction underpriced", "fee-too-low"],
  ["reth", "transaction priority fee below minimum required priority fee 10", "fee-too-low"],
  ["reth", "exceeds max transaction gas limit", "rejected"],
  ["reth", "tx fee (15 wei) exceeds the configured cap (10 wei)", "rejected"],
  ["reth", "oversized data: transaction size 200000, limit 131072", "rejected"],
  ["reth", "address already reserved", "rejected"],
  ["reth", "intrinsic gas too high", "rejected"],
  ["reth", "invalid chain ID", "rejected"],
  ["reth", "sender is not an EOA", "rejected"],
  ["reth 0.x", "[0x12]: insufficient gas price to replace existing transaction.", "underpriced"],
  ["nethermind of 2026", "already known", "already-known"],
  ["nethermind of 2026", "nonce too low", "nonce-too-low"],
  ["nethermind of 2026", "replacement transaction underpriced", "underpriced"],
  ["nethermind of 2026", "transaction underpriced", "fee-too-low"],
  ["nethermind of 2026", "insufficient funds for gas * price + value", "insufficient-funds"],
  ["nethermind of 2026", "gas limit reached", "rejected"],
  ["nethermind of 2026", "nonce too high", "rejected"],
  ["nethermind of 2026", "nonce too far in future", "rejected"],
  ["nethermind of 2026", "failed to recover sender", "rejected"],
  ["nethermind of 2026", "pending transaction type conflict", "rejected"],
  ["nethermind of 2026", "unsupported transaction type", "rejected"],
  ["nethermind of 2026", "transaction too large", "rejected"],
  ["nethermind of 2026", "delegation nonce gap", "rejected"],
  ["nethermind of 2026", "node is syncing", "rejected"],
  ["erigon", "already known", "already-known"],
  ["erigon", "existing txn with same hash", "already-known"],
  ["erigon", "replacement transaction underpriced", "underpriced"],
  ["erigon", "replaced by transaction with higher tip", "underpriced"],
  ["erigon", "insufficient funds", "insufficient-funds"],
  ["erigon", "IntrinsicGas", "rejected"],
  ["erigon", "gas limit is too high", "rejected"],
  ["erigon", "pending sub-pool is full", "rejected"],
  ["erigon", "baseFee sub-pool is full", "rejected"],
  ["erigon", "spammer", "rejected"],
  ["erigon", "fork supporting this transaction type is not activated yet", "rejected"],
  ["erigon", "EIP-7702 transaction with authority already reserved", "rejected"],
  ["besu", "Nonce too high", "rejected"],
  ["besu", "Transaction nonce is too distant from current sender nonce", "rejected"],
  ["besu", "An invalid transaction with a lower nonce exists", "rejected"],
  ["besu", "Transaction gas limit exceeds block gas limit", "rejected"],
  ["besu", "Transaction gas limit cap exceeded", "rejected"],
  ["besu", "Transaction fee cap exceeded", "rejected"],
  ["besu", "Max priority fee per gas exceeds max fee per gas", "rejected"],
  ["besu", "Sender account not authorized to send transactions", "rejected"],
  ["besu", "Initial sync is still in progress", "rejected"],
  ["besu", "Invalid signature", "rejected"],
  ["besu", "Invalid transaction type", "rejected"],
  ["besu", "ChainId not supported", "rejected"],
  [
    "besu",
    "Transaction pool not enabled. (Either txpool explicitly disabled, or node not yet in sync).",
    "rejected",
  ],
  // A blob's price is none of ours.
  ["besu", "blob gas price below current blob base fee", "unknown"],
  ["besu", "Unknown internal error", "unknown"],
  ["anvil", "Nonce too high", "rejected"],
  ["anvil", "Tx: [0x12] already Imported", "already-known"],
  ["anvil", "Tx: [0x12] insufficient gas price to replace existing transaction", "underpriced"],
  ["anvil", "invalid chain id for signer", "rejected"],
  ["anvil", "Incompatible EIP-155 transaction, signed for another chain", "rejected"],
  ["anvil", "intrinsic gas too high -- tx.gas_limit > env.block.gas_limit", "rejected"],
  ["anvil", "max priority fee per gas higher than max fee per gas", "rejected"],
  [
    "anvil",
    "Transaction gas limit is greater than the block gas limit, gas_limit: 9, cap: 8",
    "rejected",
  ],
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

  test("of every client is covered in each class it has words for", () => {
    for (const client of ["geth", "reth", "nethermind", "erigon", "besu", "anvil"]) {
      const classes = SAID.filter(([of]) => of.startsWith(client)).map(([, , meaning]) => meaning);
      for (const meaning of [
        "already-known",
        "nonce-too-low",
        "underpriced",
        "fee-too-low",
        "insufficient-funds",
        "rejected",
      ] as const)
        expect(classes, `${client}: ${meaning}`).toContain(meaning);
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
