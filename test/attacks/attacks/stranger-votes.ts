import { type Attack } from "../lib/attack.ts";

export const strangerVotes: Attack = {
  name: "stranger-votes",
  does: "a peer outside the set votes, in its own name and in that of each trustee",
  expects: "ignored before any signature inside is checked; strangers leave no ban records",
  reaction: {
    kind: "nobody",
    refusedBy: ["author_not_trustee", "unknown_author"],
  },
  sharesCluster: true,
  short: true,
  run: async (stage) => {
    const { target } = stage;
    const { key, peer } = await stage.joinAsStranger();
    const names = stage.cluster.set.trustees.map((t) => t.nodeId);
    const frames = [
      stage.frame(key, { txId: target, value: "9", nodeId: "stranger" }),
      ...names.map((nodeId) => stage.frame(key, { txId: target, value: "9", nodeId })),
    ];
    stage.published(await peer.publish(frames.map((data) => stage.envelop(key, data))));
    await stage.turnedAway(1, "author_not_trustee", "unknown_author");
    stage.check((await stage.etcd.bans()).size === 0, "a stranger got a ban record");
    await stage.traffic.cast(target, "7", stage.honest);
    await stage.traffic.reached(stage.node("trustee-1"), target);
    await stage.round();
  },
};
