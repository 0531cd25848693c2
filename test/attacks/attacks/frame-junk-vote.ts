import { ATTACKER, type Attack } from "../lib/attack.ts";

const VICTIM = "trustee-1";

export const frameJunkVote: Attack = {
  name: "frame-junk-vote",
  does: `a trustee publishes a vote that names ${VICTIM} and bears a signature of its own`,
  expects: "whoever published it is banned; whom it names is not",
  reaction: { kind: "ban", nodeId: ATTACKER, reason: "INVALID_SIGNATURE" },
  sharesCluster: false,
  short: true,
  run: async (stage) => {
    const { target } = stage;
    await stage.round();
    const { key, peer } = await stage.joinAsTrustee();
    const junk = stage.frame(key, { txId: target, value: "9", nodeId: VICTIM });
    stage.published(await peer.publish([stage.envelop(key, junk)]));
    await stage.banned(ATTACKER, "INVALID_SIGNATURE");
    await stage.cutOff(peer);
    // The victim's own vote on that very transaction is as good as any.
    await stage.traffic.cast(target, "7", stage.honest);
    await stage.traffic.reached(stage.node(VICTIM), target);
    await stage.round();
  },
};
