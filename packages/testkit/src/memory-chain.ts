import {
  assert,
  bytesToHex,
  type ClusterId,
  type EvmAddress,
  hash,
  LIMITS,
  parseEvmAddress,
  parseTxId,
  parseValue,
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
  type ChainSigner,
  type Clock,
  type Fees,
  type FinalityMode,
  type Hex,
  type RecordEvent,
  type RecordItem,
  type SendOutcome,
  type SignedTransaction,
} from "@quorate/ports";

export type ChainOperation = "start" | "read" | "simulate" | "send";

/** What happens to one call. */
export interface ChainFault {
  /** It never reaches the chain: RPC_UNREACHABLE, or for `send` the outcome "unreachable". */
  readonly fail?: boolean;
  /** `send` only: it reaches the pool, and the caller hears "unreachable". */
  readonly loseReply?: boolean;
  /** `send` only: the caller hears "accepted", and the pool never gets it. */
  readonly drop?: boolean;
  /** Before it takes effect, in ms. */
  readonly delayMs?: number;
}

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

interface PoolTransaction {
  readonly hash: Hex;
  readonly from: EvmAddress;
  readonly nonce: bigint;
  readonly gasLimit: bigint;
  readonly valueWei: bigint;
  readonly fees: Fees;
  /** Null for somebody else's transaction: it takes the nonce and records nothing. */
  readonly items: readonly RecordItem[] | null;
}

interface Block extends BlockRef {
  readonly transactions: readonly (PoolTransaction & { readonly costWei: bigint })[];
}

const GWEI = 1_000_000_000n;
const BASE_FEE_WEI = GWEI;
const CONTRACT = unwrap(parseEvmAddress(`0x${"c0".repeat(20)}`));

