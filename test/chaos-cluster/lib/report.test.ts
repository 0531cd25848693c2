import { expect, test } from "vitest";
import { exitCodeOf, totalsOf } from "./report.ts";
import type { RowResult } from "./row.ts";

const result = (changes: Partial<RowResult> = {}): RowResult => ({
  name: "a-row",
  title: "A Row",
  injects: "something",
  expects: "nothing much",
  outcome: "passed",
  problems: [],
  remarks: [],
  notRun: [],
  recovery: {},
  figures: {},
  invariants: null,
  trace: null,
  seconds: 1,
  ...changes,
});

const passed = result();
const failed = result({ outcome: "failed", problems: ["it broke"] });
const skipped = result({ outcome: "skipped", problems: ["no root"], notRun: ["no root"] });
const partly = result({ notRun: ["no Prometheus"] });

test.each([
  ["all rows as expected", [passed, passed], 0, true],
  ["a row that failed", [passed, failed], 1, true],
  ["a row that was skipped", [passed, skipped], 3, false],
  ["nothing but skipped rows", [skipped], 3, false],
  ["a part of a row that was not played", [partly, passed], 3, false],
  ["a failure besides a skipped row", [failed, skipped], 1, false],
  ["no row at all", [], 3, false],
])("%s", (_, results, code, complete) => {
  const totals = totalsOf(results, 1);
  expect(exitCodeOf(totals)).toBe(code);
  expect(totals.complete).toBe(complete);
});
