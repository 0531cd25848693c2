import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type LocalServers, startLocalServers } from "@quorate/localcluster";
import { find, type InvariantReport, judge, type Places, type Truth } from "./invariants.ts";
import { OpenLoad } from "./open-load.ts";
import { Progress } from "./progress.ts";
import { type Rig, startRig } from "./rig.ts";
import type { Ground, Row, RowResult } from "./row.ts";
import { Scene } from "./scene.ts";
import { checkTrace } from "./trace-check.ts";

export interface ChaosRequest {
  readonly rows: readonly Row[];
  readonly directory: string;
  readonly seed: number;
  /** Transactions a second. */
  readonly rate: number;
  readonly etcdMembers?: 1 | 3;
  /** By how much faults last shorter; default 1. */
  readonly pace?: number;
  readonly say: (text: string) => void;
  readonly onResult: (result: RowResult) => void;
  readonly signal: AbortSignal;
}

const SUBMITTERS = 2;
/** Decided before anything is broken, so that what is measured is not a cold start. */
const WARM_TRANSACTIONS = 10;
const WARM_TIMEOUT_MS = 60_000;
const QUIET_TIMEOUT_MS = 60_000;
const QUIET_POLL_MS = 250;
const DEADLINE_MS = 60_000;

/** All rows, one after another, each with a cluster of its own on the same servers. */
export async function runChaos(request: ChaosRequest): Promise<readonly RowResult[]> {
  const { rows, directory, say, signal } = request;
  const fit = rows.filter((row) => (row.unfit?.() ?? null) === null);
  const results: RowResult[] = [];
  const give = (result: RowResult): void => {
    results.push(result);
    request.onResult(result);
  };
  for (const row of rows) {
    const reason = row.unfit?.() ?? null;
    if (reason !== null)
      give({ ...blank(row), outcome: "skipped", problems: [reason], notRun: [reason] });
  }
  if (fit.length === 0) return results;
  say("starting etcd, PostgreSQL and Anvil");
  const servers = await startLocalServers({
    directory: join(directory, "servers"),
    etcdMembers: request.etcdMembers ?? 3,
    blockTimeSeconds: 1,
    signal,
  });
  try {
    for (const row of fit) {
      signal.throwIfAborted();
      give(await runRow(row, servers, request));
    }
    return results;
  } finally {
    await servers.stop();
  }
}

const blank = ({ name, title, injects, expects }: Row) => ({
  name,
  title,
  injects,
  expects,
  remarks: [],
  notRun: [],
  recovery: {},
  figures: {},
  invariants: null,
  trace: null,
  seconds: 0,
});

async function runRow(row: Row, servers: LocalServers, request: ChaosRequest): Promise<RowResult> {
  const startedMs = performance.now();
  const seconds = (): number => Math.round((performance.now() - startedMs) / 100) / 10;
  const directory = join(request.directory, row.name);
  request.say(`${row.name}: starting ${row.trustees} nodes and ${SUBMITTERS} submitters`);
  let ground: Ground = {};
  try {
    ground =
      (await row.prepare?.({
        etcdEndpoints: servers.etcd.endpoints,
        directory,
        seed: request.seed,
      })) ?? {};
    const { scene, report } = await play(row, ground, servers, { ...request, directory });
    const { violations, ...figures } = report;
    const trace = await checkTrace(stepsOf(directory));
    const problems = [
      ...scene.problems,
      ...violations,
      ...trace.refusals.map((refusal) => `no step of the model: ${refusal}`),
      ...trace.unfollowed.map((what) => `not held against the model: ${what}`),
    ];
    return {
      ...blank(row),
      outcome: problems.length === 0 ? "passed" : "failed",
      problems,
      remarks: scene.remarks,
      notRun: scene.notRun,
      recovery: scene.recovery,
      figures: scene.figures,
      invariants: { ...figures, violations: violations.length },
      trace: {
        files: trace.files,
        steps: trace.steps,
        commits: trace.commits,
        refused: trace.refusals.length,
      },
      seconds: seconds(),
    };
  } catch (error) {
    request.signal.throwIfAborted();
    const text = error instanceof Error ? error.message : String(error);
    return { ...blank(row), outcome: "failed", problems: [text], seconds: seconds() };
  } finally {
    await ground.halves?.clear();
  }
}

const stepsOf = (directory: string): string => join(directory, "steps");

