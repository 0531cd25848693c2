import {
  assert,
  type ClusterId,
  type EvmAddress,
  hash,
  LIMITS,
  parseEvmAddress,
  type TxId,
  unwrap,
  utf8,
  type Value,
} from "@quorate/core";
import {
  type AbortOptions,
  type BlockRef,
  type Chain,
  ChainError,
  type ChainReceipt,
  type ChainRecord,
  type Clock,
  type EndpointReport,
  type Fees,
  type FinalityMode,
  type Hex,
  type ReadOptions,
  type RecordEvent,
  type RecordedEvent,
  type RecordItem,
  type SendOutcome,
} from "@quorate/ports";
import type { ChainFault, ChainOperation } from "./memory-chain-fault.ts";
import { decodeMemoryTransaction, hex, type MemoryTransaction } from "./memory-chain-raw.ts";

export type { ChainFault, ChainOperation } from "./memory-chain-fault.ts";
export { type MemorySignerOptions, memoryChainSigner } from "./memory-chain-raw.ts";

export interface MemoryChainOptions {
  readonly clusterId: ClusterId;
  readonly chainId?: number;
  /** Asked at each call; null for no fault. */
  readonly fault?: (operation: ChainOperation) => ChainFault | null;
  /** Called with what reaches the chain by `send`, before it has any effect. */
  readonly onSend?: (raw: Uint8Array) => void | Promise<void>;
  /** How far behind the head "finalized" and "safe" are, in blocks. */
  readonly finalizedDepth?: number;
  readonly safeDepth?: number;
}

interface Block extends BlockRef {
  readonly transactions: readonly (MemoryTransaction & { readonly costWei: bigint })[];
  readonly recorded: readonly RecordedEvent[];
}

const GWEI = 1_000_000_000n;
const NO_REPORT: EndpointReport = {
  endpoint: "memory",
  problem: null,
  latencyMs: null,
  head: null,
  finalized: null,
  countLatest: null,
  countPending: null,
  balanceWei: null,
};
const CONTRACT = unwrap(parseEvmAddress(`0x${"c0".repeat(20)}`));

// What a transaction costs before it does anything.
const INTRINSIC_GAS = 21_000n;

function gasOf(items: readonly RecordItem[] | null): bigint {
  return items === null ? INTRINSIC_GAS : 50_000n + 25_000n * BigInt(items.length);
}

/**
 * A chain in memory with the recorder contract on it: a key is recorded once for
 * ever. Blocks come only by `mine`; `reorg` takes some back. Nothing is signed: a
 * `memoryChainSigner` makes raw transactions that this chain alone understands.
 */
export class MemoryChain implements Chain {
  readonly chainId: number;
  readonly contractAddress: EvmAddress = CONTRACT;
  /** Hashes of all that reached the chain by `send`, repetitions included, oldest first. */
  readonly sent: Hex[] = [];
  /** While true, blocks are mined without looking into the pool. */
  poolHeld = false;
  /** While set, a simulated batch reverts with it. */
  revertReason: string | null = null;
  readonly #options: MemoryChainOptions;
  readonly #clock: Clock;
  readonly #blocks: Block[] = [];
  readonly #pool = new Map<string, MemoryTransaction>();
  readonly #receipts = new Map<Hex, ChainReceipt>();
  readonly #records = new Map<Hex, ChainRecord>();
  readonly #balances = new Map<EvmAddress, bigint>();
  readonly #watchers = new Set<() => void>();
  #branch = 0;
  #baseFeeWei = GWEI;
  #stopped = false;

  constructor(options: MemoryChainOptions, dependencies: { readonly clock: Clock }) {
    this.#options = options;
    this.#clock = dependencies.clock;
    this.chainId = options.chainId ?? 31_337;
    this.#addBlock([]);
  }

  /** The newest block, without a call. */
  get tip(): BlockRef {
    const last = this.#blocks.at(-1);
    assert(last !== undefined, "the first block is there from the start");
    return last;
  }

  get poolSize(): number {
    return this.#pool.size;
  }

