import type { EvmAddress, TxId, Value } from "@quorate/core";
import type { AbortOptions, Lifecycle } from "./lifecycle.ts";

/** 0x-prefixed lower-case hexadecimal. */
export type Hex = `0x${string}`;

export interface BlockRef {
  readonly number: bigint;
  readonly hash: Hex;
  readonly timestampSeconds: bigint;
  readonly baseFeePerGasWei: bigint;
}

/** How deep a block must be before its content counts as final. */
export type FinalityMode =
  | { readonly kind: "finalized" }
  | { readonly kind: "safe" }
  | { readonly kind: "confirmations"; readonly blocks: number };

export interface Fees {
  readonly maxFeePerGasWei: bigint;
  readonly maxPriorityFeePerGasWei: bigint;
}

export interface RecordItem {
  readonly txId: TxId;
  readonly value: Value;
}

/** What the contract says about a key, for ever. */
export interface ChainRecord {
  readonly value: Value;
  readonly blockNumber: bigint;
}

/** One `Recorded` event of the contract: the only trace of an effect that counts. */
export interface RecordedEvent {
  readonly key: Hex;
  readonly value: Value;
  readonly blockNumber: bigint;
  readonly txHash: Hex;
  readonly logIndex: number;
}

/** What one endpoint says of itself and of an account, asked at one moment. */
export interface EndpointReport {
  /** Host and port; safe to show. */
  readonly endpoint: string;
  /** Why it can't be used; null when it can. The rest is null where it did not answer. */
  readonly problem: string | null;
  readonly latencyMs: number | null;
  readonly head: BlockRef | null;
  /** The block that counts as final by the mode asked for. */
  readonly finalized: BlockRef | null;
  /** The account's next nonce at the head, and with what waits in this endpoint's pool. */
  readonly countLatest: bigint | null;
  readonly countPending: bigint | null;
  readonly balanceWei: bigint | null;
}

export interface ReadOptions extends AbortOptions {
  /**
   * Take an answer only from two endpoints that say the same, where two or more are configured; with one it is that one's
   * word. Rejects with ChainError RPC_DISAGREE when no two agree, or fewer than two answer. For reads that decide for good.
   */
  readonly agreed?: boolean;
}

/** One event of the contract inside a receipt. */
export type RecordEvent =
  | { readonly kind: "recorded"; readonly key: Hex; readonly value: Value }
  | {
      readonly kind: "duplicate";
      readonly key: Hex;
      /** The value that stands. */
      readonly value: Value;
      /** Whether the refused value was the same. */
      readonly same: boolean;
    };

export interface ChainReceipt {
  readonly hash: Hex;
  readonly status: "success" | "reverted";
  readonly blockNumber: bigint;
  readonly blockHash: Hex;
  readonly gasUsed: bigint;
  readonly events: readonly RecordEvent[];
}

/** An EIP-1559 transaction before it is signed. */
export interface UnsignedTransaction {
  readonly chainId: number;
  readonly nonce: bigint;
  readonly to: EvmAddress;
  readonly data: Hex;
  readonly valueWei: bigint;
  readonly gasLimit: bigint;
  readonly fees: Fees;
}

export interface SignedTransaction {
  readonly hash: Hex;
  readonly raw: Uint8Array;
}

/** Signs for one EVM account. Deterministic for the same input; the key never leaves it. */
export interface ChainSigner {
  readonly address: EvmAddress;
  /**
   * "local" signs in memory, and may be called inside a database transaction; "remote" asks another process, which may be
   * slow or away: the nonce is reserved and committed before it is asked. Rejects with SignerError.
   */
  readonly kind: "local" | "remote";
  sign(transaction: UnsignedTransaction, options?: AbortOptions): Promise<SignedTransaction>;
}

/**
 * What an RPC endpoint said to a raw transaction. Advisory only: it schedules
 * work and never decides state (receipts, counts and contract reads do).
 */
export interface SendOutcome {
  readonly kind:
    | "accepted"
    | "already-known"
    | "nonce-too-low"
    | "underpriced"
    | "fee-too-low"
    | "insufficient-funds"
    | "rejected"
    | "unreachable"
    | "unknown";
  /** The endpoint's own words, for the log; at most 300 characters. */
  readonly detail: string;
}

