import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { checkRecording, type TraceReport } from "../trace/lib/check-trace.ts";
import { findStepFiles, readRecording } from "../trace/lib/read-runs.ts";
import { findMutant } from "./lib/mutants.ts";
import { type ChaosReport, runChaos, type Timing } from "./lib/run-chaos.ts";

// A handful of the points of `npm run chaos:submitter`, around the writes and calls on which exactly-once hangs.
const POINTS = [
  "etcd.claim.after",
  "pg.enqueue.after",
  "pg.assign.before",
  "pg.assign.after",
  "chain.send.after",
  "pg.mark-finalized.before",
  "etcd.confirm.after",
];
const FAULTS_MET = 8;
const TIMING: Timing = {
  stormMsMin: 12_000,
  stormMsMax: 100_000,
  calmMsMax: 100_000,
  extraSeedsMax: 0,
  newHits: FAULTS_MET,
};
const RUN_MS_MAX = 240_000;
const SEED = 1;

let directory: string;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "quorate-chaos-test-"));
});

afterAll(async () => {
  await rm(directory, { recursive: true, force: true });
});

const stepsOf = (name: string): string => join(directory, `${name}-steps`);

/** Holds what every process of a run recorded against the model. */
function traceOf(name: string): TraceReport {
  return checkRecording(readRecording(findStepFiles([stepsOf(name)])));
}

function run(name: string, request: Partial<Parameters<typeof runChaos>[0]>): Promise<ChaosReport> {
  return runChaos({
    seeds: 1,
    firstSeed: SEED,
    txs: 60,
    directory: join(directory, name),
    stepsDirectory: stepsOf(name),
    mutant: null,
    points: POINTS,
    timing: TIMING,
    say: () => {},
    signal: AbortSignal.timeout(RUN_MS_MAX - 10_000),
    ...request,
  });
}

it(
  "submitters that are killed, stopped and deceived at every turn record every value once",
  async () => {
    const said: string[] = [];
    const report = await run("honest", { say: (text) => said.push(text) });
    expect(report.faults, said.join("\n")).toEqual([]);
    expect(report.totals).toMatchObject({ transactions: 60, recorded: 60, stoppedByContract: 0 });
    expect(report.points.filter(({ hits }) => hits > 0).length).toBeGreaterThanOrEqual(FAULTS_MET);
    const trace = traceOf("honest");
    expect(trace).toMatchObject({ ok: true, refusals: [], unfollowed: [] });
    expect(trace.clusters[0]?.commits).toBeGreaterThan(0);
    expect(trace.clusters[0]?.sends).toBeGreaterThan(0);
    expect(trace.clusters).toMatchObject([{ transactions: 60, unknownSets: 0, beyondTheModel: 0 }]);
  },
  RUN_MS_MAX,
);

it(
  "a submitter that sends before it commits is caught",
  async () => {
    const mutant = findMutant("send-before-commit");
    const report = await run("mutant", { mutant, untilSeen: true });
    expect(report.totals["sentOtherwiseThanStored"]).toBeGreaterThan(0);
    expect(report.ok).toBe(false);
    expect(traceOf("mutant").refusals.map(({ guard }) => guard)).toContainEqual(
      expect.stringMatching(/^only (stored bytes|bytes that are known to be committed) are sent/),
    );
  },
  RUN_MS_MAX,
);
