import { nodeAt } from "@quorate/testkit";
import { act } from "./act.ts";
import { ByzantinePeer } from "./byzantine-peer.ts";
import { Client } from "./client.ts";
import type { FaultKind } from "./faults.ts";
import type { Finding } from "./laws/law.ts";
import type { Mutant } from "./mutants.ts";
import { NodeSeat } from "./node-seat.ts";
import { usePlainSignals } from "./plain-signals.ts";
import type { Plan } from "./plan.ts";
import { unsettled } from "./settled.ts";
import { SubmitterSeat } from "./submitter-seat.ts";
import { World, type WorldOptions } from "./world.ts";

/** When the faults are over, so much virtual time is enough for everything to settle. */
const CALM_MS_MAX = 120_000;
const CALM_STEP_MS = 2_000;
/** How soon a broken law ends a run. */
const STORM_STEP_MS = 500;
/** Receipts are counted in windows of ten seconds, and whoever settles early may still be wrong. */
const CALM_MS_MIN = 20_000;

export interface RunResult {
  readonly seed: number;
  readonly findings: readonly Finding[];
  /** Of the whole trace. */
  readonly digest: string;
  readonly lines: number;
  readonly virtualMs: number;
  readonly struck: ReadonlyMap<FaultKind, number>;
  readonly byzantine: readonly string[];
  readonly transactions: { readonly confirmed: number; readonly aborted: number };
  readonly tail: readonly string[];
}

/** Runs one plan from beginning to end. */
export async function runPlan(plan: Plan, options: WorldOptions = {}): Promise<RunResult> {
  const world = new World(plan, options);
  const { clock, witness, trace, weather } = world;
  const strays = watchForStrays(world);
  const restoreSignals = usePlainSignals();
  try {
    await world.etcdServer.initCluster(world.cluster.set);
    await takeSeats(world, options.mutant ?? null);
    for (const fault of plan.faults) clock.schedule(fault.atMs, () => act(world, fault));
    mine(world);
    while (clock.monotonicMs() < plan.stormMs && witness.findings.length === 0)
      await clock.advance(Math.min(STORM_STEP_MS, plan.stormMs - clock.monotonicMs()));
    weather.clear();
    trace.note("the storm is over");
    for (let calmMs = 0; witness.findings.length === 0; ) {
      await clock.advance(CALM_STEP_MS);
      calmMs += CALM_STEP_MS;
      if (witness.findings.length > 0) break;
      if (calmMs < CALM_MS_MIN) continue;
      const open = unsettled(world);
      if (open.length === 0) break;
      if (calmMs < CALM_MS_MAX) continue;
      for (const text of open) witness.accuse("everything settles", text);
      break;
    }
    witness.atEnd();
  } finally {
    strays.stop();
    restoreSignals();
  }
  const folds = [...witness.tally.transactions.values()];
  return {
    seed: plan.seed,
    findings: witness.findings,
    lines: trace.count,
    tail: trace.tail,
    virtualMs: clock.monotonicMs(),
    struck: weather.struck,
    byzantine: plan.byzantine.map(({ kind }) => kind),
    transactions: {
      confirmed: folds.filter(({ status }) => status === "CONFIRMED").length,
      aborted: folds.filter(({ status }) => status === "ABORTED_BYZANTINE").length,
    },
    digest: trace.digest(),
  };
}

async function takeSeats(world: World, mutant: Mutant | null): Promise<void> {
  const { plan, cluster } = world;
  world.nodes = cluster.nodes
    .map((identity, index) => new NodeSeat(world, identity, index, mutant?.node ?? null))
    .filter(({ index }) => !world.isByzantine(index));
  world.submitters = Array.from(
    { length: plan.submitters },
    (_, index) => new SubmitterSeat(world, index, mutant?.submitter ?? null),
  );
  for (const bad of plan.byzantine)
    await new ByzantinePeer(world, bad, nodeAt(cluster, bad.index)).begin();
  for (const seat of world.nodes) seat.start();
  for (const seat of world.submitters)
    world.clock.schedule(plan.submittersFromMs, () => {
      if (seat.process === null) seat.start();
    });
  world.clients = plan.casts.flatMap((cast) => {
    const seat = world.nodes.find(({ index }) => index === cast.node);
    return seat === undefined ? [] : [new Client(world, seat, cast)];
  });
  for (const client of world.clients) client.begin();
}

/** Blocks come at their own pace, whatever happens. */
function mine(world: World): void {
  const { clock, chain, plan, trace, witness, weather } = world;
  const random = world.stream("blocks");
  const next = (): void => {
    clock.schedule(plan.blockMs * (0.5 + random.next()), () => {
      const before = chain.poolSize;
      if (chain.poolHeld && before > 0) weather.strike("chain-full-blocks");
      chain.mine();
      if (before > 0) trace.note(`block ${chain.tip.number}, pool ${before} to ${chain.poolSize}`);
      void witness.lookAtChain();
      next();
    });
  };
  next();
}

/** What nobody catches would end a real process: it is a finding, not the end of the simulator. */
function watchForStrays(world: World): { stop(): void } {
  const note = (error: unknown): void => {
    const text = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
    world.witness.accuse("no assertion fails", `nobody caught: ${text}`);
  };
  process.on("unhandledRejection", note);
  return { stop: () => void process.off("unhandledRejection", note) };
}
