import { expect, test } from "vitest";
import { FAULT_SHAPES } from "./faults.ts";
import { BYZANTINE_KINDS } from "./plan.ts";
import { reportText, SEEDS_FOR_ALL_FAULTS, Tally } from "./report.ts";
import type { SeedAnswer } from "./tasks.ts";

const EVERYTHING = Object.fromEntries(FAULT_SHAPES.map(({ kind }) => [kind, 1]));

/** So many seeds in which everything happened, the first run twice. */
function reportOf(changes: Partial<SeedAnswer>, seeds: number = SEEDS_FOR_ALL_FAULTS) {
  const tally = new Tally();
  for (let seed = 1; seed <= seeds; seed++)
    tally.answers.push({
      kind: "seed",
      seed,
      findings: [],
      harnessError: null,
      virtualMs: 1,
      struck: EVERYTHING,
      byzantine: BYZANTINE_KINDS,
      confirmed: 1,
      aborted: 1,
      faults: 1,
      isRepeatable: seed === 1 ? true : null,
      ...changes,
    });
  return tally.sum({ firstSeed: 1, seeds, mutant: null }, 1);
}

test("all is well when everything struck, everybody misbehaved, and a seed was the same twice", () => {
  expect(reportOf({})).toMatchObject({ ok: true, neverStruck: [], neverPlayed: [], ranTwice: 1 });
});

test("a Byzantine kind that was never played fails a long run, and no short one", () => {
  const byzantine = BYZANTINE_KINDS.filter((kind) => kind !== "impostor");
  const report = reportOf({ byzantine });
  expect(report).toMatchObject({ ok: false, neverPlayed: ["impostor"] });
  expect(reportText(report)).toContain("No trustee was ever: impostor");
  expect(reportOf({ byzantine }, SEEDS_FOR_ALL_FAULTS - 1).ok).toBe(true);
});

test("a fault that never struck fails a long run", () => {
  const { "pg-cut": _, ...struck } = EVERYTHING;
  expect(reportOf({ struck })).toMatchObject({ ok: false, neverStruck: ["pg-cut"] });
});

test("nothing is said to repeat when no seed was run twice", () => {
  const report = reportOf({ isRepeatable: null }, 3);
  expect(report).toMatchObject({ ok: false, ranTwice: 0 });
  expect(reportText(report)).toContain("No seed was run twice");
});