function hex(bytes: Uint8Array): Hex {
  return `0x${bytesToHex(bytes)}`;
}

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
  readonly #pool = new Map<string, PoolTransaction>();
  readonly #receipts = new Map<Hex, ChainReceipt>();
  readonly #records = new Map<Hex, ChainRecord>();
  readonly #balances = new Map<EvmAddress, bigint>();
  readonly #watchers = new Set<() => void>();
  #branch = 0;
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

  fund(address: EvmAddress, wei: bigint): void {
    this.#balances.set(address, (this.#balances.get(address) ?? 0n) + wei);
  }

  /** Records a value as some other sender would, in a block of its own. */
  plant(txId: TxId, value: Value): void {
    this.#records.set(this.keyOf(txId), { value, blockNumber: this.tip.number + 1n });
    this.#addBlock([]);
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

  async finalizedHead(mode: FinalityMode, options: AbortOptions = {}): Promise<BlockRef | null> {
    await this.#call("read", options);
    const { finalizedDepth = 64, safeDepth = 32 } = this.#options;
    const depth =
      mode.kind === "confirmations"
        ? mode.blocks
        : mode.kind === "safe"
          ? safeDepth
          : finalizedDepth;
    return this.#blocks.at(-1 - depth) ?? null;
  }

  async blockAt(number: bigint, options: AbortOptions = {}): Promise<BlockRef | null> {
    await this.#call("read", options);
    return this.#blocks[Number(number)] ?? null;
  }

  async transactionCount(
    address: EvmAddress,
    at: "latest" | "pending" | bigint,
    options: AbortOptions = {},
  ): Promise<bigint> {
    await this.#call("read", options);
    if (typeof at === "bigint") return this.#countAt(address, at);
    let count = this.#countAt(address, this.tip.number);
    if (at === "pending") while (this.#pool.has(`${address}/${count}`)) count++;
    return count;
  }

  async balanceWei(address: EvmAddress, options: AbortOptions = {}): Promise<bigint> {
    await this.#call("read", options);
    return this.#balances.get(address) ?? 0n;
  }

  async receipt(hashOf: Hex, options: AbortOptions = {}): Promise<ChainReceipt | null> {
    await this.#call("read", options);
    return this.#receipts.get(hashOf) ?? null;
  }

  async recordOf(
    txId: TxId,
    at: "latest" | bigint,
    options: AbortOptions = {},
  ): Promise<ChainRecord | null> {
    await this.#call("read", options);
    const record = this.#records.get(this.keyOf(txId)) ?? null;
    return record !== null && at !== "latest" && record.blockNumber > at ? null : record;
  }

  async suggestFees(options: AbortOptions = {}): Promise<Fees> {
    await this.#call("read", options);
    return { maxFeePerGasWei: 2n * BASE_FEE_WEI + GWEI, maxPriorityFeePerGasWei: GWEI };
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
    const transaction = decodeRaw(raw);
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

  #accept(transaction: PoolTransaction): SendOutcome {
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
  #ready(): readonly PoolTransaction[] {
    const ready: PoolTransaction[] = [];
    for (const from of new Set([...this.#pool.values()].map((t) => t.from)))
      for (let nonce = this.#countAt(from, this.tip.number); ; nonce++) {
        const transaction = this.#pool.get(`${from}/${nonce}`);
        if (transaction === undefined || transaction.fees.maxFeePerGasWei < BASE_FEE_WEI) break;
        ready.push(transaction);
      }
    return ready;
  }

  #addBlock(transactions: readonly PoolTransaction[]): void {
    const parent = this.#blocks.at(-1);
    const number = BigInt(this.#blocks.length);
    const blockHash = hex(hash(utf8(`${this.#branch}/${number}/${parent?.hash ?? ""}`)));
    const done = transactions.map((transaction) => {
      this.#pool.delete(`${transaction.from}/${transaction.nonce}`);
      const gas = gasOf(transaction.items);
      const enough = gas <= transaction.gasLimit;
      const gasUsed = enough ? gas : transaction.gasLimit;
      const costWei = gasUsed * BASE_FEE_WEI;
      this.fund(transaction.from, -costWei);
      const items = enough ? (transaction.items ?? []) : [];
      const events = items.map((item) => this.#record(item, number));
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
      baseFeePerGasWei: BASE_FEE_WEI,
      transactions: done,
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

  async #call(operation: Exclude<ChainOperation, "send">, { signal }: AbortOptions): Promise<void> {
    signal?.throwIfAborted();
    const { fail, delayMs } = this.#options.fault?.(operation) ?? {};
    if (delayMs !== undefined) await this.#clock.sleep(delayMs, { signal });
    else await Promise.resolve();
    signal?.throwIfAborted();
    if (fail === true || this.#stopped) {
      const message = `${operation} failed: ${this.#whyUnreachable()}`;
      throw new ChainError("RPC_UNREACHABLE", message, { retryable: true });
    }
  }

  #whyUnreachable(): string {
    return this.#stopped ? "the chain client was stopped" : "by order";
  }
}

/** Makes raw transactions for a `MemoryChain`, the same for the same input. */
export function memoryChainSigner(address: EvmAddress): ChainSigner {
  return {
    address,
    sign: async (transaction): Promise<SignedTransaction> => {
      const text = JSON.stringify({ ...transaction, from: address }, (_key, v: unknown) =>
        typeof v === "bigint" ? v.toString() : v,
      );
      const raw = utf8(text);
      return { raw, hash: hex(hash(raw)) };
    },
  };
}

function decodeRaw(raw: Uint8Array): PoolTransaction {
  const body: unknown = JSON.parse(new TextDecoder().decode(raw));
  const field = (of: unknown, name: string): unknown =>
    typeof of === "object" && of !== null ? Reflect.get(of, name) : undefined;
  const wei = (of: unknown, name: string): bigint => BigInt(String(field(of, name)));
  const fees = field(body, "fees");
  const data = String(field(body, "data"));
  const list: unknown = JSON.parse(Buffer.from(data.slice(2), "hex").toString("utf8"));
  assert(Array.isArray(list), "the data is an encoded batch");
  return {
    hash: hex(hash(raw)),
    from: unwrap(parseEvmAddress(field(body, "from"))),
    nonce: wei(body, "nonce"),
    gasLimit: wei(body, "gasLimit"),
    valueWei: wei(body, "valueWei"),
    fees: {
      maxFeePerGasWei: wei(fees, "maxFeePerGasWei"),
      maxPriorityFeePerGasWei: wei(fees, "maxPriorityFeePerGasWei"),
    },
    items: list.map((item: unknown): RecordItem => {
      assert(Array.isArray(item), "an item is a pair");
      const pair: readonly unknown[] = item;
      return { txId: unwrap(parseTxId(pair[0])), value: unwrap(parseValue(pair[1])) };
    }),
  };
}
