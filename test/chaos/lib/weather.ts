import { setTimeout as sleep } from "node:timers/promises";
import type { SeededRandom } from "@quorate/testkit";
import { privateKeyToAccount } from "viem/accounts";
import { type Hex, jsonRpc, quantity, readQuantity } from "./json-rpc.ts";
import type { Lie, RpcProxy } from "./rpc-proxy.ts";

/** Blocks on top of one that make it final for the submitters: more than any reorg here is deep. */
export const CONFIRMATIONS = 8;
const REORG_DEPTH_MAX = 6;
const GWEI = 10n ** 9n;
const FUNDS_WEI = 10n ** 21n;
/** Far above what a submitter offers at first, below the cap up to which it raises. */
const SPIKE_WEI = 60n * GWEI;
const BROKE_WEI = 1_000n;
const NO_ROOM_GAS = quantity(30_000);
const ROOM_GAS = quantity(30_000_000);
const WAITING_MS_MAX = 6_000;

export const WEATHER = [
  "reorg",
  "drop-all",
  "drop-one",
  "foreign-nonce",
  "foreign-then-reorg",
  "phantom-nonce",
  "fee-spike",
  "full-blocks",
  "broke",
  "lag",
  "stale",
  "refusal",
] as const;
export type WeatherKind = (typeof WEATHER)[number];

export interface WeatherOptions {
  /** Anvil itself. */
  readonly rpcUrl: string;
  readonly chainId: number;
  readonly senderKey: Hex;
  readonly proxies: readonly RpcProxy[];
  readonly killLeader: () => Promise<boolean>;
  readonly leaderEpoch: () => Promise<bigint>;
  readonly say: (text: string) => void;
}

/** The chain's and the endpoints' bad days, one event after another, from a shuffled deck so that each kind comes. */
export class Weather {
  readonly counts: Record<WeatherKind, number>;
  /** How many reorgs of each depth. */
  readonly reorgDepths = new Map<number, number>();
  /** Our own transactions under the sender's key that a node took. */
  readonly foreignHashes: Hex[] = [];
  readonly #options: WeatherOptions;
  readonly #random: SeededRandom;
  readonly #account: ReturnType<typeof privateKeyToAccount>;
  #deck: WeatherKind[] = [];
  #depths: number[] = [];

  constructor(options: WeatherOptions, random: SeededRandom) {
    this.#options = options;
    this.#random = random;
    this.#account = privateKeyToAccount(options.senderKey);
    this.counts = Object.fromEntries(WEATHER.map((kind) => [kind, 0])) as typeof this.counts;
  }

  /** One event after another until aborted. What it breaks it mends again, also then. */
  async run(kinds: readonly WeatherKind[], signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      if (this.#deck.length === 0) this.#deck = this.#random.shuffled(kinds);
      const kind = this.#deck.pop();
      if (kind === undefined) return;
      try {
        if (await this.#happen(kind, signal)) this.counts[kind]++;
      } catch (error) {
        this.#options.say(
          `weather ${kind}: ${error instanceof Error ? error.message : String(error)}`,
        );
      }
      await this.#pause(300 + this.#random.below(1_200), signal);
    }
    await this.mend();
  }

