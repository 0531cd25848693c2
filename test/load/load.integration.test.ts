import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { runLoad } from "./lib/run-load.ts";
import { planOf, SCENARIOS } from "./lib/scenarios.ts";

const RUN_MS_MAX = 180_000;
/** Of the criteria those that no clock decides: a test machine may be as slow as it likes. */
const TIMELESS = [
  "zero Byzantine nodes go undetected",
  "zero duplicate blockchain submissions",
  "zero message loss (verified via checksums)",
  "every invariant of the independent check holds",
];

let directory: string;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "quorate-load-test-"));
});

afterAll(async () => {
  await rm(directory, { recursive: true, force: true });
});

test(
  "the baseline in miniature loses, doubles and bans nothing, and decides everything",
  async () => {
    const [baseline] = SCENARIOS;
    if (baseline === undefined) throw new Error("there is no baseline");
    const report = await runLoad({
      plan: planOf(
        baseline,
        { cpus: 2, verifyMicros: 111 },
        { nodes: 4, perSecond: 4, seconds: 4 },
      ),
      directory,
      seed: 1,
      etcdMembers: 1,
      say: () => {},
      signal: AbortSignal.timeout(RUN_MS_MAX - 10_000),
    });
    const judged = report.criteria.filter(({ name }) => TIMELESS.includes(name));
    expect(judged).toHaveLength(TIMELESS.length);
    for (const { name, passed, measured } of judged)
      expect(passed, `${name}: ${measured}`).toBe(true);
    expect(report.criteria[0]?.measured).toContain(" 0 of ");
    expect(report.transactions).toBeGreaterThan(10);
  },
  RUN_MS_MAX,
);
