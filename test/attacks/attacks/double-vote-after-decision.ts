import { ATTACKER, type Attack } from "../lib/attack.ts";

export const doubleVoteAfterDecision: Attack = {
  name: "double-vote-after-decision",
  does: "a trustee votes with the others and signs another value once that is submitted",
  expects: "banned with proof; the submitted value stands",
  reaction: { kind: "ban", nodeId: ATTACKER, reason: "DOUBLE_VOTING" },
  sharesCluster: false,
  short: false,
  run: async (stage) => {
    const { target, honest } = stage;
    const { key, peer } = await stage.joinAsTrustee();
    const agreeing = stage.envelop(key, stage.frame(key, { txId: target, value: "7" }));
    await peer.publish([agreeing]);
    await stage.traffic.cast(target, "7", honest);
    await stage.traffic.reached(stage.node("trustee-1"), target, ["SUBMITTED", "CONFIRMED"]);
    const late = stage.envelop(key, stage.frame(key, { txId: target, value: "8" }));
    stage.published(await peer.publish([late]));
    await stage.banned(ATTACKER, "DOUBLE_VOTING");
    await stage.cutOff(peer);
    await stage.round();
  },
};
