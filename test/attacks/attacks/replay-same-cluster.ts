import { type Attack } from "../lib/attack.ts";

const TIMES = 5;

export const replaySameCluster: Attack = {
  name: "replay-same-cluster",
  does: "a trustee sends overheard messages again, as they were and under new sequence numbers",
  expects: "dropped as known by message and by content: counted once, held against nobody",
  reaction: { kind: "nobody", refusedBy: ["duplicate", "gossip duplicate"] },
  sharesCluster: true,
  short: false,
  run: async (stage) => {
    const { key, peer } = await stage.joinAsTrustee();
    const { target } = stage;
    await peer.publish([stage.envelop(key, stage.frame(key, { txId: target, value: "7" }))]);
    await stage.recorded(target, key.name);
    await stage.round();
    const overheard = (await peer.heard()).filter((m) => m.topic === stage.topic).slice(-10);
    stage.check(overheard.length > 0, "nothing was overheard, so nothing is replayed");
    const own = stage.frame(key, { txId: target, value: "7" });
    for (let i = 0; i < TIMES; i++) {
      const again = [...overheard, stage.envelop(key, own)];
      stage.published(await peer.publish(again));
    }
    await stage.turnedAway(1, "duplicate", "gossip duplicate");
    await stage.traffic.cast(target, "7", stage.honest);
    await stage.traffic.reached(stage.node("trustee-1"), target);
    await stage.allJudged(peer, key);
    await stage.round();
  },
};
