import { availableParallelism, loadavg } from "node:os";
import { join } from "node:path";
import { startLocalServers } from "@quorate/localcluster";
import { type ByzantineTrustee, withByzantine } from "../../chaos-cluster/lib/byzantine.ts";
import { keyOf, type StoredVote, verifiedVote } from "../../chaos-cluster/lib/canonical.ts";
import { find, judge } from "../../chaos-cluster/lib/invariants.ts";
import { OpenLoad } from "../../chaos-cluster/lib/open-load.ts";
import { Progress } from "../../chaos-cluster/lib/progress.ts";
import { type Rig, startRig } from "../../chaos-cluster/lib/rig.ts";
import { placesOf, trusteesOf } from "../../chaos-cluster/lib/run-chaos.ts";
import { type Criterion, judgeCriteria } from "./criteria.ts";
import type { Plan } from "./scenarios.ts";
import { UptimeProbe } from "./uptime.ts";

export interface LoadRequest {
  readonly plan: Plan;
  readonly directory: string;
  readonly seed: number;
  readonly etcdMembers: 1 | 3;
  readonly say: (text: string) => void;
  readonly signal: AbortSignal;
}

export interface LoadReport {
  readonly scenario: string;
  readonly factors: Plan["factors"];
  readonly transactions: number;
  readonly votes: number;
  /** Offered and decided a second, over the time of the load. */
  readonly offeredPerSecond: number;
  readonly decidedPerSecond: number;
  /** Runnable processes a core before and after: other work on the machine shows here. */
  readonly machineLoad: { readonly before: number; readonly after: number };
  readonly criteria: readonly Criterion[];
  readonly seconds: number;
}

const WARM_TRANSACTIONS = 5;
const WARM_TIMEOUT_MS = 90_000;
const QUIET_TIMEOUT_MS = 90_000;
const ABORT_TIMEOUT_MS = 30_000;
/** Absence of trustees that never vote must not be judged while the run lasts. */
const DEADLINE_MS = 3_600_000;

/** Of the last minute. */
const loadPerCore = (): number =>
  Math.round((100 * (loadavg()[0] ?? 0)) / availableParallelism()) / 100;

/** One scenario from its servers' start to the criteria's verdicts. */
export async function runLoad(request: LoadRequest): Promise<LoadReport> {
  const { plan, directory, say, signal } = request;
  const startedMs = performance.now();
  const before = loadPerCore();
  say(`starting etcd, PostgreSQL, Anvil, ${plan.nodes} nodes and a submitter`);
  const servers = await startLocalServers({
    directory: join(directory, "servers"),
    etcdMembers: request.etcdMembers,
    blockTimeSeconds: 1,
    signal,
  });
  try {
    const guilty = Array.from({ length: plan.byzantine }, (_, i) => plan.nodes - 1 - i);
    const rig = await startRig({
      servers,
      directory: join(directory, "cluster"),
      clusterId: `load-${plan.scenario.name}-${process.pid}`,
      trustees: plan.nodes,
      threshold: plan.threshold,
      submitters: 1,
      absent: guilty,
      protocol: plan.byzantine > 0 ? { deadlineMs: DEADLINE_MS } : {},
      signal,
    });
    try {
      const measured = await play(rig, guilty, request);
      return {
        scenario: plan.scenario.name,
        factors: plan.factors,
        ...measured,
        machineLoad: { before, after: loadPerCore() },
        seconds: Math.round((performance.now() - startedMs) / 1_000),
      };
    } finally {
      await rig.stop();
    }
  } finally {
    await servers.stop();
  }
}

type Played = Omit<LoadReport, "scenario" | "factors" | "machineLoad" | "seconds">;

