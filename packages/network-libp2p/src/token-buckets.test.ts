import { SimClock } from "@quorate/testkit";
import { expect, it } from "vitest";
import { TokenBuckets } from "./token-buckets.ts";

function buckets(bucketsMax = 10) {
  const clock = new SimClock();
  const limit = {
    messagesPerSecond: 10,
    messagesBurst: 20,
    bytesPerSecond: 1_000,
    bytesBurst: 2_000,
  };
  return { clock, buckets: new TokenBuckets({ ...limit, bucketsMax }, { clock }) };
}

function taken(from: TokenBuckets, key: string, times: number): number {
  let count = 0;
  for (let i = 0; i < times; i++) if (from.take(key, 1)) count++;
  return count;
}

it("gives the burst at once, then the rate, and never saves up more than the burst", async () => {
  const { clock, buckets: b } = buckets();
  expect(taken(b, "a", 100)).toBe(20);
  await clock.advance(1_000);
  expect(taken(b, "a", 100)).toBe(10);
  await clock.advance(50);
  expect(taken(b, "a", 100)).toBe(0);
  // Half a message and half a message are one.
  await clock.advance(50);
  expect(taken(b, "a", 100)).toBe(1);
  await clock.advance(3_600_000);
  expect(taken(b, "a", 100)).toBe(20);
});

it("bounds bytes as well, and takes all or nothing", () => {
  const { buckets: b } = buckets();
  expect(b.take("a", 1, 1_500)).toBe(true);
  expect(b.take("a", 1, 501)).toBe(false);
  expect(b.take("a", 1, 500)).toBe(true);
  expect(b.take("a", 1, 1)).toBe(false);
  // What was refused took no message either.
  expect(taken(b, "a", 100)).toBe(18);
});

it("keeps keys apart, so that nobody uses up another's", () => {
  const { buckets: b } = buckets();
  expect(taken(b, "a", 100)).toBe(20);
  expect(taken(b, "b", 100)).toBe(20);
});

it("keeps no more buckets than its bound, and forgets the longest unused", () => {
  const { buckets: b } = buckets(3);
  expect(taken(b, "used", 100)).toBe(20);
  for (let i = 0; i < 1_000; i++) {
    b.take(`key ${i}`, 1);
    expect(b.take("used", 1)).toBe(false);
  }
  expect(b.size).toBe(3);
});

it("is full again when refilled", () => {
  const { buckets: b } = buckets();
  expect(taken(b, "a", 100)).toBe(20);
  b.refill("a");
  expect(taken(b, "a", 100)).toBe(20);
});
