import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { appCommand } from "@quorate/localcluster";
import { prng, type SeededRandom } from "@quorate/testkit";
import { type CheckReport, check, faultsOf } from "../checker.ts";
import type { Decided } from "./decisions.ts";
import type { FaultMatrix } from "./fault-matrix.ts";
import type { Mutant } from "./mutants.ts";
import type { SendViolation } from "./send-witness.ts";
import { type CrewCounts, SubmitterCrew } from "./submitter-crew.ts";
import { WEATHER, Weather, type WeatherKind } from "./weather.ts";
import { type ChaosServers, LEASE_TTL_SECONDS, makeSeedWorld, type SeedWorld } from "./world.ts";

export interface SeedRequest {
  readonly seed: number;
  readonly txs: number;
  readonly directory: string;
  readonly matrix: FaultMatrix;
  /** New combinations of point and mode that this seed should meet. */
  readonly newHits: number;
  /** The storm lasts at least so long, and at most. */
  readonly stormMsMin: number;
  readonly stormMsMax: number;
  /** After the storm everything must be final within so long. */
  readonly calmMsMax: number;
  readonly mutant: Mutant | null;
  readonly weatherKinds?: readonly WeatherKind[];
  /** Ends the storm at the first transaction that was sent otherwise than stored. */
  readonly untilSeen?: boolean;
  readonly stepsDirectory?: string | undefined;
  readonly say: (text: string) => void;
  readonly signal: AbortSignal;
}

export interface SeedReport {
  readonly seed: number;
  readonly clusterId: string;
  readonly seconds: number;
  readonly check: CheckReport;
  readonly sendViolations: readonly SendViolation[];
  /** What is wrong, for a person; empty when nothing is. */
  readonly faults: readonly string[];
  readonly crew: CrewCounts;
  readonly weather: Readonly<Record<WeatherKind, number>>;
  readonly reorgDepths: Readonly<Record<string, number>>;
  readonly foreign: number;
  /** What PostgreSQL says happened, for information. */
  readonly history: Readonly<Record<string, number>>;
}

const CREW = 3;
const NOISE = 0.06;
const ARRIVAL_MS = 400;
const POLL_MS = 250;
const BATCHES = [4, 12, 40] as const;
const MUTANT_PROGRAM = join(import.meta.dirname, "..", "mutant-process.ts");
/** Every third seed asks a signing service, for which nonces are reserved first. */
const REMOTE_EVERY = 3;

/** One seed from its trustees' first decision to the checker's word. */
export async function runSeed(chaos: ChaosServers, request: SeedRequest): Promise<SeedReport> {
  const { seed, matrix, mutant, say, signal } = request;
  const startedMs = performance.now();
  const random = prng(seed);
  const clusterId = `seed-${seed}`;
  const world = await makeSeedWorld(chaos, {
    clusterId,
    seed,
    directory: join(request.directory, clusterId),
    settings: settingsOf(random, mutant),
    remoteSigner: mutant === null && seed % REMOTE_EVERY === 0,
    stepsDirectory: request.stepsDirectory,
  });
  const crew = new SubmitterCrew(
    {
      program:
        mutant === null
          ? appCommand("@quorate/submitter")
          : ["--conditions=@quorate/source", MUTANT_PROGRAM],
      configFile: world.configFile,
      directory: world.directory,
      size: CREW,
      leaseTtlMs: LEASE_TTL_SECONDS * 1_000,
      env: mutant === null ? {} : { CHAOS_MUTANT: mutant.name },
      aim: mutant?.aim ?? null,
      leaderEpoch: () => world.leaderEpoch(),
      say,
    },
    matrix,
    prng(seed + 7_919),
  );
  const weather = new Weather(
    {
      rpcUrl: chaos.servers.anvil.rpcUrl,
      chainId: chaos.servers.anvil.chainId,
      senderKey: world.senderKey,
      proxies: chaos.proxies,
      killLeader: () => crew.killLeader(),
      leaderEpoch: () => world.leaderEpoch(),
      say,
    },
    prng(seed + 104_729),
  );
  const failed = new AbortController();
  const violationsBefore = chaos.witness.violations.length;
  try {
    const living = crew.start();
    // What is awaited below may outlast a crew that has failed; its failure ends the seed.
    living.catch((error: unknown) => failed.abort(error));
    const either = { ...request, signal: AbortSignal.any([signal, failed.signal]) };
    await storm({ ...either, world, crew, weather, random, chaos });
    await crew.disarm();
    const calmMs = await becomeFinal(chaos, world, either);
    const checked = await look(chaos, world, weather.foreignHashes);
    const sendViolations = chaos.witness.violations.slice(violationsBefore);
    const faults = [
      ...faultsOf(checked),
      ...(sendViolations.length === 0
        ? []
        : [`sent otherwise than stored: ${sendViolations.length} (${sendViolations[0]?.kind})`]),
    ];
    if (faults.length > 0) say(`seed ${seed}: ${faults.join("; ")}\n${await crew.tails()}`);
    signal.throwIfAborted();
    say(
      `seed ${seed}: ${checked.recorded} of ${checked.decided} recorded, ${faults.length === 0 ? "nothing wrong" : "WRONG"}; ` +
        `${crew.counts.killed + crew.counts.killedAnywhere} killed, ${crew.counts.stopped} stopped, ${crew.counts.lost} lost, ` +
        `${matrix.missing.length} of ${matrix.total} faults still to be met; calm after ${Math.round(calmMs / 1_000)} s`,
    );
    return {
      seed,
      clusterId,
      seconds: Math.round((performance.now() - startedMs) / 100) / 10,
      check: checked,
      sendViolations,
      faults,
      crew: crew.counts,
      weather: weather.counts,
      reorgDepths: Object.fromEntries(weather.reorgDepths),
      foreign: weather.foreignHashes.length,
      history: await historyOf(chaos, world),
    };
  } finally {
    await crew.stop();
    await world.close();
  }
}

