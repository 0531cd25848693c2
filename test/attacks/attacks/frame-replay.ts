import { type Attack } from "../lib/attack.ts";

const VICTIM = "trustee-1";

export const frameReplay: Attack = {
  name: "frame-replay",
  does: "a trustee publishes votes of others under envelopes of its own: overheard ones, and one that nobody else has seen yet",
  expects: "a vote is its signer's, whoever brings it: recorded once, held against nobody",
  reaction: { kind: "nobody", refusedBy: ["duplicate"] },
  sharesCluster: true,
  short: true,
  run: async (stage) => {
    const { target } = stage;
    const { key, peer } = await stage.joinAsTrustee();
    await stage.round();
    const overheard = (await peer.heard()).filter((m) => m.topic === stage.topic);
    stage.check(overheard.length > 0, "nothing was overheard, so nothing is replayed");
    stage.published(
      await peer.publish(overheard.slice(-20).map((m) => stage.envelop(key, m.data))),
    );
    // As if the attacker alone had received it: the victim's key is lent for this one vote.
    const victim = await stage.key(VICTIM);
    const unseen = stage.frame(victim, { txId: target, value: "7" });
    await peer.publish([stage.envelop(key, unseen)]);
    await stage.recorded(target, VICTIM);
    await stage.traffic.cast(target, "7", stage.honest);
    await stage.traffic.reached(stage.node(VICTIM), target);
    await stage.allJudged(peer, key);
    await stage.round();
  },
};
