import {
  type AbortOptions,
  type BlockRef,
  type Chain,
  ChainError,
  type ReadOptions,
  type SendOutcome,
} from "@quorate/ports";
import type { SimLink } from "./sim-link.ts";

/** What a caller hears of an endpoint that it can't reach. */
export function chainError(kind: "unreachable" | "timeout", operation: string): ChainError {
  return new ChainError(
    "RPC_UNREACHABLE",
    kind === "timeout"
      ? `${operation} was not answered in time`
      : `${operation} reached no endpoint`,
    { retryable: true },
  );
}

/** What a lying endpoint makes of one answer; the answer itself when it tells the truth. */
export type Lie = (operation: string, answer: unknown, args: readonly unknown[]) => unknown;

export interface SimChainClientOptions {
  readonly pollMs: number;
  /**
   * One of the endpoints lies. A read that asks for agreement never takes its word: it gets the truth of
   * the others, or no answer. Null while all are honest.
   */
  readonly lie: () => Lie | null;
  /** Whether, while one lies, two others are left to agree. Asked once for each read that needs agreement. */
  readonly othersAgree: () => boolean;
  /** Whether a transaction that is sent is accepted and forgotten. */
  readonly forgets: () => boolean;
}

const PURE: ReadonlySet<PropertyKey> = new Set([
  "keyOf",
  "encodeBatch",
  "chainId",
  "contractAddress",
]);

/**
 * A process's client of the simulated chain, with endpoints that are slow, away, behind, or lying.
 * Stands for the whole EVM adapter: what it guarantees about agreement is taken from its port, not tested here.
 */
export function simChainClient(link: SimLink, chain: Chain, options: SimChainClientOptions): Chain {
  const client = new ChainCalls(link, chain, options);
  return new Proxy(chain, {
    get: (target, property) => {
      const member: unknown = Reflect.get(target, property, target);
      if (PURE.has(property) || typeof member !== "function")
        return typeof member === "function" ? member.bind(target) : member;
      if (property === "send") return client.send.bind(client);
      if (property === "watchHeads") return client.watchHeads.bind(client);
      // The chain goes on without its clients.
      if (property === "start" || property === "stop") return client[property].bind(client);
      return (...args: readonly unknown[]) =>
        client.read(String(property), args, (sent) => Reflect.apply(member, target, sent));
    },
  });
}

class ChainCalls {
  readonly #link: SimLink;
  readonly #chain: Chain;
  readonly #options: SimChainClientOptions;
  readonly #over = new AbortController();

  constructor(link: SimLink, chain: Chain, options: SimChainClientOptions) {
    this.#link = link;
    this.#chain = chain;
    this.#options = options;
  }

  async start({ signal }: AbortOptions = {}): Promise<void> {
    await this.read("start", [{ signal }], () => this.#chain.head());
  }

  async stop(): Promise<void> {
    this.#over.abort(new Error("the chain client was stopped"));
  }

  async read(
    operation: string,
    args: readonly unknown[],
    effect: (args: readonly unknown[]) => unknown,
  ): Promise<unknown> {
    const read = args.at(-1);
    const { agreed, signal }: ReadOptions = isOptions(read) ? read : {};
    const sent = isOptions(read) ? args.slice(0, -1) : args;
    if (this.#over.signal.aborted) throw chainError("unreachable", operation);
    return await this.#link.call(
      operation,
      async () => {
        const lie = this.#options.lie();
        if (lie === null) return await effect(sent);
        if (agreed !== true) return lie(operation, await effect(sent), sent);
        if (this.#options.othersAgree()) return await effect(sent);
        throw new ChainError("RPC_DISAGREE", `${operation}: no two endpoints say the same`, {
          retryable: true,
        });
      },
      { signal },
    );
  }

  async send(raw: Uint8Array, { signal }: AbortOptions = {}): Promise<SendOutcome> {
    signal?.throwIfAborted();
    if (this.#over.signal.aborted) return { kind: "unreachable", detail: "the client was stopped" };
    try {
      return await this.#link.call(
        "send",
        () =>
          this.#options.forgets()
            ? ({ kind: "accepted", detail: "" } as const)
            : this.#chain.send(raw),
        { signal },
      );
    } catch (error) {
      // A send never rejects for what an endpoint does.
      if (error instanceof ChainError) return { kind: "unreachable", detail: error.message };
      throw error;
    }
  }

  /** By polling, as the real client does it. */
  async watchHeads(
    onHead: (head: BlockRef) => void | Promise<void>,
    { signal: caller }: AbortOptions,
  ): Promise<void> {
    const signal =
      caller === undefined ? this.#over.signal : AbortSignal.any([caller, this.#over.signal]);
    const isOver = (): boolean => signal.aborted;
    let last: string | null = null;
    while (!isOver()) {
      const head = await this.#head(signal);
      if (isOver()) return;
      if (head !== null && head.hash !== last) {
        last = head.hash;
        await onHead(head);
      }
      await this.#link.process.clock.sleep(this.#options.pollMs, { signal }).catch(() => {});
    }
  }

  /** Null when no endpoint tells. */
  async #head(signal: AbortSignal | undefined): Promise<BlockRef | null> {
    try {
      return (await this.read("head", [{ signal }], () => this.#chain.head())) as BlockRef;
    } catch {
      return null;
    }
  }
}

/** The last argument, when it is a call's options. */
function isOptions(arg: unknown): arg is ReadOptions {
  return typeof arg === "object" && arg !== null && ("signal" in arg || "agreed" in arg);
}
