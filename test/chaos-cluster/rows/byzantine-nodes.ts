import { type ByzantineTrustee, withByzantine } from "../lib/byzantine.ts";
import { metricOf } from "../lib/rig.ts";
import type { Row } from "../lib/row.ts";
import type { Scene } from "../lib/scene.ts";

const CAUGHT_WITHIN_MS = 30_000;
/** Long enough that the absence of those that do not vote at all is not judged during the row. */
export const LONG_DEADLINE_MS = 300_000;

export const byzantineNodes: Row = {
  name: "byzantine-nodes",
  title: "Byzantine Nodes",
  injects:
    "2 of 5 trustees (t = 3) sign two values for one transaction; one shows each half another value",
  expects: "both are detected and banned with proof, their transactions aborted; the rest goes on",
  trustees: 5,
  threshold: 3,
  prepare: async () => ({ guilty: [3, 4], rig: { protocol: { deadlineMs: LONG_DEADLINE_MS } } }),
  run: async (scene) => {
    scene.remarks.push(
      "f is 1 by the specification's formula for N = 5, t = 3; here are N - t = 2, and the 3 honest agree",
    );
    const evil = [scene.node(4), scene.node(5)];
    await withByzantine(scene.rig, evil, async ([one, other]) => {
      if (one === undefined || other === undefined) throw new Error("there are no Byzantine nodes");
      await equivocate(scene, one, "to all", async (txId) => {
        await one.vote(txId, "1");
        await one.vote(txId, "2");
      });
      await equivocate(scene, other, "to halves", async (txId) => {
        await other.vote(txId, "1", [scene.node(1)]);
        await other.vote(txId, "2", [scene.node(2), scene.node(3)]);
      });
      const sinceMs = performance.now();
      await scene.watch(3_000);
      scene.expect(
        scene.decidedBetween(sinceMs, performance.now()) > 0,
        "nothing is decided after the bans",
      );
      const open = [...(await one.admittedBy()), ...(await other.admittedBy())];
      scene.expect(open.length === 0, `the banned are still let in by ${open.length} nodes`);
    });
    await detected(scene, "DOUBLE_VOTING", 2);
  },
};

async function equivocate(
  scene: Scene,
  trustee: ByzantineTrustee,
  how: string,
  attack: (txId: string) => Promise<void>,
): Promise<void> {
  const txId = `byzantine-${trustee.node.nodeId}`;
  scene.mustAbort.add(txId);
  const tx = scene.load.offer(txId, ["trustee-1"]);
  const opened = await scene.progress.until(
    () => (scene.load.accepted.has(`${txId}/trustee-1`) ? true : null),
    CAUGHT_WITHIN_MS,
    "the first vote",
  );
  scene.expect(opened !== null, `the first vote on ${txId} was not recorded`);
  const sinceMs = performance.now();
  await attack(txId);
  await caught(scene, trustee, txId, sinceMs, how);
  scene.load.cast(tx, ["trustee-2", "trustee-3"]);
}

/** Waits for ban and abort, and notes how long after the crime they were committed. */
export async function caught(
  scene: Scene,
  trustee: ByzantineTrustee,
  txId: string,
  sinceMs: number,
  how: string,
): Promise<void> {
  const { progress } = scene;
  const { nodeId, peerId } = trustee.node;
  const banned = await progress.until(
    () => progress.bans.get(peerId) ?? null,
    CAUGHT_WITHIN_MS,
    "the ban",
  );
  const aborted = await progress.until(
    () => progress.courses.get(txId)?.aborted ?? null,
    CAUGHT_WITHIN_MS,
    "the abort",
  );
  scene.expect(banned !== null, `${nodeId} was not banned`);
  scene.expect(aborted !== null, `${txId} was not aborted`);
  if (banned !== null) scene.recovery[`${how}, banned`] = Math.round(banned - sinceMs);
  if (aborted !== null) scene.recovery[`${how}, aborted`] = Math.round(aborted - sinceMs);
}

/** The metric that alerts watch has counted it. */
export async function detected(scene: Scene, type: string, atLeast: number): Promise<void> {
  const running = scene.rig.nodes.filter((node) => node.running);
  const counts = await Promise.all(
    running.map(({ url }) => metricOf(url, "votes_rejected_byzantine_total", { type })),
  );
  const sum = counts.reduce((total, count) => total + count, 0);
  scene.figures[`${type} counted`] = sum;
  scene.expect(sum >= atLeast, `votes_rejected_byzantine_total{${type}} is ${sum}, not ${atLeast}`);
}
