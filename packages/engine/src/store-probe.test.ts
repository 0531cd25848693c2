import { SimClock } from "@quorate/testkit";
import { afterEach, beforeEach, expect, test } from "vitest";
import { StoreProbe } from "./store-probe.ts";

let clock: SimClock;
let answer: () => Promise<bigint>;
let asked: number;
let stop: AbortController;
let probe: StoreProbe;
let running: Promise<void>;

beforeEach(() => {
  clock = new SimClock();
  answer = async () => 1n;
  asked = 0;
  stop = new AbortController();
  const revision = async (): Promise<bigint> => {
    asked += 1;
    return await answer();
  };
  probe = new StoreProbe({ store: { revision }, clock });
  running = probe.run(stop);
});

afterEach(async () => {
  stop.abort();
  await running;
});

const refused = async (): Promise<bigint> => {
  throw new Error("ECONNREFUSED");
};

test("a store that is away is noticed although nothing is committed, and so is its return", async () => {
  await clock.advance(10_000);
  expect(probe.problem).toBeNull();
  answer = refused;
  await clock.advance(6_000);
  expect(probe.problem).toBe("it has not answered for 4 s");
  answer = async () => 2n;
  await clock.advance(2_000);
  expect(probe.problem).toBeNull();
});

test("one failure is no outage", async () => {
  answer = refused;
  await clock.advance(2_000);
  answer = async () => 1n;
  await clock.advance(1_999);
  expect(probe.problem).toBeNull();
  await clock.advance(20_000);
  expect(probe.problem).toBeNull();
});

test("a store that hangs is noticed while the question is open, and is asked one question at a time", async () => {
  const hanging = Promise.withResolvers<bigint>();
  await clock.advance(2_000);
  answer = () => hanging.promise;
  await clock.advance(9_000);
  const before = asked;
  expect(probe.problem).toMatch(/^it has not answered for \d s$/);
  await clock.advance(60_000);
  expect(asked).toBe(before);
  hanging.resolve(1n);
  await clock.advance(1);
  expect(probe.problem).toBeNull();
});
