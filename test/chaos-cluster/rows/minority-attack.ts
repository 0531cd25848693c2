import { join } from "node:path";
import { watchAlerts } from "../lib/alerts.ts";
import { withByzantine } from "../lib/byzantine.ts";
import { readPrefix } from "../lib/etcd-gateway.ts";
import { metricOf } from "../lib/rig.ts";
import type { Row } from "../lib/row.ts";
import type { Scene } from "../lib/scene.ts";
import { caught, detected, LONG_DEADLINE_MS } from "./byzantine-nodes.ts";

const STEP_WITHIN_MS = 30_000;
const ALERT_WITHIN_MS = 20_000;

export const minorityAttack: Row = {
  name: "minority-attack",
  title: "Minority Attack",
  injects:
    "1 of 5 trustees (t = 4) votes otherwise after 3 votes; then the fourth honest one votes",
  expects: "it is detected and banned, the transaction aborted, an alert fires",
  trustees: 5,
  threshold: 4,
  prepare: async () => ({ guilty: [4], rig: { protocol: { deadlineMs: LONG_DEADLINE_MS } } }),
  run: async (scene) => {
    const { rig } = scene;
    const targets = rig.nodes
      .filter((node) => node.running)
      .map(({ url }) => url.replace("http://", ""));
    const alerts = await watchAlerts(join(rig.directory, "prometheus"), targets);
    try {
      await attack(scene);
      await detected(scene, "MINORITY_VOTE", 1);
      if (alerts === null)
        scene.notRun.push("there is no Prometheus here, so only the metric was looked at");
      else {
        const fires = await alerts.fires("TransactionAborted", ALERT_WITHIN_MS);
        scene.expect(fires, "the alert TransactionAborted does not fire");
        scene.figures["alert TransactionAborted"] = fires ? "fires" : "silent";
      }
    } finally {
      await alerts?.stop();
    }
  },
};

async function attack(scene: Scene): Promise<void> {
  const { load, progress, rig } = scene;
  await withByzantine(rig, [scene.node(5)], async ([evil]) => {
    if (evil === undefined) throw new Error("there is no Byzantine node");
    const txId = "minority";
    scene.mustAbort.add(txId);
    const honest = ["trustee-1", "trustee-2", "trustee-3"];
    const tx = load.offer(txId, honest);
    const there = await progress.until(
      () => (honest.every((name) => load.accepted.has(`${txId}/${name}`)) ? true : null),
      STEP_WITHIN_MS,
      "t - 1 votes",
    );
    scene.expect(there !== null, "t - 1 votes were not recorded");
    await evil.vote(txId, "1");
    await dissentRecorded(scene, txId, evil.node.nodeId);
    scene.expect(
      progress.courses.get(txId)?.aborted === undefined,
      "it is aborted although t - 1 votes make no majority yet",
    );
    const sinceMs = performance.now();
    load.cast(tx, ["trustee-4"]);
    await caught(scene, evil, txId, sinceMs, "t-th vote");
    const aborts = await Promise.all(
      rig.nodes
        .filter((node) => node.running)
        .map(({ url }) =>
          metricOf(url, "transactions_aborted_byzantine_total", { reason: "MINORITY_VOTE" }),
        ),
    );
    const counted = aborts.reduce((total, count) => total + count, 0);
    scene.expect(counted === 1, `transactions_aborted_byzantine_total counts ${counted}`);
  });
}

async function dissentRecorded(scene: Scene, txId: string, nodeId: string): Promise<void> {
  const { rig } = scene;
  const sinceMs = performance.now();
  while (performance.now() - sinceMs < STEP_WITHIN_MS) {
    const votes = await readPrefix(
      rig.servers.etcd.endpoints,
      `/quorate/${rig.clusterId}/votes/${txId}/`,
    );
    if (votes.has(nodeId)) return;
    await scene.watch(50);
  }
  throw new Error("the dissent was not recorded");
}
