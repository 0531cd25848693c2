import type { Row } from "../lib/row.ts";

const DOWN_MS = 5_000;

export const etcdLeader: Row = {
  name: "etcd-failure",
  title: "etcd Failure",
  injects: "SIGKILL of the leader of 3 etcd members for some seconds; then it starts again",
  expects: "the others elect a leader and everything goes on, also when it comes back",
  trustees: 5,
  threshold: 3,
  run: async (scene) => {
    const { etcd } = scene.rig.servers;
    const leader = etcd.members[await etcd.leaderIndex()];
    if (leader === undefined) throw new Error("etcd has no leader");
    const killedMs = performance.now();
    await leader.kill();
    scene.say(`${leader.name} is killed`);
    try {
      const elected = etcd.leaderIndex().then(
        () => performance.now(),
        () => null,
      );
      await scene.recovered("kill", killedMs);
      const electedMs = await elected;
      scene.expect(electedMs !== null, "no other member was elected");
      if (electedMs !== null)
        scene.recovery["kill, leader elected"] = Math.round(electedMs - killedMs);
      await scene.watch(DOWN_MS);
      const endMs = performance.now();
      scene.figures["decided with 2 members"] = scene.decidedBetween(killedMs, endMs);
      scene.figures["longest gap, ms"] = scene.longestGap(killedMs, endMs);
    } finally {
      await leader.restart();
    }
    const backMs = performance.now();
    await scene.watch(2_000);
    await scene.recovered("return", backMs);
  },
};