  /** Money back, base fee down, room in the blocks, endpoints honest. */
  async mend(): Promise<void> {
    for (const proxy of this.#options.proxies) proxy.lie = { kind: "none" };
    await this.#setBalance(FUNDS_WEI);
    await this.#rpc("anvil_setNextBlockBaseFeePerGas", [quantity(GWEI)]);
    await this.#rpc("evm_setBlockGasLimit", [ROOM_GAS]);
  }

  async #happen(kind: WeatherKind, signal: AbortSignal): Promise<boolean> {
    switch (kind) {
      case "reorg":
        return await this.#reorg(signal);
      case "drop-all":
        await this.#rpc("anvil_dropAllTransactions", []);
        return true;
      case "drop-one":
        return await this.#dropOne();
      case "foreign-nonce":
        return (await this.#foreign("latest", 1)) || (await this.#foreign("pending", 1));
      case "foreign-then-reorg":
        return await this.#foreignThenReorg(signal);
      case "phantom-nonce":
        return await this.#phantom(signal);
      case "fee-spike": {
        // What is signed under a spike offers enough; only what waits already is caught by it.
        const waits = await this.#somethingWaits(signal);
        await this.#holdBaseFee(4_500, signal);
        return waits;
      }
      case "full-blocks":
        return await this.#fullBlocks(signal);
      case "broke":
        await this.#setBalance(BROKE_WEI);
        await this.#pause(3_000, signal);
        await this.#setBalance(FUNDS_WEI);
        return true;
      case "lag":
        return await this.#oneLies(
          { kind: "lag", blocks: BigInt(1 + this.#random.below(5)) },
          4_000,
          signal,
        );
      case "stale":
        return await this.#oneLies({ kind: "stale" }, 3_000, signal);
      case "refusal":
        return await this.#allRefuse(2_500, signal);
    }
  }

  async #reorg(signal: AbortSignal): Promise<boolean> {
    if (this.#depths.length === 0)
      this.#depths = this.#random.shuffled(
        Array.from({ length: REORG_DEPTH_MAX }, (_, index) => index + 1),
      );
    const depth = this.#depths.pop() ?? 1;
    await this.#somethingIncluded(depth, signal);
    await this.#rpc("anvil_reorg", [depth, []]);
    this.reorgDepths.set(depth, (this.reorgDepths.get(depth) ?? 0) + 1);
    // The state went back with the blocks, and an empty purse with it.
    await this.#setBalance(FUNDS_WEI);
    return true;
  }

  async #dropOne(): Promise<boolean> {
    const pool = await this.#rpc("txpool_content", []);
    const pending: unknown = Reflect.get(Object(pool), "pending");
    const own = Object.entries(Object(pending)).find(
      ([address]) => address.toLowerCase() === this.#account.address.toLowerCase(),
    )?.[1];
    const hashes = Object.values(Object(own)).map((one) =>
      String(Reflect.get(Object(one), "hash")),
    );
    const hash = hashes[this.#random.below(Math.max(1, hashes.length))];
    if (hash === undefined) return false;
    await this.#rpc("anvil_dropTransaction", [hash]);
    return true;
  }

  /** Uses the sender's own key behind the submitter's back. @returns whether the node took one. */
  async #foreign(at: "latest" | "pending", count: number): Promise<boolean> {
    const { address } = this.#account;
    const first = await readQuantity(this.#options.rpcUrl, "eth_getTransactionCount", [
      address,
      at,
    ]);
    let taken = false;
    for (let offset = 0n; offset < BigInt(count); offset++) {
      const raw = await this.#account.signTransaction({
        type: "eip1559",
        chainId: this.#options.chainId,
        nonce: Number(first + offset),
        to: address,
        value: 0n,
        gas: 21_000n,
        maxFeePerGas: 400n * GWEI,
        maxPriorityFeePerGas: 100n * GWEI,
      });
      try {
        this.foreignHashes.push(String(await this.#rpc("eth_sendRawTransaction", [raw])) as Hex);
        taken = true;
      } catch {
        // The place is taken by a better offer.
      }
    }
    return taken;
  }

  /** Somebody takes the nonce in a block, and that block then goes away. */
  async #foreignThenReorg(signal: AbortSignal): Promise<boolean> {
    if (!(await this.#foreign("latest", 1))) return false;
    await this.#pause(2_500, signal);
    await this.#rpc("anvil_reorg", [4, []]);
    this.reorgDepths.set(4, (this.reorgDepths.get(4) ?? 0) + 1);
    await this.#setBalance(FUNDS_WEI);
    return true;
  }

  /** A new leader sees foreign transactions waiting and counts past them; then they vanish, and leave a gap. */
  async #phantom(signal: AbortSignal): Promise<boolean> {
    const before = await this.#options.leaderEpoch();
    const holding = new AbortController();
    const held = this.#holdBaseFee(9_000, AbortSignal.any([signal, holding.signal]), 450n * GWEI);
    try {
      await this.#pause(1_100, signal);
      if (!(await this.#foreign("pending", 2)) || !(await this.#options.killLeader())) return false;
      for (let tries = 0; tries < 30 && !signal.aborted; tries++) {
        if ((await this.#options.leaderEpoch()) > before) break;
        await this.#pause(200, signal);
      }
      await this.#rpc("anvil_dropAllTransactions", []);
      return true;
    } finally {
      holding.abort();
      await held;
    }
  }

  /**
   * No batch fits a block, and no endpoint takes another transaction, so a dearer one is stored and not heard of; then there
   * is room again, and the one that waited all along is mined.
   */
  async #fullBlocks(signal: AbortSignal): Promise<boolean> {
    if (!(await this.#somethingWaits(signal))) return false;
    await this.#rpc("evm_setBlockGasLimit", [NO_ROOM_GAS]);
    const refused = this.#allRefuse(7_500, signal);
    await this.#pause(4_500, signal);
    await this.#rpc("evm_setBlockGasLimit", [ROOM_GAS]);
    await refused;
    return true;
  }

  /** Waits until a transaction of the sender is in the pool. @returns whether one is. */
  async #somethingWaits(signal: AbortSignal): Promise<boolean> {
    const count = async (at: "latest" | "pending"): Promise<bigint> =>
      await readQuantity(this.#options.rpcUrl, "eth_getTransactionCount", [
        this.#account.address,
        at,
      ]);
    const untilMs = performance.now() + WAITING_MS_MAX;
    while (performance.now() < untilMs && !signal.aborted) {
      if ((await count("pending")) > (await count("latest"))) return true;
      await this.#pause(40, signal);
    }
    return false;
  }

  /** Waits until a transaction of the sender is in one of the newest blocks, and a moment more for a leader to note it. */
  async #somethingIncluded(depth: number, signal: AbortSignal): Promise<void> {
    const { rpcUrl } = this.#options;
    const { address } = this.#account;
    const untilMs = performance.now() + WAITING_MS_MAX;
    while (performance.now() < untilMs && !signal.aborted) {
      const head = await readQuantity(rpcUrl, "eth_blockNumber", []);
      const [before, now] = await Promise.all(
        [head - BigInt(depth), head].map((number) =>
          readQuantity(rpcUrl, "eth_getTransactionCount", [address, quantity(number)]),
        ),
      );
      if (before !== undefined && now !== undefined && now > before) break;
      await this.#pause(100, signal);
    }
    await this.#pause(500, signal);
  }

  async #holdBaseFee(forMs: number, signal: AbortSignal, wei = SPIKE_WEI): Promise<void> {
    const untilMs = performance.now() + forMs;
    while (performance.now() < untilMs && !signal.aborted) {
      await this.#rpc("anvil_setNextBlockBaseFeePerGas", [quantity(wei)]);
      await this.#pause(400, signal);
    }
    await this.#rpc("anvil_setNextBlockBaseFeePerGas", [quantity(GWEI)]);
  }

  /** One endpoint of them, never all: nobody can tell the truth from nothing but lies. */
  async #oneLies(lie: Lie, forMs: number, signal: AbortSignal): Promise<boolean> {
    const proxy = this.#options.proxies[this.#random.below(this.#options.proxies.length)];
    if (proxy === undefined) return false;
    proxy.lie = lie;
    await this.#pause(forMs, signal);
    proxy.lie = { kind: "none" };
    return true;
  }

  async #allRefuse(forMs: number, signal: AbortSignal): Promise<boolean> {
    for (const proxy of this.#options.proxies) proxy.lie = { kind: "refuses" };
    await this.#pause(forMs, signal);
    for (const proxy of this.#options.proxies) proxy.lie = { kind: "none" };
    return true;
  }

  async #setBalance(wei: bigint): Promise<void> {
    await this.#rpc("anvil_setBalance", [this.#account.address, quantity(wei)]);
  }

  async #rpc(method: string, params: unknown): Promise<unknown> {
    return await jsonRpc(this.#options.rpcUrl, method, params);
  }

  async #pause(ms: number, signal: AbortSignal): Promise<void> {
    await sleep(ms, undefined, { signal }).catch(() => {});
  }
}
