import { ATTACKER, type Attack } from "../lib/attack.ts";

export const minorityAfterDecision: Attack = {
  name: "minority-after-decision",
  does: "a trustee votes against a value that is submitted already",
  expects: "banned; the submitted value stands, for it can't be recalled",
  reaction: { kind: "ban", nodeId: ATTACKER, reason: "MINORITY_VOTE" },
  sharesCluster: false,
  short: false,
  run: async (stage) => {
    const { target } = stage;
    const { key, peer } = await stage.joinAsTrustee();
    await stage.traffic.cast(target, "7", stage.honest);
    await stage.traffic.reached(stage.node("trustee-1"), target, ["SUBMITTED", "CONFIRMED"]);
    const dissent = stage.envelop(key, stage.frame(key, { txId: target, value: "9" }));
    stage.published(await peer.publish([dissent]));
    await stage.banned(ATTACKER, "MINORITY_VOTE");
    await stage.cutOff(peer);
    await stage.round();
  },
};
