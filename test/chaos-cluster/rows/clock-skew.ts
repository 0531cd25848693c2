import { join } from "node:path";
import { metricOf, type RigNode } from "../lib/rig.ts";
import type { Placement } from "../lib/rig-process.ts";
import type { Row } from "../lib/row.ts";
import type { Scene } from "../lib/scene.ts";

const TOLERATED_MS = 5_000;
const REFUSED_MS = 60_000;
const LATE_MS = 3_000;
const SLOW_TRANSACTIONS = 6;
const CLOCK_MARGIN_MS = 3_000;
const CLOCK_TRIES = 40;
const VOTED_WITHIN_MS = 30_000;
const PRELOAD = join(import.meta.dirname, "..", "lib", "preload-clock.ts");

const skewed = (offsetMs: number): Placement => ({
  prefix: [],
  preload: [PRELOAD],
  env: { CHAOS_CLOCK_OFFSET_MS: String(offsetMs) },
});

export const clockSkew: Row = {
  name: "clock-skew",
  title: "Clock Skew",
  injects: "node 4 is 5 s ahead and node 5 is 5 s behind; later 60 s each",
  expects:
    "within 5 s: every vote counts. At 60 s: their votes are refused as stale and their clocks reported, nobody is banned by proof, the others decide as before",
  trustees: 5,
  threshold: 3,
  prepare: async () => ({
    rig: {
      placementOf: (index) => skewed(index === 3 ? TOLERATED_MS : index === 4 ? -TOLERATED_MS : 0),
    },
  }),
  run: async (scene) => {
    await tolerated(scene);
    const off = [scene.node(4), scene.node(5)];
    await restart(off, [REFUSED_MS, -REFUSED_MS]);
    await refused(scene);
    await restart(off, [0, 0]);
    const healedMs = performance.now();
    await scene.watch(1_000);
    await scene.recovered("clocks set", healedMs);
  },
};

async function restart(nodes: readonly RigNode[], offsets: readonly number[]): Promise<void> {
  await Promise.all(nodes.map((node) => node.stop()));
  for (const [i, node] of nodes.entries()) {
    node.placement = skewed(offsets[i] ?? 0);
    await node.launch();
  }
  await Promise.all(nodes.map((node) => node.ready()));
}

const stale = async (nodes: readonly RigNode[]): Promise<number> => {
  const counts = await Promise.all(
    nodes.map(({ url }) => metricOf(url, "votes_rejected_total", { reason: "stale" })),
  );
  return counts.reduce((total, count) => total + count, 0);
};

async function tolerated(scene: Scene): Promise<void> {
  const { rig, load, progress } = scene;
  await slowTransactions(scene, "skew5");
  const sinceMs = performance.now();
  await scene.watch(4_000);
  const untilMs = performance.now() - 1_000;
  scene.expect(scene.decidedBetween(sinceMs, untilMs) > 0, "nothing is decided at 5 s");
  const all = await progress.until(
    () => {
      const due = load.offered.filter(({ intendedMs }) => intendedMs < untilMs);
      const voted = (txId: string): boolean =>
        rig.nodes.every(({ name }) => load.accepted.has(`${txId}/${name}`));
      return due.every(({ txId }) => voted(txId)) ? true : null;
    },
    VOTED_WITHIN_MS,
    "all votes at 5 s",
  );
  scene.expect(all !== null, "not every vote was recorded at 5 s");
  const refusals = await stale(rig.nodes);
  scene.expect(refusals === 0, `${refusals} votes were refused as stale at 5 s`);
  scene.figures["refused as stale at 5 s"] = refusals;
  await clocksReported(scene, TOLERATED_MS);
}

async function refused(scene: Scene): Promise<void> {
  const right = [scene.node(1), scene.node(2), scene.node(3)];
  const sinceMs = performance.now();
  await slowTransactions(scene, "skew60");
  await scene.watch(3_000);
  const untilMs = performance.now();
  const refusals = await stale(right);
  scene.figures["refused as stale at 60 s"] = refusals;
  scene.figures["decided at 60 s"] = scene.decidedBetween(sinceMs, untilMs);
  scene.expect(refusals > 0, "no vote was refused as stale at 60 s");
  scene.expect(scene.decidedBetween(sinceMs, untilMs) > 0, "the others decide nothing at 60 s");
  await clocksReported(scene, REFUSED_MS);
}

/**
 * Transactions on which trustees vote one after another, those with the wrong clocks first: whoever opens a transaction
 * sets its deadline, and whoever thinks it has passed may have it judged. None of that may end one early.
 */
async function slowTransactions(scene: Scene, name: string): Promise<void> {
  const slow = Array.from({ length: SLOW_TRANSACTIONS }, (_, i) =>
    scene.load.offer(`${name}-${i}`, [["trustee-4"], ["trustee-5"], ["trustee-1"]][i % 3]),
  );
  await scene.watch(LATE_MS);
  for (const tx of slow)
    scene.load.cast(tx, ["trustee-1", "trustee-2", "trustee-3", "trustee-4", "trustee-5"]);
  await scene.progress.until(
    () => {
      const courses = slow.map(({ txId }) => scene.progress.courses.get(txId));
      return courses.every((c) => c?.decided !== undefined || c?.aborted !== undefined)
        ? true
        : null;
    },
    VOTED_WITHIN_MS,
    "the slow transactions",
  );
  for (const { txId } of slow) {
    const { decided, aborted } = scene.progress.courses.get(txId) ?? {};
    scene.expect(
      decided !== undefined,
      `${txId} is not decided${aborted === undefined ? "" : ", but aborted"}`,
    );
  }
}

/** A node with the right time shows how far off the others are. */
async function clocksReported(scene: Scene, offMs: number): Promise<void> {
  for (const [number, expectedMs] of [
    [4, -offMs],
    [5, offMs],
  ] as const) {
    const node = `trustee-${number}`;
    let seconds = Number.NaN;
    const near = (): boolean => Math.abs(seconds * 1_000 - expectedMs) < CLOCK_MARGIN_MS;
    // It is told by the last vote that was heard, and a busy machine hears votes late.
    for (let tries = 0; tries < CLOCK_TRIES && !near(); tries++) {
      if (tries > 0) await scene.watch(500);
      seconds = await metricOf(scene.node(1).url, "trustee_clock_offset_seconds", { node });
    }
    scene.figures[`clock of ${node} as trustee-1 sees it at ${offMs / 1_000} s`] =
      `${seconds.toFixed(1)} s`;
    scene.expect(
      near(),
      `trustee-1 says the clock of ${node} is ${seconds} s off, not ${expectedMs / 1_000}`,
    );
  }
}
