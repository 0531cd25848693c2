import { assert, expect, test } from "vitest";
import { drawFaults, FAULT_SHAPES, type Fault, type FaultKind } from "./lib/faults.ts";
import type { Finding } from "./lib/laws/law.ts";
import { findMutant } from "./lib/mutants.ts";
import { drawPlan, type Plan } from "./lib/plan.ts";
import { parsePlanFile, planFileText } from "./lib/plan-file.ts";
import { runPlan } from "./lib/run-seed.ts";
import { fewest, shrink } from "./lib/shrink.ts";

// The short version of `npm run sim`.

/** Seeds that other tests do not use; their plans are as they come. */
const SEEDS = Array.from({ length: 16 }, (_, i) => 900_001 + i);

test.each(SEEDS)("seed %i breaks no law, and everything settles", async (seed) => {
  const { findings, transactions } = await runPlan(drawPlan(seed));
  expect(findings).toEqual([]);
  expect(transactions.confirmed + transactions.aborted).toBeGreaterThan(0);
});

test("a seed decides everything: its trace is the same to the byte", async () => {
  const lines: string[][] = [[], []];
  const digests: string[] = [];
  for (const into of lines)
    digests.push((await runPlan(drawPlan(900_050), { onLine: (line) => into.push(line) })).digest);
  expect(lines[1]).toEqual(lines[0]);
  expect(digests[1]).toBe(digests[0]);
  const other = await runPlan(drawPlan(900_051));
  expect(other.digest).not.toBe(digests[0]);
});

test("a run without faults and without Byzantine trustees confirms everything", async () => {
  const plan = drawPlan(900_060);
  const honest = Array.from({ length: plan.trustees }, (_, node) => node);
  const { findings, transactions } = await runPlan({
    ...plan,
    faults: [],
    byzantine: [],
    clocks: honest.map(() => ({ skewMs: 0, drift: 0 })),
    casts: plan.transactions.flatMap(({ txId, value, atMs }) =>
      honest.map((node) => ({ txId, value, atMs, node, mistake: null })),
    ),
  });
  expect(findings).toEqual([]);
  expect(transactions).toEqual({ confirmed: plan.transactions.length, aborted: 0 });
});

test.each([
  "recorded-before-commit",
  "count-before-vote",
  "ban-without-evidence",
  "threshold-minus-one",
  "send-before-commit",
])("the mutant %s is found within a few seeds", async (name) => {
  const mutant = findMutant(name);
  let findings: readonly Finding[] = [];
  for (let seed = 1; seed <= 8 && findings.length === 0; seed++)
    findings = (await runPlan(drawPlan(seed), { mutant })).findings;
  expect(findings).not.toEqual([]);
});

test("a failing plan is cut down to the fault that it needs, and fails again from the file", async () => {
  const mutant = findMutant("unknown-taken-for-success");
  const drawn = drawPlan(900_070);
  const fault = (kind: FaultKind, id: number): Fault => {
    // Befalls every client: a place beyond the last one.
    const target = drawn.trustees + drawn.submitters;
    return { id, kind, atMs: 950, forMs: 4_000, target, extent: 0.9, salt: id };
  };
  const transactions = drawn.transactions.slice(0, 2).map((tx) => ({ ...tx, atMs: 1_000 }));
  const plan: Plan = {
    ...drawn,
    stormMs: 6_000,
    transactions,
    casts: transactions.flatMap(({ txId, value, atMs }) =>
      drawn.clocks.map((_, node) => ({ txId, value, atMs, node, mistake: null })),
    ),
    faults: [fault("rpc-slow", 1), fault("etcd-request-lost", 2), fault("pg-slow", 3)],
  };
  const [finding] = (await runPlan(plan, { mutant })).findings;
  assert(finding !== undefined, "the mutant is found");
  const shrunk = await shrink(plan, finding.law, mutant, 20);
  expect(shrunk.plan.faults.map(({ kind }) => kind)).toEqual(["etcd-request-lost"]);
  const text = planFileText({ version: 1, mutant: mutant.name, findings: [], plan: shrunk.plan });
  const read = parsePlanFile(text);
  expect(read.plan).toEqual(shrunk.plan);
  const again = await runPlan(read.plan, { mutant });
  expect(again.findings.map(({ law }) => law)).toContain(finding.law);
}, 90_000);

test("cutting down keeps what is needed together and nothing else", async () => {
  const all = Array.from({ length: 23 }, (_, i) => i);
  const needed = [3, 4, 17];
  const kept = await fewest(all, async (items) => needed.every((one) => items.includes(one)));
  expect(kept).toEqual(needed);
});

test("a fault can be left out without another one changing", () => {
  const faults = drawFaults(7, 200, 60_000);
  expect(new Set(faults.map(({ id }) => id)).size).toBe(200);
  expect(drawFaults(7, 200, 60_000)).toEqual(faults);
  const kinds = new Set(drawFaults(7, 5_000, 60_000).map(({ kind }) => kind));
  expect(kinds.size).toBe(FAULT_SHAPES.length);
});

test.each([
  ["not json", "it is not JSON"],
  ["{}", "it is not a plan of this simulator's version"],
  ['{"version":1,"plan":{}}', "it holds no whole plan"],
])("a file that is no plan is refused with the reason: %s", (text, reason) => {
  expect(() => parsePlanFile(text)).toThrow(reason);
});
