import { expect, test } from "vitest";
import { judgeCriteria, type Measured } from "./criteria.ts";
import { planOf, SCENARIOS } from "./scenarios.ts";

const good: Measured = {
  latenciesMs: Array.from({ length: 200 }, (_, i) => i),
  planted: 2,
  caught: 2,
  honestBanned: 0,
  abortsMs: [40, 99],
  duplicates: 0,
  cast: ["a/trustee-1=1", "a/trustee-2=1"],
  found: new Set(["a/trustee-1=1", "a/trustee-2=1", "warm/trustee-1=3"]),
  refused: {},
  uptime: { looks: 30_000, down: 3, probes: 90_000, failed: 9 },
  invariants: {
    transactions: 1,
    votes: 2,
    signaturesVerified: 2,
    acceptedVotes: 2,
    acceptedLost: 0,
    recordedOnChain: 1,
    bans: [],
    violations: [],
  },
};

const failedOf = (measured: Partial<Measured>): readonly string[] =>
  judgeCriteria({ ...good, ...measured }).flatMap(({ name, passed }) => (passed ? [] : [name]));

test("a run that meets every criterion passes", () => {
  expect(failedOf({})).toEqual([]);
});

test("each criterion fails by itself when what it asks for is not so", () => {
  const slow = [...good.latenciesMs.slice(5), 3_000, 3_000, 3_000, 3_000, 3_000];
  expect(failedOf({ latenciesMs: slow })).toEqual([
    "all transactions reach consensus within 2 s (p99)",
  ]);
  expect(failedOf({ latenciesMs: [...good.latenciesMs, null] })).toHaveLength(1);
  expect(failedOf({ latenciesMs: [] })).toHaveLength(1);
  expect(failedOf({ caught: 1 })).toEqual(["zero Byzantine nodes go undetected"]);
  expect(failedOf({ honestBanned: 1 })).toEqual(["zero Byzantine nodes go undetected"]);
  expect(failedOf({ duplicates: 1 })).toEqual(["zero duplicate blockchain submissions"]);
  const loss = "zero message loss (verified via checksums)";
  expect(failedOf({ found: new Set(["a/trustee-1=1"]) })).toEqual([loss]);
  expect(failedOf({ found: new Set(["a/trustee-1=1", "a/trustee-2=2"]) })).toEqual([loss]);
  expect(failedOf({ cast: [] })).toEqual([loss]);
  const aborts = "all Byzantine transactions aborted within 100 ms";
  expect(failedOf({ abortsMs: [40, 101] })).toEqual([aborts]);
  expect(failedOf({ abortsMs: [40, null] })).toEqual([aborts]);
  expect(failedOf({ uptime: { ...good.uptime, down: 4 } })).toEqual(["99.99 % uptime"]);
  expect(failedOf({ invariants: { ...good.invariants, violations: ["x"] } })).toHaveLength(1);
});

test("the threshold keeps its share of the nodes, and every factor is told", () => {
  for (const scenario of SCENARIOS) {
    const plan = planOf(scenario, { cpus: 2, verifyMicros: 111 }, {});
    const share = plan.threshold / plan.nodes;
    expect(share).toBeGreaterThanOrEqual(scenario.threshold / scenario.nodes);
    expect(share).toBeLessThan(scenario.threshold / scenario.nodes + 1 / plan.nodes);
    expect(plan.factors.length).toBe(scenario.byzantine > 0 ? 5 : 4);
    for (const { specified, here, factor } of plan.factors) expect(factor).toBe(here / specified);
    // The Byzantine leave as many as the threshold needs.
    expect(plan.nodes - plan.byzantine).toBeGreaterThanOrEqual(plan.threshold);
  }
});

test("what is asked for is what is run, also the specification's own figures", () => {
  const [baseline] = SCENARIOS;
  if (baseline === undefined) throw new Error("no scenario");
  const whole = planOf(
    baseline,
    { cpus: 2, verifyMicros: 111 },
    { nodes: 10, perSecond: 100, seconds: 3_600 },
  );
  expect(whole.factors.map(({ factor }) => factor)).toEqual([1, 1, 1, 1]);
});