async function play(rig: Rig, guilty: readonly number[], request: LoadRequest): Promise<Played> {
  const { plan, seed, say } = request;
  const ballots = rig.nodes.filter((_, index) => !guilty.includes(index));
  const progress = await Progress.follow(rig.servers.etcd.endpoints, rig.clusterId);
  const options = { ballots, token: rig.token, seed };
  const warm = new OpenLoad({ ...options, rate: plan.perSecond, prefix: "warm" });
  const load = new OpenLoad({ ...options, rate: plan.perSecond, prefix: plan.scenario.name });
  try {
    await warmUp(warm, progress);
    const probe = new UptimeProbe(
      { nodes: ballots.map(({ url }) => url), submitters: rig.submitters.map(({ url }) => url) },
      plan.threshold,
    );
    say(`offering ${plan.perSecond} transactions a second for ${plan.seconds} s`);
    const fromMs = performance.now();
    load.start();
    const evil = guilty.flatMap((index) => rig.nodes[index] ?? []);
    const aborts =
      evil.length === 0
        ? await rest(plan.seconds, request.signal).then(() => [])
        : await withByzantine(rig, evil, async (trustees) => {
            const crimes = await commitCrimes(trustees, load, progress, ballots);
            await rest(plan.seconds - (performance.now() - fromMs) / 1_000, request.signal);
            return crimes;
          });
    const offeredMs = performance.now() - fromMs;
    load.endOffers();
    const uptime = await probe.stop();
    say("the load is over; waiting until everything is on the chain and in history");
    await becomeQuiet(rig, [warm, load], progress);
    await Promise.all([warm.stop(), load.stop()]);
    return await conclude({ rig, evil, load, warm, progress, uptime, aborts, offeredMs });
  } finally {
    await Promise.all([warm.stop(), load.stop()]);
    await progress.stop();
  }
}

async function warmUp(warm: OpenLoad, progress: Progress): Promise<void> {
  warm.start();
  const done = await progress.until(
    () => {
      const confirmed = [...progress.courses.values()].filter((c) => c.confirmed !== undefined);
      return confirmed.length >= WARM_TRANSACTIONS ? true : null;
    },
    WARM_TIMEOUT_MS,
    "the first transactions",
  );
  if (done === null) throw new Error("nothing is confirmed, even before the load");
  warm.endOffers();
}

async function rest(seconds: number, signal: AbortSignal): Promise<void> {
  const untilMs = performance.now() + seconds * 1_000;
  while (performance.now() < untilMs && !signal.aborted)
    await new Promise((resolve) => setTimeout(resolve, 100));
  signal.throwIfAborted();
}

interface Crime {
  readonly txId: string;
  readonly abortedAfterMs: number | null;
}

/** Each once, for it is then out: every other one signs two values, the rest vote against a majority. */
async function commitCrimes(
  trustees: readonly ByzantineTrustee[],
  load: OpenLoad,
  progress: Progress,
  ballots: readonly { readonly name: string }[],
): Promise<readonly Crime[]> {
  const crimes: Crime[] = [];
  const names = ballots.map(({ name }) => name);
  for (const [number, trustee] of trustees.entries()) {
    const txId = `crime-${number}`;
    const [first = "", ...others] = names;
    const minority = number % 2 === 1;
    // All but one have voted when the dissenter does; the last one then completes the majority.
    const early = minority ? others : [first];
    const tx = load.offer(txId, early);
    const there = (): true | null =>
      early.every((name) => load.accepted.has(`${txId}/${name}`)) ? true : null;
    await progress.until(there, ABORT_TIMEOUT_MS, "the honest votes");
    let sinceMs = performance.now();
    if (minority) {
      await trustee.vote(txId, "1");
      await new Promise((resolve) => setTimeout(resolve, 1_000));
      sinceMs = performance.now();
      load.cast(tx, [first]);
    } else {
      await trustee.vote(txId, "1");
      await new Promise((resolve) => setTimeout(resolve, 1_000));
      sinceMs = performance.now();
      await trustee.vote(txId, "2");
    }
    const aborted = await progress.until(
      () => progress.courses.get(txId)?.aborted ?? null,
      ABORT_TIMEOUT_MS,
      "the abort",
    );
    crimes.push({ txId, abortedAfterMs: aborted === null ? null : aborted - sinceMs });
    if (!minority) load.cast(tx, others);
  }
  return crimes;
}

