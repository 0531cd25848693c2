import { beforeEach, expect, test, vi } from "vitest";
import type { Mutant } from "./mutants.ts";
import type { Plan } from "./plan.ts";
import { type RunResult, runPlan } from "./run-seed.ts";
import { carryOut, type Task } from "./tasks.ts";

vi.mock("./run-seed.ts", () => ({ runPlan: vi.fn() }));

const MUTANT = "no-status-guard";
const BROKEN = { law: "I1 one effect", text: "two of them", atMs: 7 } as const;

const resultOf = (seed: number, findings: RunResult["findings"]): RunResult => ({
  seed,
  findings,
  digest: "",
  lines: 1,
  virtualMs: 1,
  struck: new Map(),
  byzantine: [],
  transactions: { confirmed: 0, aborted: 0 },
  tail: [],
});

/** What a run comes to: null when the simulator itself fails. */
function runsAre(findingsOf: (seed: number, isPlanted: boolean) => RunResult["findings"] | null) {
  vi.mocked(runPlan).mockImplementation(
    async ({ seed }: Plan, { mutant }: { readonly mutant?: Mutant | null } = {}) => {
      const findings = findingsOf(seed, (mutant ?? null) !== null);
      if (findings === null) throw new Error("no such world");
      return resultOf(seed, findings);
    },
  );
}

const hunt: Task = { kind: "mutant", name: MUTANT, firstSeed: 1, seeds: 4 };
const beats: number[] = [];
const ask = (task: Task) => carryOut(task, (seed) => void beats.push(seed));
beforeEach(() => void beats.splice(0));

test("a mutant is found by a seed that breaks a law with it and none without it", async () => {
  runsAre((seed, isPlanted) => (isPlanted && seed === 3 ? [BROKEN] : []));
  expect(await ask(hunt)).toMatchObject({ seed: 3, finding: BROKEN, problem: null });
  // Told before each run, so that the patience is each one's.
  expect(beats).toEqual([1, 2, 3, 3]);
});

test("a mutant that no seed finds is not found", async () => {
  runsAre(() => []);
  expect(await ask(hunt)).toMatchObject({ seed: null, finding: null, problem: null });
});

test.each([
  ["with the mutant", (_: number, isPlanted: boolean) => (isPlanted ? null : [])],
  ["without it", (_: number, isPlanted: boolean) => (isPlanted ? [BROKEN] : null)],
])("a simulator that fails %s has found nothing, and says so", async (_, findingsOf) => {
  runsAre(findingsOf);
  const answer = await ask(hunt);
  expect(answer).toMatchObject({ seed: null, finding: null });
  expect(answer).toHaveProperty("problem", expect.stringMatching(/seed 1: the simulator itself/));
});

test("a law that is broken without the mutant as well is no finding of the mutant", async () => {
  runsAre((seed) => (seed === 2 ? [BROKEN] : []));
  const answer = await ask(hunt);
  expect(answer).toMatchObject({ seed: null, finding: null });
  expect(answer).toHaveProperty("problem", expect.stringMatching(/seed 2: .*without the mistake/));
});

test("a seed whose run fails by itself breaks no law, and is told as the simulator's failure", async () => {
  runsAre(() => null);
  expect(await ask({ kind: "seed", seed: 5, twice: false, mutant: null })).toMatchObject({
    findings: [],
    harnessError: expect.stringMatching(/the simulator itself failed: .*no such world/),
  });
});
