import { type Attack } from "../lib/attack.ts";

const VICTIM = "trustee-1";

export const replayOtherCluster: Attack = {
  name: "replay-other-cluster",
  does: `a trustee brings votes that it and ${VICTIM} have validly signed in another cluster with the same keys`,
  expects: "the cluster is part of what is signed: ignored, not recorded, held against nobody",
  reaction: { kind: "nobody", refusedBy: ["wrong_cluster_or_epoch", "wrong_cluster"] },
  sharesCluster: true,
  short: false,
  run: async (stage) => {
    const { target } = stage;
    const { key, peer } = await stage.joinAsTrustee();
    const victim = await stage.key(VICTIM);
    const elsewhere = { txId: target, value: "9", clusterId: "another-cluster" };
    const frames = [stage.frame(victim, elsewhere), stage.frame(key, elsewhere)];
    stage.published(await peer.publish(frames.map((data) => stage.envelop(key, data))));
    await stage.allJudged(peer, key);
    const votes = await stage.etcd.under(`votes/${target}/`);
    stage.check(votes.size === 0, "a vote of another cluster was recorded");
    await stage.traffic.cast(target, "7", stage.honest);
    await stage.traffic.reached(stage.node(VICTIM), target);
    await stage.round();
  },
};
