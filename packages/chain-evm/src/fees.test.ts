import { describe, expect, test } from "vitest";

import { feesFor } from "./fees.ts";

const GWEI = 1_000_000_000n;
describe("fees", () => {
  test("offer twice the base fee plus the tip", () => {
    expect(feesFor(10n * GWEI, 3n * GWEI)).toEqual({
      maxFeePerGasWei: 23n * GWEI,
      maxPriorityFeePerGasWei: 3n * GWEI,
    });
  });

  test("offer the floor as tip when the endpoint suggests less or nothing", () => {
    for (const suggested of [null, 0n, GWEI - 1n]) {
      expect(feesFor(GWEI, suggested).maxPriorityFeePerGasWei).toBe(GWEI);
    }
    expect(feesFor(GWEI, null, { minPriorityFeeWei: 5n }).maxPriorityFeePerGasWei).toBe(5n);
  });

  test("never exceed the cap, and the tip never exceeds the max fee", () => {
    const policy = { maxFeeCapWei: 2n * GWEI };
    expect(feesFor(10n * GWEI, 3n * GWEI, policy)).toEqual({
      maxFeePerGasWei: 2n * GWEI,
      maxPriorityFeePerGasWei: 2n * GWEI,
    });
    expect(feesFor(0n, GWEI, policy).maxFeePerGasWei).toBe(GWEI);
  });
});