async function becomeQuiet(
  rig: Rig,
  loads: readonly OpenLoad[],
  progress: Progress,
): Promise<void> {
  const sinceMs = performance.now();
  while (performance.now() - sinceMs < QUIET_TIMEOUT_MS) {
    const ended = loads.every((load) =>
      load.offered.every(({ txId }) => {
        const course = progress.courses.get(txId);
        return course?.confirmed !== undefined || course?.aborted !== undefined;
      }),
    );
    if (ended && loads.every((load) => load.unanswered === 0)) {
      const found = await find(rig.clusterId, placesOf(rig));
      const even = found.history === found.votes.size;
      if (even && found.slots.every(({ state }) => state.startsWith("FINALIZED"))) return;
    }
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
}

async function conclude(run: {
  readonly rig: Rig;
  readonly evil: Rig["nodes"];
  readonly load: OpenLoad;
  readonly warm: OpenLoad;
  readonly progress: Progress;
  readonly uptime: Awaited<ReturnType<UptimeProbe["stop"]>>;
  readonly aborts: readonly Crime[];
  readonly offeredMs: number;
}): Promise<Played> {
  const { rig, evil, load, warm, progress, uptime, aborts, offeredMs } = run;
  const crimes = new Set(aborts.map(({ txId }) => txId));
  const trustees = await trusteesOf(rig.directory);
  const found = await find(rig.clusterId, placesOf(rig));
  const offered = [...warm.offered, ...load.offered];
  const invariants = judge(
    {
      clusterId: rig.clusterId,
      threshold: rig.threshold,
      trustees,
      guilty: new Set(evil.map(({ nodeId }) => nodeId)),
      excused: new Set(),
      values: new Map(offered.map(({ txId, value }) => [txId, value])),
      mustAbort: crimes,
      mayAbort: new Set(),
      accepted: new Map([...warm.accepted, ...load.accepted]),
    },
    found,
  );
  const guilty = new Set(evil.map(({ peerId }) => peerId));
  const honest = load.offered.filter(({ txId }) => !crimes.has(txId));
  const inTime = honest.filter(({ txId }) => progress.courses.get(txId)?.decided !== undefined);
  return {
    transactions: load.offered.length,
    votes: found.votes.size,
    offeredPerSecond: round((1_000 * load.offered.length) / offeredMs),
    decidedPerSecond: round((1_000 * inTime.length) / offeredMs),
    criteria: judgeCriteria({
      latenciesMs: honest.map(({ txId, intendedMs }) => {
        const at = progress.courses.get(txId)?.decided;
        return at === undefined ? null : at - intendedMs;
      }),
      planted: evil.length,
      caught: [...found.bans.keys()].filter((peerId) => guilty.has(peerId)).length,
      honestBanned: [...found.bans.keys()].filter((peerId) => !guilty.has(peerId)).length,
      abortsMs: aborts.map(({ abortedAfterMs }) => abortedAfterMs),
      duplicates: invariants.violations.filter((text) => text.startsWith("once on the chain"))
        .length,
      cast: honest.flatMap(({ txId, value }) =>
        rig.nodes
          .filter(({ nodeId }) => !evil.some((node) => node.nodeId === nodeId))
          .map(({ nodeId }) => `${txId}/${nodeId}=${value}`),
      ),
      found: spokenVotes(found.votes, trustees),
      refused: countBy(
        load.refused.filter(({ txId }) => !crimes.has(txId)).map(({ code }) => code),
      ),
      uptime,
      invariants,
    }),
  };
}

function countBy(words: readonly string[]): Readonly<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (const word of words) counts[word] = (counts[word] ?? 0) + 1;
  return counts;
}

/** What the recorded signatures stand for. */
function spokenVotes(
  votes: ReadonlyMap<string, string>,
  trustees: Awaited<ReturnType<typeof trusteesOf>>,
): ReadonlySet<string> {
  const keys = new Map([...trustees].map(([id, { key }]) => [id, keyOf(key)]));
  const spoken = new Set<string>();
  for (const [place, json] of votes) {
    const key = keys.get(place.split("/")[1] ?? "");
    const stored: StoredVote = JSON.parse(json);
    const vote = key === undefined ? null : verifiedVote(stored, key);
    if (vote !== null) spoken.add(`${vote.txId}/${vote.nodeId}=${vote.value}`);
  }
  return spoken;
}

const round = (value: number): number => Math.round(10 * value) / 10;
