import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { bumpFees, highestOffer } from "./fees.ts";

const GWEI = 1_000_000_000n;
const wei = fc.bigInt({ min: 0n, max: 10n ** 14n });
const offer = fc.tuple(wei, wei).map(([a, b]) => ({
  maxFeePerGasWei: a > b ? a : b,
  maxPriorityFeePerGasWei: a > b ? b : a,
}));

describe("a replacement's fees", () => {
  it("are at least 12.5 % more on both fields, within the cap, and valid", () => {
    fc.assert(
      fc.property(offer, offer, wei, (previous, market, capWei) => {
        const next = bumpFees(previous, market, capWei);
        if (next === null) return;
        for (const field of ["maxFeePerGasWei", "maxPriorityFeePerGasWei"] as const)
          expect(next[field] * 1_000n).toBeGreaterThanOrEqual(previous[field] * 1_125n);
        expect(next.maxFeePerGasWei).toBeLessThanOrEqual(capWei);
        expect(next.maxPriorityFeePerGasWei).toBeLessThanOrEqual(next.maxFeePerGasWei);
      }),
    );
  });

  it("are refused only when the cap is below 12.5 % more", () => {
    fc.assert(
      fc.property(offer, offer, wei, (previous, market, capWei) => {
        const room = capWei * 1_000n >= previous.maxFeePerGasWei * 1_125n;
        expect(bumpFees(previous, market, capWei) !== null).toBe(room);
      }),
    );
  });

  it("follow the market up to the cap", () => {
    const previous = { maxFeePerGasWei: 10n * GWEI, maxPriorityFeePerGasWei: GWEI };
    const market = { maxFeePerGasWei: 300n * GWEI, maxPriorityFeePerGasWei: 2n * GWEI };
    expect(bumpFees(previous, market, 1_000n * GWEI)).toEqual(market);
    expect(bumpFees(previous, market, 100n * GWEI)).toEqual({
      ...market,
      maxFeePerGasWei: 100n * GWEI,
    });
  });

  it("raise even one wei", () => {
    const one = { maxFeePerGasWei: 1n, maxPriorityFeePerGasWei: 1n };
    expect(bumpFees(one, one, 10n)).toEqual({ maxFeePerGasWei: 2n, maxPriorityFeePerGasWei: 2n });
  });
});

it("the highest offer takes each field from whichever attempt has it", () => {
  expect(
    highestOffer([
      { maxFeePerGasWei: 5n, maxPriorityFeePerGasWei: 1n },
      { maxFeePerGasWei: 4n, maxPriorityFeePerGasWei: 3n },
    ]),
  ).toEqual({ maxFeePerGasWei: 5n, maxPriorityFeePerGasWei: 3n });
});
