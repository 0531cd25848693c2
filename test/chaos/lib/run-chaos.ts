import { join } from "node:path";
import { FAULT_POINTS } from "@quorate/engine";
import { type Combination, FaultMatrix } from "./fault-matrix.ts";
import type { Mutant } from "./mutants.ts";
import type { ProxyCounts } from "./rpc-proxy.ts";
import { runSeed, type SeedReport } from "./run-seed.ts";
import { WEATHER } from "./weather.ts";
import { startChaosServers } from "./world.ts";

export interface ChaosRequest {
  readonly seeds: number;
  readonly firstSeed: number;
  readonly txs: number;
  readonly directory: string;
  readonly mutant: Mutant | null;
  /** Points to be met; all that can be by default. */
  readonly points?: readonly string[];
  readonly timing?: Timing;
  /** Ends a mutant's seed as soon as it was seen to send what is not stored. */
  readonly untilSeen?: boolean;
  /** Absolute folder where submitters and trustees record their steps. */
  readonly stepsDirectory?: string | undefined;
  readonly say: (text: string) => void;
  readonly signal: AbortSignal;
}

export interface Timing {
  readonly stormMsMin: number;
  readonly stormMsMax: number;
  readonly calmMsMax: number;
  /** Seeds that are added to meet what was not met. */
  readonly extraSeedsMax: number;
  /** Combinations that a seed should meet before its storm may end; an even share of what is missing by default. */
  readonly newHits?: number;
}

export interface ChaosReport {
  readonly ok: boolean;
  readonly mutant: string | null;
  readonly seconds: number;
  readonly totals: Readonly<Record<string, number>>;
  readonly faults: readonly { readonly seed: number; readonly fault: string }[];
  /** Points and modes that were to be met and were not. */
  readonly notMet: readonly Combination[];
  readonly points: readonly (Combination & { readonly hits: number })[];
  readonly endpoints: readonly ProxyCounts[];
  readonly seeds: readonly SeedReport[];
}

/** No run of a submitter that does its duty passes these: a person's decision, or an abort against a claim, would be needed. */
const NOT_PROVOKED = [
  "pg.quarantine",
  "pg.abort-queued",
  "pg.mark-already-recorded",
  "chain.record",
];
const FULL: Timing = {
  stormMsMin: 30_000,
  stormMsMax: 90_000,
  calmMsMax: 90_000,
  extraSeedsMax: 6,
};
const OF_A_MUTANT: Timing = {
  stormMsMin: 25_000,
  stormMsMax: 25_000,
  calmMsMax: 45_000,
  extraSeedsMax: 0,
};

export const PROVOKED_POINTS: readonly string[] = FAULT_POINTS.filter(
  (point) => !NOT_PROVOKED.some((name) => point.startsWith(`${name}.`)),
);

export async function runChaos(request: ChaosRequest): Promise<ChaosReport> {
  const { seeds, firstSeed, mutant, say, signal } = request;
  const startedMs = performance.now();
  const timing = request.timing ?? (mutant === null ? FULL : OF_A_MUTANT);
  const matrix = new FaultMatrix(request.points ?? PROVOKED_POINTS);
  const chaos = await startChaosServers(join(request.directory, "servers"), firstSeed);
  const reports: SeedReport[] = [];
  try {
    const last = seeds + timing.extraSeedsMax;
    for (let index = 0; index < last; index++) {
      const left = Math.max(1, seeds - index);
      if (index >= seeds && matrix.missing.length === 0) break;
      if (mutant !== null && reports.some((report) => report.faults.length > 0)) break;
      reports.push(
        await runSeed(chaos, {
          seed: firstSeed + index,
          txs: request.txs,
          directory: request.directory,
          matrix,
          newHits: mutant === null ? Math.ceil(matrix.missing.length / left) : 0,
          ...timing,
          untilSeen: request.untilSeen ?? false,
          stepsDirectory: request.stepsDirectory,
          mutant,
          say,
          signal,
        }),
      );
    }
    return reportOf(
      request,
      matrix,
      reports,
      chaos.proxies.map((proxy) => proxy.counts),
      startedMs,
    );
  } finally {
    await chaos.stop();
  }
}

function reportOf(
  { mutant }: ChaosRequest,
  matrix: FaultMatrix,
  seeds: readonly SeedReport[],
  endpoints: readonly ProxyCounts[],
  startedMs: number,
): ChaosReport {
  const faults = seeds.flatMap(({ seed, faults: found }) =>
    found.map((fault) => ({ seed, fault })),
  );
  const notMet = mutant === null ? matrix.missing : [];
  const sum = (of: (report: SeedReport) => number): number =>
    seeds.reduce((total, report) => total + of(report), 0);
  const environment = Object.fromEntries(
    WEATHER.map((kind) => [`weather ${kind}`, sum(({ weather }) => weather[kind])]),
  );
  const calm = Object.values(environment).filter((count) => count === 0).length;
  return {
    // A mutant's run has done its duty when the exit code says that something is wrong.
    ok: faults.length === 0 && notMet.length === 0 && (mutant !== null || calm === 0),
    mutant: mutant?.name ?? null,
    seconds: Math.round((performance.now() - startedMs) / 1_000),
    totals: {
      transactions: sum(({ check }) => check.decided),
      recorded: sum(({ check }) => check.recorded),
      duplicates: sum(({ check }) => check.duplicates.length),
      stoppedByContract: sum(({ check }) => check.stoppedByContract.length),
      missing: sum(({ check }) => check.missing.length),
      wrongValue: sum(({ check }) => check.wrongValue.length),
      foreignKeys: sum(({ check }) => check.foreignKeys.length),
      stuck: sum(({ check }) => check.stuck.length),
      wrongTransaction: sum(({ check }) => check.wrongTransaction.length),
      unconfirmed: sum(({ check }) => check.unconfirmed.length),
      unknownTransactions: sum(({ check }) => check.unknownTransactions.length),
      wrongSlots: sum(({ check }) => check.wrongSlots.length),
      sentOtherwiseThanStored: sum(({ sendViolations }) => sendViolations.length),
      processes: sum(({ crew }) => crew.started),
      killed: sum(({ crew }) => crew.killed),
      killedAnywhere: sum(({ crew }) => crew.killedAnywhere),
      stopped: sum(({ crew }) => crew.stopped),
      wokenBesideSuccessor: sum(({ crew }) => crew.wokenBesideSuccessor),
      zombiesEnded: sum(({ crew }) => crew.zombiesEnded),
      lost: sum(({ crew }) => crew.lost),
      leads: sum(({ crew }) => crew.leads),
      foreignTransactions: sum(({ foreign }) => foreign),
      ...environment,
    },
    faults,
    notMet,
    points: matrix.hits(),
    endpoints,
    seeds,
  };
}
