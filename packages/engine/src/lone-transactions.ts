import type { PeerId, TxId } from "@quorate/core";

interface Lone {
  readonly opener: PeerId;
  readonly voters: Set<PeerId>;
  readonly sinceMs: number;
}

/**
 * Transactions on which so few have voted that all of them may be lying: one trustee could open any number, each
 * at the price of a vote, and every node would record them and judge their deadlines. So each author may have only so
 * many of them. A transaction leaves the count once an honest trustee must be among its voters, and then costs its opener nothing.
 */
export class LoneTransactions {
  readonly #perOpenerMax: number;
  readonly #lifeMs: number;
  readonly #totalMax: number;
  /** Oldest first. */
  readonly #lone = new Map<TxId, Lone>();
  readonly #counts = new Map<PeerId, number>();

  /** @param options `lifeMs`: after it a transaction is forgotten, whatever became of it; so is the oldest beyond `totalMax` */
  constructor(options: {
    readonly perOpenerMax: number;
    readonly totalMax: number;
    readonly lifeMs: number;
  }) {
    this.#perOpenerMax = options.perOpenerMax;
    this.#lifeMs = options.lifeMs;
    this.#totalMax = options.totalMax;
  }

  get size(): number {
    return this.#lone.size;
  }

  has(txId: TxId): boolean {
    return this.#lone.has(txId);
  }

  /** Counts transactions that nobody has voted on before, all of them or none. @returns false when they are too many */
  open(opener: PeerId, txIds: readonly TxId[], nowMs: number): boolean {
    this.#prune(nowMs);
    const fresh = new Set(txIds.filter((txId) => !this.#lone.has(txId)));
    const count = (this.#counts.get(opener) ?? 0) + fresh.size;
    if (count > this.#perOpenerMax) return false;
    for (const txId of fresh) this.#lone.set(txId, { opener, voters: new Set(), sinceMs: nowMs });
    if (fresh.size > 0) this.#counts.set(opener, count);
    return true;
  }

  /** @param needed voters among whom an honest one must be */
  voted(txId: TxId, voter: PeerId, needed: number): void {
    const lone = this.#lone.get(txId);
    if (lone === undefined) return;
    lone.voters.add(voter);
    if (lone.voters.size >= needed) this.release(txId);
  }

  /** It is decided, or has the votes it needs. Idempotent. */
  release(txId: TxId): void {
    const lone = this.#lone.get(txId);
    if (lone === undefined) return;
    this.#lone.delete(txId);
    const left = (this.#counts.get(lone.opener) ?? 1) - 1;
    if (left === 0) this.#counts.delete(lone.opener);
    else this.#counts.set(lone.opener, left);
  }

  #prune(nowMs: number): void {
    for (const [txId, { sinceMs }] of this.#lone) {
      if (nowMs - sinceMs < this.#lifeMs && this.#lone.size <= this.#totalMax) return;
      this.release(txId);
    }
  }
}
