import { type Half, Halves, namespacesUnfit } from "../lib/namespaces.ts";
import type { Row } from "../lib/row.ts";
import type { Scene } from "../lib/scene.ts";
import { LONG_DEADLINE_MS } from "./byzantine-nodes.ts";

const GOSSIP_CUT_MS = 4_000;
const CUT_MS = 8_000;
/** Transactions on which only the minority votes while it is cut off. */
const LONELY = 4;
const WAITED_MS = 60_000;
const MINORITY = ["trustee-4", "trustee-5"];
const MAJORITY = ["trustee-1", "trustee-2", "trustee-3"];

const halfOf = (index: number): Half => (index < 3 ? "a" : "b");

export const networkPartition: Row = {
  name: "network-partition",
  title: "Network Partition",
  injects:
    "5 nodes (t = 3) in two network namespaces, 3 and 2. First no gossip between them; then the 2 are cut off from etcd too",
  expects:
    "without gossip all go on through etcd. Cut off from both, the 3 continue and the 2 wait: nothing is decided by them, nothing is lost, and all of it is when the network heals",
  trustees: 5,
  threshold: 3,
  unfit: namespacesUnfit,
  prepare: async ({ etcdEndpoints }) => {
    const halves = await Halves.make(etcdEndpoints);
    return {
      rig: {
        protocol: { deadlineMs: LONG_DEADLINE_MS },
        seatOf: (index) => halves.seat(halfOf(index)),
      },
      halves,
    };
  },
  run: async (scene) => {
    const { halves } = scene;
    if (halves === null) throw new Error("the row was not prepared");
    scene.remarks.push(
      "5 nodes have no halves of equal size: 3 and 2. All share one etcd, so gossip alone does not divide them",
    );
    await withoutGossip(scene, halves);
    await withoutBoth(scene, halves);
  },
};

async function withoutGossip(scene: Scene, halves: Halves): Promise<void> {
  const cutMs = performance.now();
  halves.cutGossip();
  scene.say("no gossip between the halves");
  await scene.recovered("gossip cut", cutMs);
  await scene.watch(GOSSIP_CUT_MS);
  const untilMs = performance.now() - 1_500;
  const voted = scene.load.offered.filter(
    ({ intendedMs }) => intendedMs >= cutMs && intendedMs < untilMs,
  );
  const all = await scene.progress.until(
    () =>
      voted.every(({ txId }) => votedBy(scene, txId, [...MAJORITY, ...MINORITY])) ? true : null,
    WAITED_MS,
    "votes of both halves",
  );
  scene.expect(all !== null, "without gossip not every vote of both halves was recorded");
  scene.figures["decided without gossip"] = scene.decidedBetween(cutMs, performance.now());
}

async function withoutBoth(scene: Scene, halves: Halves): Promise<void> {
  const { load, progress } = scene;
  const cutMs = performance.now();
  halves.cutEtcd("b");
  scene.say("the 2 are cut off from etcd too");
  await scene.recovered("full cut", cutMs);
  const lonely = Array.from({ length: LONELY }, (_, i) => load.offer(`lonely-${i}`, MINORITY));
  await scene.watch(CUT_MS);
  const healMs = performance.now();
  const decided = scene.decidedBetween(cutMs, healMs);
  scene.figures["decided by the 3 while cut"] = decided;
  scene.figures["longest gap, ms"] = scene.longestGap(cutMs, healMs);
  scene.expect(decided > 0, "the majority did not continue");
  const ahead = lonely.filter(({ txId }) => progress.courses.has(txId));
  scene.expect(ahead.length === 0, "votes of those that were cut off are in etcd");
  const taken = lonely.filter(({ txId }) => votedBy(scene, txId, MINORITY.slice(0, 1)));
  scene.expect(taken.length === 0, "a node that was cut off answered RECORDED");
  scene.figures["waiting with the 2"] = lonely.length - ahead.length;
  halves.healEtcd("b");
  halves.healGossip();
  scene.say("the network is whole again");
  // The majority has its say on what the minority has been waiting with.
  for (const tx of lonely) load.cast(tx, MAJORITY);
  await scene.recovered("heal", healMs);
  const back = await progress.until(
    () => {
      const before = load.offered.filter(({ intendedMs }) => intendedMs < healMs);
      return before.every(({ txId }) => votedBy(scene, txId, MINORITY)) ? performance.now() : null;
    },
    WAITED_MS,
    "the minority's votes",
  );
  scene.expect(back !== null, "not every vote that waited with the minority was recorded");
  if (back !== null) scene.recovery["heal, all waiting votes recorded"] = Math.round(back - healMs);
}

const votedBy = ({ load }: Scene, txId: string, names: readonly string[]): boolean =>
  names.every((name) => load.accepted.has(`${txId}/${name}`));
