import { expect, test } from "vitest";
import { systemRandom } from "./system-random.ts";

test("next is in [0, 1) and fills the range evenly", () => {
  const random = systemRandom();
  const tenths = Array.from({ length: 10 }, () => 0);
  for (let draw = 0; draw < 10_000; draw += 1) {
    const value = random.next();
    expect(value).toBeGreaterThanOrEqual(0);
    expect(value).toBeLessThan(1);
    const tenth = Math.floor(value * 10);
    tenths[tenth] = (tenths[tenth] ?? 0) + 1;
  }
  // Each tenth expects 1,000 with a standard deviation of 30: 250 away is beyond eight deviations.
  for (const count of tenths) expect(Math.abs(count - 1_000)).toBeLessThan(250);
});

test("bytes has the length asked for and is never the same twice", () => {
  const random = systemRandom();
  expect(random.bytes(0)).toHaveLength(0);
  expect(random.bytes(32)).toHaveLength(32);
  expect(random.bytes(32)).not.toEqual(random.bytes(32));
  expect(random.bytes(32).buffer.byteLength).toBe(32);
});

test("a length that is no whole number is a bug", () => {
  expect(() => systemRandom().bytes(-1)).toThrow("whole number");
  expect(() => systemRandom().bytes(1.5)).toThrow("whole number");
});
