import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { checkRecording, type TraceReport } from "../trace/lib/check-trace.ts";
import { findStepFiles, readRecording } from "../trace/lib/read-runs.ts";
import type { AttackResult } from "./lib/attack.ts";
import { ATTACKS } from "./lib/catalogue.ts";
import { runAttacks } from "./lib/run-attacks.ts";

const SHORT = ATTACKS.filter((attack) => attack.short);
const SHORT_TIMEOUT_MS = 240_000;

let directory: string;
let results: ReadonlyMap<string, AttackResult>;
let trace: TraceReport;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "quorate-attacks-test-"));
  const stepsDirectory = join(directory, "steps");
  const all = await runAttacks(SHORT, { directory, stepsDirectory, say: () => {} });
  results = new Map(all.map((result) => [result.name, result]));
  trace = checkRecording(readRecording(findStepFiles([stepsDirectory])));
}, SHORT_TIMEOUT_MS);

afterAll(async () => {
  if (directory !== undefined) await rm(directory, { recursive: true, force: true });
});

describe("an attack on real processes", () => {
  for (const { name, expects } of SHORT)
    it(`${name}: ${expects}`, () => {
      const result = results.get(name);
      expect(result?.problems).toEqual([]);
      expect(result).toMatchObject({ passed: true, honestBanned: 0, wronglyDecided: 0 });
    });

  it("makes no honest process take a step that the model does not have", () => {
    expect(trace.refusals).toEqual([]);
    expect(trace.unfollowed).toEqual([]);
    expect(trace.clusters.reduce((sum, { commits }) => sum + commits, 0)).toBeGreaterThan(0);
    expect(trace.clusters.reduce((sum, { transactions }) => sum + transactions, 0)).toBeGreaterThan(
      SHORT.length,
    );
  });
});
