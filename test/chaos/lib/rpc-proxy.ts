import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import type { SeededRandom } from "@quorate/testkit";
import { type Hex, isRecord, jsonRpc, quantity, readQuantity } from "./json-rpc.ts";

/** What a proxy did to the traffic, counted. */
export interface ProxyCounts {
  requests: number;
  delayed: number;
  requestsLost: number;
  responsesLost: number;
  httpErrors: number;
  rpcErrors: number;
  laggedAnswers: number;
  staleAnswers: number;
  refusedSends: number;
}

/** How an endpoint lies at present. `lag`: it is so many blocks behind. `stale`: it answers as before. `refuses`: it takes no transaction. */
export type Lie =
  | { readonly kind: "none" }
  | { readonly kind: "lag"; readonly blocks: bigint }
  | { readonly kind: "stale" }
  | { readonly kind: "refuses" };

// In each client's own words (geth, Nethermind, Erigon, Besu, Anvil): whatever they mean, they must decide nothing.
const SEND_ERRORS = [
  "already known",
  "nonce too low: next nonce 7, tx nonce 4",
  "replacement transaction underpriced",
  "transaction underpriced: tip needed 1, tip permitted 0",
  "insufficient funds for gas * price + value",
  "AlreadyKnown",
  "OldNonce, Current nonce: 7, nonce of rejected tx: 4",
  "INTERNAL_ERROR: nonce too low",
  "Known transaction",
  "Transaction pool not accepting transactions",
  "txpool is full",
  "transaction already imported",
  "context deadline exceeded",
] as const;
const READ_ERRORS = ["header not found", "rate limit exceeded", "missing trie node"] as const;
const CACHE_MAX = 5_000;
const TAG_AT_1 = new Set([
  "eth_getTransactionCount",
  "eth_getBalance",
  "eth_call",
  "eth_estimateGas",
  "eth_getCode",
]);

interface Call {
  readonly id: unknown;
  readonly method: string;
  readonly params: readonly unknown[];
}

type Answer = { readonly result: unknown } | { readonly error: object };

/**
 * An EVM endpoint that is as bad as real ones: slow, losing requests and answers, speaking other clients' error texts, and
 * at times behind the chain or out of date. It stands before Anvil; `onSend` sees raw transactions first.
 */
export class RpcProxy {
  readonly counts: ProxyCounts = {
    requests: 0,
    delayed: 0,
    requestsLost: 0,
    responsesLost: 0,
    httpErrors: 0,
    rpcErrors: 0,
    laggedAnswers: 0,
    staleAnswers: 0,
    refusedSends: 0,
  };
  lie: Lie = { kind: "none" };
  /** Share of requests that meet an accident, 0 to 1. */
  noise = 0;
  readonly #server: Server;
  readonly #target: string;
  readonly #random: SeededRandom;
  readonly #onSend: (raw: Hex) => Promise<void>;
  readonly #cache = new Map<string, Answer>();

