import { describe, expect, it } from "vitest";
import { prng } from "./prng.ts";

describe("prng", () => {
  it("gives the same draws for the same seed, and others for another", () => {
    const draw = (seed: number): readonly unknown[] => {
      const random = prng(seed);
      return [
        random.next(),
        random.bytes(8),
        random.below(1_000),
        random.shuffled([1, 2, 3, 4, 5]),
      ];
    };
    expect(draw(7)).toEqual(draw(7));
    expect(draw(7)).not.toEqual(draw(8));
  });

  it("stays the same over versions: a recorded seed must reproduce its failure", () => {
    const random = prng(42);
    expect([random.next(), random.next(), random.below(100)]).toMatchInlineSnapshot(`
      [
        0.162016942165792,
        0.7093585170805454,
        27,
      ]
    `);
    expect([...random.bytes(4)]).toMatchInlineSnapshot(`
      [
        244,
        174,
        225,
        27,
      ]
    `);
  });

  it("draws evenly enough from [0, 1) and from below(n)", () => {
    const random = prng(1);
    const counts = Array.from({ length: 10 }, () => 0);
    for (let i = 0; i < 20_000; i++) {
      const x = random.next();
      expect(x >= 0 && x < 1).toBe(true);
      const n = random.below(10);
      counts[n] = (counts[n] ?? 0) + 1;
    }
    for (const count of counts) expect(Math.abs(count - 2_000)).toBeLessThan(250);
  });

  it("shuffles into a permutation and leaves the input alone", () => {
    const items = [1, 2, 3, 4, 5, 6, 7, 8];
    const out = prng(3).shuffled(items);
    expect(items).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
    expect(out).not.toEqual(items);
    expect(out.toSorted((a, b) => a - b)).toEqual(items);
  });

  it("refuses a seed or a limit that is not a whole number in range", () => {
    expect(() => prng(0.5)).toThrow("whole number");
    expect(() => prng(1).below(0)).toThrow("limit");
  });
});