async function play(
  row: Row,
  ground: Ground,
  servers: LocalServers,
  request: ChaosRequest,
): Promise<{ readonly scene: Scene; readonly report: InvariantReport }> {
  const { directory, seed, rate, say, signal } = request;
  const guilty = ground.guilty ?? [];
  const rig = await startRig({
    servers,
    directory,
    clusterId: `chaos-${row.name}-${process.pid}`,
    trustees: row.trustees,
    threshold: row.threshold,
    submitters: SUBMITTERS,
    // A machine that is busy must not make those silent who are only slow.
    protocol: { deadlineMs: DEADLINE_MS },
    stepsDirectory: stepsOf(directory),
    ...ground.rig,
    absent: [...guilty, ...(ground.rig?.absent ?? [])],
    signal,
  });
  const progress = await Progress.follow(servers.etcd.endpoints, rig.clusterId);
  const load = new OpenLoad({
    ballots: rig.nodes.filter((_, index) => !guilty.includes(index)),
    token: rig.token,
    rate,
    prefix: `${row.name}-${seed}`,
    seed,
  });
  const scene = new Scene({
    rig,
    load,
    progress,
    halves: ground.halves ?? null,
    pace: request.pace ?? 1,
    say: (text) => say(`${row.name}: ${text}`),
  });
  for (const index of guilty) scene.guilty.add(rig.nodes[index]?.nodeId ?? "");
  try {
    load.start();
    const warm = await progress.until(
      () =>
        scene.confirmedBetween(0, Number.POSITIVE_INFINITY) >= WARM_TRANSACTIONS ? true : null,
      WARM_TIMEOUT_MS,
      "the first transactions",
    );
    if (warm === null) throw new Error("no transactions are confirmed even before the fault");
    await row.run(scene);
    await becomeQuiet(scene);
    await load.stop();
    for (const app of [...rig.nodes, ...rig.submitters])
      for (const end of app.unasked) scene.expect(false, `${end}: ${await app.logTail()}`);
    return { scene, report: await look(scene) };
  } finally {
    await load.stop();
    await progress.stop();
    await rig.stop();
  }
}

/** The load ends; everything that was offered comes to its end. */
async function becomeQuiet({ load, progress, rig, say }: Scene): Promise<void> {
  load.endOffers();
  const startedMs = performance.now();
  say(`${load.offered.length} transactions offered; waiting until all have ended`);
  const open = (): number =>
    load.offered.filter(({ txId }) => {
      const course = progress.courses.get(txId);
      return course?.confirmed === undefined && course?.aborted === undefined;
    }).length;
  while (performance.now() - startedMs < QUIET_TIMEOUT_MS) {
    if (open() === 0 && load.unanswered === 0 && (await historyIsEven(rig))) return;
    await sleep(QUIET_POLL_MS);
  }
}

/** History is copied behind etcd, and a nonce may end after the last result it carried. */
async function historyIsEven(rig: Rig): Promise<boolean> {
  const found = await find(rig.clusterId, placesOf(rig)).catch(() => null);
  if (found === null) return false;
  return (
    found.history === found.votes.size &&
    found.slots.every(({ state }) => state.startsWith("FINALIZED"))
  );
}

export function placesOf(rig: Rig): Places {
  return {
    etcd: rig.servers.etcd.endpoints,
    postgresUrl: rig.servers.postgres.url,
    schema: rig.schema,
    rpcUrl: rig.servers.anvil.rpcUrl,
    contract: rig.contract,
    senderAddress: rig.senderAddress,
  };
}

/** Trustees as the cluster's own file names them. */
export async function trusteesOf(directory: string): Promise<Truth["trustees"]> {
  const file: { trustees: { nodeId: string; peerId: string; publicKey: string }[] } = JSON.parse(
    await readFile(join(directory, "cluster.json"), "utf8"),
  );
  return new Map(
    file.trustees.map(({ nodeId, peerId, publicKey }) => [nodeId, { peerId, key: publicKey }]),
  );
}

async function look(scene: Scene): Promise<InvariantReport> {
  const { rig, load, guilty, excused, mustAbort, mayAbort } = scene;
  const found = await find(rig.clusterId, placesOf(rig));
  return judge(
    {
      clusterId: rig.clusterId,
      threshold: rig.threshold,
      trustees: await trusteesOf(rig.directory),
      guilty,
      excused,
      values: new Map(load.offered.map(({ txId, value }) => [txId, value])),
      mustAbort,
      mayAbort,
      accepted: load.accepted,
    },
    found,
  );
}
