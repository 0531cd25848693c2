import type { AttemptKind, FeeOffer } from "@quorate/core";
import type { Chain, ChainSigner, RecordItem, SignedTransaction } from "@quorate/ports";

/** Gas of a transfer without data: what cancels a transaction and what fills a gap. */
export const EMPTY_TRANSFER_GAS = 21_000n;

/** Signs what a nonce may hold: its batch, or nothing at all. */
export class SlotSigning {
  readonly #chain: Pick<Chain, "chainId" | "contractAddress" | "encodeBatch">;
  readonly #signer: ChainSigner;

  constructor(
    chain: Pick<Chain, "chainId" | "contractAddress" | "encodeBatch">,
    signer: ChainSigner,
  ) {
    this.#chain = chain;
    this.#signer = signer;
  }

  /** The batch, for ORIGINAL and BUMP. */
  async batch(
    nonce: bigint,
    items: readonly RecordItem[],
    gasLimit: bigint,
    fees: FeeOffer,
    options?: { readonly signal: AbortSignal },
  ): Promise<SignedTransaction & FeeOffer> {
    const { chainId, contractAddress } = this.#chain;
    const data = this.#chain.encodeBatch(items);
    const signed = await this.#signer.sign(
      { chainId, nonce, to: contractAddress, data, valueWei: 0n, gasLimit, fees },
      options,
    );
    return { ...signed, ...fees };
  }

  /** A transfer of nothing to the sender itself, for CANCEL and GAPFILL. */
  async empty(
    nonce: bigint,
    fees: FeeOffer,
    options?: { readonly signal: AbortSignal },
  ): Promise<SignedTransaction & FeeOffer> {
    const signed = await this.#signer.sign(
      {
        chainId: this.#chain.chainId,
        nonce,
        to: this.#signer.address,
        data: "0x",
        valueWei: 0n,
        gasLimit: EMPTY_TRANSFER_GAS,
        fees,
      },
      options,
    );
    return { ...signed, ...fees };
  }
}

/** Whether an attempt of this kind carries the slot's batch; the others carry nothing. */
export function carriesBatch(kind: AttemptKind): boolean {
  return kind === "ORIGINAL" || kind === "BUMP";
}
