/** What an EIP-1559 transaction offers, in wei per gas. */
export interface FeeOffer {
  readonly maxFeePerGasWei: bigint;
  readonly maxPriorityFeePerGasWei: bigint;
}

// Pools ask for 10 % more of both fields before they replace a transaction; 12.5 % also suits the strictest of them.
const BUMP_NUMERATOR = 9n;
const BUMP_DENOMINATOR = 8n;

/** An eighth more, rounded up: never less than 12.5 %, whatever the amount. */
function raised(wei: bigint): bigint {
  return (wei * BUMP_NUMERATOR + BUMP_DENOMINATOR - 1n) / BUMP_DENOMINATOR;
}

/**
 * The offer that replaces `previous`: at least 12.5 % more on BOTH fields, at least what the market asks, never above the cap.
 * @param previous the highest offer signed for the nonce so far, on each field
 * @param capWei most ever offered as max fee
 * @returns null when the cap leaves no room for a replacement that pools accept: a person must decide
 */
export function bumpFees(previous: FeeOffer, market: FeeOffer, capWei: bigint): FeeOffer | null {
  const leastMaxWei = raised(previous.maxFeePerGasWei);
  const leastTipWei = raised(previous.maxPriorityFeePerGasWei);
  const leastWei = leastMaxWei > leastTipWei ? leastMaxWei : leastTipWei;
  if (leastWei > capWei) return null;
  const wantedWei = leastWei > market.maxFeePerGasWei ? leastWei : market.maxFeePerGasWei;
  const maxFeePerGasWei = wantedWei < capWei ? wantedWei : capWei;
  const tipWei =
    leastTipWei > market.maxPriorityFeePerGasWei ? leastTipWei : market.maxPriorityFeePerGasWei;
  return {
    maxFeePerGasWei,
    // A tip above the max fee would make the transaction invalid.
    maxPriorityFeePerGasWei: tipWei < maxFeePerGasWei ? tipWei : maxFeePerGasWei,
  };
}

/** The highest of each field: what a replacement must outbid, whichever attempt a pool holds. */
export function highestOffer(offers: readonly FeeOffer[]): FeeOffer {
  return offers.reduce<FeeOffer>(
    (high, offer) => ({
      maxFeePerGasWei:
        offer.maxFeePerGasWei > high.maxFeePerGasWei ? offer.maxFeePerGasWei : high.maxFeePerGasWei,
      maxPriorityFeePerGasWei:
        offer.maxPriorityFeePerGasWei > high.maxPriorityFeePerGasWei
          ? offer.maxPriorityFeePerGasWei
          : high.maxPriorityFeePerGasWei,
    }),
    { maxFeePerGasWei: 0n, maxPriorityFeePerGasWei: 0n },
  );
}