function settingsOf(random: SeededRandom, mutant: Mutant | null): Record<string, unknown> {
  const batchMax = BATCHES[random.below(BATCHES.length)];
  return {
    sender: {
      batchMax,
      windowMax: 6,
      resendHeads: 1,
      batchWindowMs: 100,
      bumpAfterMs: 1_500,
      cancelAfterMs: 4_000 + random.below(3) * 8_000,
      feeCapGwei: 500,
      requeuesMax: 1_000,
      ...mutant?.settings,
    },
  };
}

/** Decisions come all along; faults and weather until enough was met. */
async function storm(
  request: SeedRequest & {
    readonly world: SeedWorld;
    readonly crew: SubmitterCrew;
    readonly weather: Weather;
    readonly random: SeededRandom;
    readonly chaos: ChaosServers;
  },
): Promise<void> {
  const { world, crew, weather, random, chaos, matrix, mutant, signal } = request;
  for (const proxy of chaos.proxies) proxy.noise = NOISE;
  const over = new AbortController();
  const either = AbortSignal.any([over.signal, signal]);
  const raining = weather.run(mutant?.weather ?? request.weatherKinds ?? WEATHER, either);
  const startedMs = performance.now();
  const missingBefore = matrix.missing.length;
  const waiting = decisionsOf(request, random);
  const rounds = Math.max(1, Math.floor(request.stormMsMin / ARRIVAL_MS));
  const perRound = Math.ceil(waiting.length / rounds);
  try {
    for (;;) {
      const passedMs = performance.now() - startedMs;
      await world.trustees.decide(waiting.splice(0, random.below(2 * perRound + 1)));
      const met = missingBefore - matrix.missing.length;
      const enough = met >= request.newHits && passedMs >= request.stormMsMin;
      if ((waiting.length === 0 && enough) || passedMs >= request.stormMsMax) break;
      if (request.untilSeen === true && chaos.witness.violations.length > 0) break;
      await sleep(ARRIVAL_MS, undefined, { signal });
    }
    await world.trustees.decide(waiting);
  } finally {
    over.abort();
    await raining;
    for (const proxy of chaos.proxies) proxy.noise = 0;
  }
  signal.throwIfAborted();
  request.say(
    `seed ${request.seed}: the storm is over after ${Math.round((performance.now() - startedMs) / 1_000)} s, ${crew.counts.started} processes`,
  );
}

function decisionsOf({ seed, txs }: SeedRequest, random: SeededRandom): Decided[] {
  return Array.from({ length: txs }, (_, index) => ({
    txId: `s${seed}-${index}`,
    value: (BigInt(random.below(2 ** 32)) << 32n) | BigInt(random.below(2 ** 32)),
  }));
}

/** @returns how long it took, in ms; what is not final by then is stuck. */
async function becomeFinal(
  chaos: ChaosServers,
  world: SeedWorld,
  { calmMsMax, signal, txs, untilSeen }: SeedRequest,
): Promise<number> {
  const startedMs = performance.now();
  const seen = (): boolean => untilSeen === true && chaos.witness.violations.length > 0;
  while (performance.now() - startedMs < calmMsMax && !seen()) {
    // A nonce that carries nothing (a filled gap, a cancelled one) may become final after the last result was confirmed.
    const { rows } = await chaos.pool
      .query<{ done: string; live: string }>(
        `SELECT (SELECT count(*) FROM "${world.schema}".submission WHERE confirmed_at IS NOT NULL)::text AS done,
          (SELECT count(*) FROM "${world.schema}".slot WHERE state IN ('RESERVED', 'SIGNED', 'INCLUDED'))::text AS live`,
      )
      .catch(() => ({ rows: [] }));
    if (Number(rows[0]?.done ?? 0) >= txs && rows[0]?.live === "0") break;
    await sleep(POLL_MS, undefined, { signal });
  }
  return performance.now() - startedMs;
}

async function look(
  { servers }: ChaosServers,
  world: SeedWorld,
  foreignHashes: readonly string[],
): Promise<CheckReport> {
  return await check({
    rpcUrl: servers.anvil.rpcUrl,
    contractAddress: world.contractAddress,
    fromBlock: world.deployedAt,
    postgresUrl: servers.postgres.url,
    schema: world.schema,
    etcdUrl: servers.etcd.endpoints[0] ?? "",
    clusterId: world.clusterId,
    decided: world.trustees.decided,
    sender: world.senderAddress,
    foreignHashes,
  });
}

async function historyOf(
  { pool }: ChaosServers,
  { schema }: SeedWorld,
): Promise<Record<string, number>> {
  const { rows } = await pool
    .query<{ what: string; count: string }>(
      `SELECT 'slot ' || state AS what, count(*)::text AS count FROM "${schema}".slot GROUP BY 1
       UNION ALL SELECT 'attempt ' || kind, count(*)::text FROM "${schema}".attempt GROUP BY 1
       UNION ALL SELECT 'reorged', count(*)::text FROM "${schema}".slot_history
         WHERE from_state = 'INCLUDED' AND to_state = 'SIGNED'
       UNION ALL SELECT 'requeued', coalesce(sum(tries), 0)::text FROM "${schema}".submission`,
    )
    .catch(() => ({ rows: [] }));
  return Object.fromEntries(rows.map(({ what, count }) => [what, Number(count)]));
}