  /** Keys that the contract was asked to record again, in canonical blocks, oldest first. */
  duplicates(): readonly Hex[] {
    return this.#blocks
      .flatMap(({ transactions }) => transactions)
      .flatMap(({ hash: of }) => this.#receipts.get(of)?.events ?? [])
      .flatMap((event) => (event.kind === "duplicate" ? [event.key] : []));
  }

  fund(address: EvmAddress, wei: bigint): void {
    this.#balances.set(address, (this.#balances.get(address) ?? 0n) + wei);
  }

  /** What a gas costs from the next block on. What offers less waits in the pool. */
  setBaseFee(wei: bigint): void {
    this.#baseFeeWei = wei;
  }

  /** The pool forgets what it holds, as every node's does in time. @returns how much that was */
  dropPool(): number {
    const size = this.#pool.size;
    this.#pool.clear();
    return size;
  }

  /** Records a value as some other sender would, in a block of its own. */
  plant(txId: TxId, value: Value): void {
    const key = this.keyOf(txId);
    const blockNumber = this.tip.number + 1n;
    const txHash = hex(hash(utf8(`planted/${key}/${blockNumber}`)));
    this.#records.set(key, { value, blockNumber });
    this.#addBlock([], [{ key, value, blockNumber, txHash, logIndex: 0 }]);
  }

  /** Somebody else uses the account's key: its next nonce is taken in a block of its own. */
  takeNonce(from: EvmAddress): void {
    const nonce = this.#countAt(from, this.tip.number);
    const fees = { maxFeePerGasWei: GWEI, maxPriorityFeePerGasWei: 0n };
    const foreign = hex(hash(utf8(`foreign/${from}/${nonce}`)));
    this.#pool.delete(`${from}/${nonce}`);
    this.#addBlock([
      { hash: foreign, from, nonce, gasLimit: INTRINSIC_GAS, valueWei: 0n, fees, items: null },
    ]);
  }

  /** Adds blocks with what the pool holds. */
  mine(count = 1): void {
    for (let i = 0; i < count; i++) this.#addBlock(this.poolHeld ? [] : this.#ready());
    this.#notify();
  }

  /**
   * Replaces the newest blocks by as many empty ones.
   * @param toPool whether their transactions wait in the pool again; Anvil forgets them.
   */
  reorg(depth: number, { toPool = false }: { readonly toPool?: boolean } = {}): void {
    assert(depth >= 1 && depth < this.#blocks.length, "the first block stays");
    this.#branch++;
    for (const block of this.#blocks.splice(-depth).toReversed()) {
      for (const [key, record] of this.#records)
        if (record.blockNumber >= block.number) this.#records.delete(key);
      for (const transaction of block.transactions) {
        this.#receipts.delete(transaction.hash);
        this.fund(transaction.from, transaction.costWei);
        if (toPool) this.#pool.set(`${transaction.from}/${transaction.nonce}`, transaction);
      }
    }
    for (let i = 0; i < depth; i++) this.#addBlock([]);
    this.#notify();
  }

  async start(options: AbortOptions = {}): Promise<void> {
    await this.#call("start", options);
  }

  /** Ends the client and its watches; the chain itself goes on. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#notify();
  }

  keyOf(txId: TxId): Hex {
    return hex(hash(utf8(`${this.#options.clusterId}/${txId}`)));
  }

  async head(options: AbortOptions = {}): Promise<BlockRef> {
    await this.#call("read", options);
    return this.tip;
  }

  async finalizedHead(mode: FinalityMode, options: ReadOptions = {}): Promise<BlockRef | null> {
    await this.#call("read", options);
    return this.#finalized(mode);
  }

  #finalized(mode: FinalityMode): BlockRef | null {
    const { finalizedDepth = 64, safeDepth = 32 } = this.#options;
    const depth =
      mode.kind === "confirmations"
        ? mode.blocks
        : mode.kind === "safe"
          ? safeDepth
          : finalizedDepth;
    return this.#blocks.at(-1 - depth) ?? null;
  }

  async blockAt(number: bigint, options: ReadOptions = {}): Promise<BlockRef | null> {
    await this.#call("read", options);
    return this.#blocks[Number(number)] ?? null;
  }

  async transactionCount(
    address: EvmAddress,
    at: "latest" | "pending" | bigint,
    options: ReadOptions = {},
  ): Promise<bigint> {
    await this.#call("read", options);
    if (at === "pending") return this.#countPending(address);
    return this.#countAt(address, at === "latest" ? this.tip.number : at);
  }

  async nonceFloor(address: EvmAddress, options: AbortOptions = {}): Promise<bigint> {
    await this.#call("read", options);
    return this.#countPending(address);
  }

  async balanceWei(address: EvmAddress, options: AbortOptions = {}): Promise<bigint> {
    await this.#call("read", options);
    return this.#balances.get(address) ?? 0n;
  }

  async receipt(hashOf: Hex, options: ReadOptions = {}): Promise<ChainReceipt | null> {
    await this.#call("read", options);
    return this.#receipts.get(hashOf) ?? null;
  }

  async recordOf(
    txId: TxId,
    at: "latest" | bigint,
    options: ReadOptions = {},
  ): Promise<ChainRecord | null> {
    await this.#call("read", options);
    return this.#recordAt(txId, at);
  }

  async recordsOf(
    txIds: readonly TxId[],
    at: "latest" | bigint,
    options: ReadOptions = {},
  ): Promise<readonly (ChainRecord | null)[]> {
    assert(txIds.length <= LIMITS.chainBatchMax, "a batch is bounded");
    await this.#call("read", options);
    return txIds.map((txId) => this.#recordAt(txId, at));
  }

  async recordedEvents(
    fromBlock: bigint,
    toBlock: bigint,
    options: ReadOptions = {},
  ): Promise<readonly RecordedEvent[]> {
    await this.#call("read", options);
    return this.#blocks
      .filter(({ number }) => number >= fromBlock && number <= toBlock)
      .flatMap(({ recorded }) => recorded);
  }

  async endpointReports(
    address: EvmAddress,
    mode: FinalityMode,
    options: AbortOptions = {},
  ): Promise<readonly EndpointReport[]> {
    try {
      await this.#call("read", options);
    } catch (error) {
      if (!(error instanceof ChainError)) throw error;
      return [{ ...NO_REPORT, problem: error.message }];
    }
    return [
      {
        ...NO_REPORT,
        latencyMs: 0,
        head: this.tip,
        finalized: this.#finalized(mode),
        countLatest: this.#countAt(address, this.tip.number),
        countPending: this.#countPending(address),
        balanceWei: this.#balances.get(address) ?? 0n,
      },
    ];
  }

  async suggestFees(options: AbortOptions = {}): Promise<Fees> {
    await this.#call("read", options);
    return { maxFeePerGasWei: 2n * this.#baseFeeWei + GWEI, maxPriorityFeePerGasWei: GWEI };
  }

  encodeBatch(items: readonly RecordItem[]): Hex {
    assert(items.length >= 1 && items.length <= LIMITS.chainBatchMax, "a batch is bounded");
    return hex(utf8(JSON.stringify(items.map(({ txId, value }) => [txId, value.toString()]))));
  }

  async simulateBatch(
    _from: EvmAddress,
    items: readonly RecordItem[],
    options: AbortOptions = {},
  ): Promise<{ readonly gasLimit: bigint }> {
    await this.#call("simulate", options);
    if (this.revertReason !== null)
      throw new ChainError("REVERTED", this.revertReason, { retryable: false });
    return { gasLimit: (gasOf(items) * 12n) / 10n };
  }

  async send(raw: Uint8Array, options: AbortOptions = {}): Promise<SendOutcome> {
    options.signal?.throwIfAborted();
    const { fail, loseReply, drop, delayMs } = this.#options.fault?.("send") ?? {};
    if (delayMs !== undefined) await this.#clock.sleep(delayMs, options);
    const unreachable = { kind: "unreachable", detail: this.#whyUnreachable() } as const;
    if (fail === true || this.#stopped) return unreachable;
    const transaction = decodeMemoryTransaction(raw, this.contractAddress);
    await this.#options.onSend?.(raw);
    this.sent.push(transaction.hash);
    if (drop === true) return { kind: "accepted", detail: "" };
    const outcome = this.#accept(transaction);
    return loseReply === true ? unreachable : outcome;
  }

  async watchHeads(
    onHead: (head: BlockRef) => void | Promise<void>,
    { signal }: AbortOptions,
  ): Promise<void> {
    let last: Hex | null = null;
    while (signal?.aborted !== true && !this.#stopped) {
      const head = this.tip;
      if (head.hash !== last) {
        last = head.hash;
        await onHead(head);
        continue;
      }
      await new Promise<void>((resolve) => {
        const done = (): void => {
          this.#watchers.delete(done);
          signal?.removeEventListener("abort", done);
          resolve();
        };
        this.#watchers.add(done);
        signal?.addEventListener("abort", done);
      });
    }
  }

  #accept(transaction: MemoryTransaction): SendOutcome {
    const { from, nonce, fees } = transaction;
    const answer = (kind: SendOutcome["kind"]): SendOutcome => ({ kind, detail: kind });
    if (transaction.gasLimit < INTRINSIC_GAS) return answer("rejected");
    // Also for what is mined: a node looks for the same bytes only in its pool.
    if (nonce < this.#countAt(from, this.tip.number)) return answer("nonce-too-low");
    const before = this.#pool.get(`${from}/${nonce}`);
    if (before?.hash === transaction.hash) return answer("already-known");
    // A replacement must offer a tenth more of both.
    const beats = (mine: bigint, old: bigint): boolean => mine * 10n >= old * 11n;
    if (
      before !== undefined &&
      !(
        beats(fees.maxFeePerGasWei, before.fees.maxFeePerGasWei) &&
        beats(fees.maxPriorityFeePerGasWei, before.fees.maxPriorityFeePerGasWei)
      )
    )
      return answer("underpriced");
    const cost = transaction.gasLimit * fees.maxFeePerGasWei + transaction.valueWei;
    if ((this.#balances.get(from) ?? 0n) < cost) return answer("insufficient-funds");
    this.#pool.set(`${from}/${nonce}`, transaction);
    return answer("accepted");
  }

  /** What the pool has for the next block: each sender's nonces without a gap. */
  #ready(): readonly MemoryTransaction[] {
    const ready: MemoryTransaction[] = [];
    for (const from of new Set([...this.#pool.values()].map((t) => t.from)))
      for (let nonce = this.#countAt(from, this.tip.number); ; nonce++) {
        const transaction = this.#pool.get(`${from}/${nonce}`);
        if (transaction === undefined || transaction.fees.maxFeePerGasWei < this.#baseFeeWei) break;
        ready.push(transaction);
      }
    return ready;
  }

  #addBlock(
    transactions: readonly MemoryTransaction[],
    planted: readonly RecordedEvent[] = [],
  ): void {
    const recorded = [...planted];
    let logs = recorded.length;
    const parent = this.#blocks.at(-1);
    const number = BigInt(this.#blocks.length);
    const blockHash = hex(hash(utf8(`${this.#branch}/${number}/${parent?.hash ?? ""}`)));
    const done = transactions.map((transaction) => {
      this.#pool.delete(`${transaction.from}/${transaction.nonce}`);
      const gas = gasOf(transaction.items);
      const enough = gas <= transaction.gasLimit;
      const gasUsed = enough ? gas : transaction.gasLimit;
      const costWei = gasUsed * this.#baseFeeWei;
      this.fund(transaction.from, -costWei);
      const items = enough ? (transaction.items ?? []) : [];
      const events = items.map((item) => this.#record(item, number));
      for (const { kind, key, value } of events) {
        const logIndex = logs++;
        if (kind === "recorded")
          recorded.push({ key, value, blockNumber: number, txHash: transaction.hash, logIndex });
      }
      this.#receipts.set(transaction.hash, {
        hash: transaction.hash,
        status: enough ? "success" : "reverted",
        blockNumber: number,
        blockHash,
        gasUsed,
        events,
      });
      return { ...transaction, costWei };
    });
    this.#blocks.push({
      number,
      hash: blockHash,
      timestampSeconds: BigInt(Math.floor(this.#clock.nowMs() / 1_000)),
      baseFeePerGasWei: this.#baseFeeWei,
      transactions: done,
      recorded,
    });
  }

  #record({ txId, value }: RecordItem, blockNumber: bigint): RecordEvent {
    const key = this.keyOf(txId);
    const before = this.#records.get(key);
    if (before !== undefined)
      return { kind: "duplicate", key, value: before.value, same: before.value === value };
    this.#records.set(key, { value, blockNumber });
    return { kind: "recorded", key, value };
  }

  #recordAt(txId: TxId, at: "latest" | bigint): ChainRecord | null {
    const record = this.#records.get(this.keyOf(txId)) ?? null;
    return record !== null && at !== "latest" && record.blockNumber > at ? null : record;
  }

  #countPending(address: EvmAddress): bigint {
    let count = this.#countAt(address, this.tip.number);
    while (this.#pool.has(`${address}/${count}`)) count++;
    return count;
  }

  #countAt(address: EvmAddress, number: bigint): bigint {
    let count = 0n;
    for (const block of this.#blocks) {
      if (block.number > number) break;
      for (const { from } of block.transactions) if (from === address) count++;
    }
    return count;
  }

  #notify(): void {
    for (const watcher of this.#watchers) watcher();
  }

  async #call(
    operation: Exclude<ChainOperation, "send">,
    { signal, agreed }: ReadOptions,
  ): Promise<void> {
    signal?.throwIfAborted();
    const { fail, disagree, delayMs } = this.#options.fault?.(operation) ?? {};
    if (delayMs !== undefined) await this.#clock.sleep(delayMs, { signal });
    else await Promise.resolve();
    signal?.throwIfAborted();
    if (fail === true || this.#stopped) {
      const message = `${operation} failed: ${this.#whyUnreachable()}`;
      throw new ChainError("RPC_UNREACHABLE", message, { retryable: true });
    }
    if (agreed === true && disagree === true)
      throw new ChainError("RPC_DISAGREE", `${operation} failed: by order`, { retryable: true });
  }

  #whyUnreachable(): string {
    return this.#stopped ? "the chain client was stopped" : "by order";
  }
}
