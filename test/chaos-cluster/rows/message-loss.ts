import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { Halves, namespacesUnfit, packetLossUnfit } from "../lib/namespaces.ts";
import { metricOf } from "../lib/rig.ts";
import { PLAIN } from "../lib/rig-process.ts";
import type { Row } from "../lib/row.ts";
import type { Scene } from "../lib/scene.ts";

const LOSS = 0.2;
const TRUSTEES = 5;
const LOSING_MS = 8_000;
/** Time for what was published to be passed on. */
const UNDER_WAY_MS = 3_000;
const RECORDED_WITHIN_MS = 30_000;
/** Far above the 80 % that one copy has: whoever misses the author's own copy has those that the others pass on. */
const DELIVERED_MIN = 0.97;
const PRELOAD = join(import.meta.dirname, "..", "lib", "preload-loss.ts");

export const messageLoss: Row = {
  name: "message-loss",
  title: "Message Loss",
  injects:
    "every node drops 20 % of all GossipSub messages that arrive; then 20 % of the packets between two halves of the network are lost as well",
  expects: "redundancy delivers them all the same: every vote is recorded, everything is decided",
  trustees: TRUSTEES,
  threshold: 3,
  prepare: async ({ etcdEndpoints, directory, seed }) => {
    const reason = namespacesUnfit() ?? packetLossUnfit();
    const halves = reason === null ? await Halves.make(etcdEndpoints) : null;
    const placementOf = (index: number) => ({
      ...PLAIN,
      preload: [PRELOAD],
      env: {
        CHAOS_LOSS: String(LOSS),
        CHAOS_LOSS_SEED: String(seed * 1_000 + index),
        CHAOS_LOSS_COUNT: countFile(directory, index),
      },
    });
    if (halves === null) return { rig: { placementOf } };
    const seatOf = (index: number) => {
      const seat = halves.seat(index < 3 ? "a" : "b");
      const { preload, env } = placementOf(index);
      return { ...seat, placement: { ...seat.placement, preload, env } };
    };
    return { rig: { seatOf }, halves };
  },
  run: async (scene) => {
    const { halves } = scene;
    await losing(scene, "messages lost");
    if (halves === null) {
      const reason = namespacesUnfit() ?? packetLossUnfit();
      scene.notRun.push(`messages only, no packets: ${reason}`);
      await delivered(scene);
      return;
    }
    halves.lose(LOSS);
    await losing(scene, "messages and packets lost");
    scene.figures["packets dropped"] = halves.lostPackets();
    scene.expect(halves.lostPackets() > 0, "no packet was dropped");
    await delivered(scene);
    halves.lose(0);
    scene.remarks.push(
      "TCP sends lost packets again, so that their loss is delay; lost messages are nowhere sent again",
    );
  },
};

const countFile = (directory: string, index: number): string =>
  join(directory, `trustee-${index + 1}.loss.json`);

async function losing(scene: Scene, name: string): Promise<void> {
  const { rig, load, progress } = scene;
  const lostBefore = await dropped(scene);
  const sinceMs = performance.now();
  await scene.watch(LOSING_MS);
  const untilMs = performance.now() - 2_000;
  const offered = load.offered.filter((tx) => tx.intendedMs >= sinceMs && tx.intendedMs < untilMs);
  const all = await progress.until(
    () =>
      offered.every(({ txId }) =>
        rig.nodes.every(({ name: node }) => load.accepted.has(`${txId}/${node}`)),
      )
        ? performance.now()
        : null,
    RECORDED_WITHIN_MS,
    "all votes",
  );
  scene.expect(all !== null, `not every vote was recorded with ${name}`);
  const decided = offered.flatMap(({ txId, intendedMs }) => {
    const at = progress.courses.get(txId)?.decided;
    return at === undefined ? [] : [at - intendedMs];
  });
  scene.expect(decided.length === offered.length, `not everything was decided with ${name}`);
  scene.recovery[`${name}: offered to decided, slowest of ${offered.length}`] = Math.round(
    Math.max(...decided),
  );
  const lost = await dropped(scene);
  const arrived = lost.arrived - lostBefore.arrived;
  const share = (lost.lost - lostBefore.lost) / Math.max(1, arrived);
  scene.figures[`${name}: copies dropped`] = `${lost.lost - lostBefore.lost} of ${arrived}`;
  scene.expect(share > LOSS / 2, `only ${(100 * share).toFixed(1)} % of the messages were dropped`);
}

/** Over the row's whole life: what each node could have heard of the others, against what it did. */
async function delivered(scene: Scene): Promise<void> {
  const { load } = scene;
  load.endOffers();
  const still = await scene.progress.until(
    () => (load.unanswered === 0 ? true : null),
    RECORDED_WITHIN_MS,
    "answers to all votes",
  );
  scene.expect(still !== null, "not every vote was answered");
  await scene.watch(UNDER_WAY_MS);
  const { own, gossip } = await heard(scene);
  const share = gossip / Math.max(1, own * (TRUSTEES - 1));
  scene.figures["votes heard by gossip"] = `${(100 * share).toFixed(2)} %`;
  scene.expect(
    share >= DELIVERED_MIN,
    `only ${(100 * share).toFixed(1)} % of the votes were heard by gossip`,
  );
}

/** Votes that nodes were given by their own trustees, and heard of the others. */
async function heard({ rig }: Scene): Promise<{ readonly own: number; readonly gossip: number }> {
  let own = 0;
  let gossip = 0;
  for (const { url } of rig.nodes) {
    own += await metricOf(url, "votes_received_total", { source: "local" });
    gossip += await metricOf(url, "votes_received_total", { source: "gossip" });
  }
  return { own, gossip };
}

async function dropped({
  rig,
}: Scene): Promise<{ readonly arrived: number; readonly lost: number }> {
  let arrived = 0;
  let lost = 0;
  for (const index of rig.nodes.keys()) {
    const text = await readFile(countFile(rig.directory, index), "utf8").catch(() => "{}");
    const counts: { arrived?: number; lost?: number } = JSON.parse(text);
    arrived += counts.arrived ?? 0;
    lost += counts.lost ?? 0;
  }
  return { arrived, lost };
}