/** The chain as the submitter needs it. Every call may reject with a ChainError; none has a side effect but `send`. */
export interface Chain extends Lifecycle {
  readonly chainId: number;
  readonly contractAddress: EvmAddress;
  /** keccak256 over (domain, clusterId, txId): the contract's once-for-ever key. Pure. */
  keyOf(txId: TxId): Hex;
  /** The newest block. */
  head(options?: AbortOptions): Promise<BlockRef>;
  /** The newest block that counts as final; null when the chain is not that long yet. */
  finalizedHead(mode: FinalityMode, options?: ReadOptions): Promise<BlockRef | null>;
  /** The canonical block at a height; null when there is none. */
  blockAt(number: bigint, options?: ReadOptions): Promise<BlockRef | null>;
  /** Transactions the account has in the chain up to a block (its next nonce there). */
  transactionCount(
    address: EvmAddress,
    at: "latest" | "pending" | bigint,
    options?: ReadOptions,
  ): Promise<bigint>;
  /**
   * The highest of the account's "latest" and "pending" counts over all endpoints that answer, but not further above what
   * two of them bear out than a pool holds: no lower nonce is free, and no single endpoint can push it out of reach.
   */
  nonceFloor(address: EvmAddress, options?: AbortOptions): Promise<bigint>;
  balanceWei(address: EvmAddress, options?: AbortOptions): Promise<bigint>;
  /** The receipt by hash; null when it is in no canonical block. Never cached (a reorg removes it). */
  receipt(hash: Hex, options?: ReadOptions): Promise<ChainReceipt | null>;
  /** What the contract holds for a transaction id, at a block or at the head. */
  recordOf(txId: TxId, at: "latest" | bigint, options?: ReadOptions): Promise<ChainRecord | null>;
  /** The same of many, in order, in one call. At most LIMITS.chainBatchMax. */
  recordsOf(
    txIds: readonly TxId[],
    at: "latest" | bigint,
    options?: ReadOptions,
  ): Promise<readonly (ChainRecord | null)[]>;
  /** All `Recorded` events of the contract in a range of blocks (both included), in chain order. Ask up to a final block. */
  recordedEvents(
    fromBlock: bigint,
    toBlock: bigint,
    options?: ReadOptions,
  ): Promise<readonly RecordedEvent[]>;
  /** What each endpoint says, for a person who looks for trouble. Never rejects for an endpoint. */
  endpointReports(
    address: EvmAddress,
    mode: FinalityMode,
    options?: AbortOptions,
  ): Promise<readonly EndpointReport[]>;
  suggestFees(options?: AbortOptions): Promise<Fees>;
  /** Encodes the call that records a batch. Pure. At most LIMITS.chainBatchMax items. */
  encodeBatch(items: readonly RecordItem[]): Hex;
  /**
   * Runs the batch against the newest state without sending it.
   * @returns the gas it needs, with headroom.
   */
  simulateBatch(
    from: EvmAddress,
    items: readonly RecordItem[],
    options?: AbortOptions,
  ): Promise<{ readonly gasLimit: bigint }>;
  /** Sends raw bytes to every endpoint. Never rejects for what an endpoint answers. Sending again is harmless. */
  send(raw: Uint8Array, options?: AbortOptions): Promise<SendOutcome>;
  /** Calls back at each new head, the highest that any endpoint names; resolves when aborted. Heads may be skipped; never called concurrently. */
  watchHeads(
    onHead: (head: BlockRef) => void | Promise<void>,
    options: AbortOptions,
  ): Promise<void>;
}

/** A chain endpoint failed or answered nonsense. `retryable` is false for a wrong chain id or a missing contract. */
export class ChainError extends Error {
  override readonly name = "ChainError";
  readonly code:
    | "RPC_UNREACHABLE"
    | "RPC_ERROR"
    | "RPC_DISAGREE"
    | "WRONG_CHAIN"
    | "NO_CONTRACT"
    | "REVERTED";
  readonly retryable: boolean;
  constructor(
    code: ChainError["code"],
    message: string,
    options: { readonly retryable: boolean; readonly cause?: unknown },
  ) {
    super(message, { cause: options.cause });
    this.code = code;
    this.retryable = options.retryable;
  }
}

/**
 * A signer failed. UNREACHABLE and TIMEOUT may be tried again: to sign the same nonce and batch once more is free as long as
 * nothing was sent. REFUSED and MISMATCH (what came back is not what was asked for, or of another key) need a person.
 */
export class SignerError extends Error {
  override readonly name = "SignerError";
  readonly code: "UNREACHABLE" | "TIMEOUT" | "REFUSED" | "MISMATCH";
  readonly retryable: boolean;
  constructor(
    code: SignerError["code"],
    message: string,
    options: { readonly cause?: unknown } = {},
  ) {
    super(message, { cause: options.cause });
    this.code = code;
    this.retryable = code === "UNREACHABLE" || code === "TIMEOUT";
  }
}
