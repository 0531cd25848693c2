import { type BlockRef, type Chain, ChainError } from "@quorate/ports";

/** Looks in a row that must see another block before it counts: one endpoint may be on a fork for a moment. */
const LOOKS_TO_BELIEVE = 3;

/**
 * Watches that what counted as final stays. A deeper reorg than the configured finality takes back effects that were
 * confirmed: no program can mend that, so it is said, and nothing more is signed until a person has looked.
 */
export class FinalBlockWatch {
  readonly #chain: Pick<Chain, "blockAt">;
  #last: BlockRef | null = null;
  #misses = 0;

  constructor(chain: Pick<Chain, "blockAt">) {
    this.#chain = chain;
  }

  /** @returns what left the chain; null when all is as it was. */
  async look(final: BlockRef, options: { readonly signal: AbortSignal }): Promise<string | null> {
    const last = this.#last;
    if (last === null) {
      this.#last = final;
      return null;
    }
    const now = await this.#chain
      .blockAt(last.number, { ...options, agreed: true })
      .catch((error: unknown) => {
        // Endpoints that disagree say nothing about what is final.
        if (error instanceof ChainError && error.code === "RPC_DISAGREE") return null;
        throw error;
      });
    if (now === null || now.hash === last.hash) {
      this.#misses = 0;
      if (final.number > last.number) this.#last = final;
      return null;
    }
    if (++this.#misses < LOOKS_TO_BELIEVE) return null;
    this.#misses = 0;
    this.#last = final;
    return `block ${last.number} (${last.hash}) counted as final and is no longer on the chain`;
  }
}