  private constructor(target: string, random: SeededRandom, onSend: (raw: Hex) => Promise<void>) {
    this.#target = target;
    this.#random = random;
    this.#onSend = onSend;
    this.#server = createServer((request, response) => {
      this.#serve(request, response).catch(() => response.destroy());
    });
  }

  static async start(
    target: string,
    random: SeededRandom,
    onSend: (raw: Hex) => Promise<void>,
  ): Promise<RpcProxy> {
    const proxy = new RpcProxy(target, random, onSend);
    await new Promise<void>((resolve) => proxy.#server.listen(0, "127.0.0.1", resolve));
    return proxy;
  }

  get url(): string {
    const address = this.#server.address();
    if (address === null || typeof address === "string") throw new Error("the proxy is closed");
    return `http://127.0.0.1:${address.port}`;
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const call = callOf(JSON.parse(Buffer.concat(chunks).toString("utf8")));
    this.counts.requests++;
    const accident = this.#random.next() < this.noise ? this.#random.below(6) : -1;
    if (accident === 0) {
      this.counts.delayed++;
      await sleep(this.#random.below(400));
    }
    if (accident === 1) {
      this.counts.requestsLost++;
      response.destroy();
      return;
    }
    if (accident === 2) {
      this.counts.httpErrors++;
      response.writeHead(this.#pick([429, 500, 502, 503])).end("Bad Gateway");
      return;
    }
    const isSend = call.method === "eth_sendRawTransaction";
    if (isSend) await this.#onSend(String(call.params[0]) as Hex);
    // An error in place of a read's answer; a send may have been carried out all the same.
    const answer =
      accident === 3 && !isSend ? this.#error(READ_ERRORS) : await this.#answer(call, isSend);
    if (accident === 4) {
      this.counts.responsesLost++;
      response.destroy();
      return;
    }
    const said = isSend && accident >= 3 ? this.#error(SEND_ERRORS) : answer;
    response
      .writeHead(200, { "content-type": "application/json" })
      .end(JSON.stringify({ jsonrpc: "2.0", id: call.id, ...said }));
  }

  async #answer(call: Call, isSend: boolean): Promise<Answer> {
    if (isSend && this.lie.kind === "refuses") {
      this.counts.refusedSends++;
      return this.#error(["txpool is full", "Transaction pool not accepting transactions"]);
    }
    if (isSend) return await this.#forward(call);
    const key = `${call.method} ${JSON.stringify(call.params)}`;
    const remembered = this.#cache.get(key);
    if (this.lie.kind === "stale" && remembered !== undefined) {
      this.counts.staleAnswers++;
      return remembered;
    }
    if (this.lie.kind === "lag") return await this.#behind(call, this.lie.blocks);
    const answer = await this.#forward(call);
    if ("result" in answer) this.#remember(key, answer);
    return answer;
  }

  /** What an endpoint says that is `blocks` behind. */
  async #behind({ id, method, params }: Call, blocks: bigint): Promise<Answer> {
    this.counts.laggedAnswers++;
    const newest = await readQuantity(this.#target, "eth_blockNumber", []);
    const head = newest > blocks ? newest - blocks : 0n;
    const isAhead = (tag: unknown): boolean =>
      typeof tag === "string" && tag.startsWith("0x") && BigInt(tag) > head;
    const own = (tag: unknown): unknown =>
      tag === undefined || tag === "latest" || tag === "pending" ? quantity(head) : tag;
    if (method === "eth_blockNumber") return { result: quantity(head) };
    if (method === "eth_getBlockByNumber") {
      if (isAhead(params[0])) return { result: null };
      return await this.#forward({ id, method, params: [own(params[0]), ...params.slice(1)] });
    }
    if (TAG_AT_1.has(method)) {
      if (isAhead(params[1])) return { error: { code: -32_000, message: "header not found" } };
      return await this.#forward({
        id,
        method,
        params: [params[0], own(params[1]), ...params.slice(2)],
      });
    }
    const answer = await this.#forward({ id, method, params });
    if (method !== "eth_getTransactionReceipt" || !("result" in answer)) return answer;
    const { result } = answer;
    return isRecord(result) && isAhead(result["blockNumber"]) ? { result: null } : answer;
  }

  async #forward({ method, params }: Call): Promise<Answer> {
    const response = await fetch(this.#target, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ jsonrpc: "2.0", id: 1, method, params }),
      signal: AbortSignal.timeout(10_000),
    });
    const body: unknown = await response.json();
    if (!isRecord(body)) throw new Error("Anvil answered no object");
    return isRecord(body["error"]) ? { error: body["error"] } : { result: body["result"] ?? null };
  }

  #remember(key: string, answer: Answer): void {
    const oldest = this.#cache.keys().next().value;
    if (this.#cache.size >= CACHE_MAX && oldest !== undefined) this.#cache.delete(oldest);
    this.#cache.delete(key);
    this.#cache.set(key, answer);
  }

  #error(texts: readonly string[]): Answer {
    this.counts.rpcErrors++;
    return { error: { code: -32_000, message: this.#pick(texts) } };
  }

  #pick<T>(items: readonly T[]): T {
    const item = items[this.#random.below(items.length)];
    if (item === undefined) throw new Error("nothing to pick from");
    return item;
  }
}

function callOf(body: unknown): Call {
  if (!isRecord(body) || !Array.isArray(body["params"])) throw new Error("no JSON-RPC request");
  return { id: body["id"], method: String(body["method"]), params: body["params"] };
}

/** Waits until the chain is at least so high. */
export async function reachBlock(url: string, height: bigint): Promise<void> {
  const missing = height - (await readQuantity(url, "eth_blockNumber", []));
  if (missing > 0n) await jsonRpc(url, "anvil_mine", [quantity(missing)]);
}
