import { ATTACKER, type Attack } from "../lib/attack.ts";

export const minorityLast: Attack = {
  name: "minority-last",
  does: "a trustee votes against a threshold that has been reached, inside the settle window",
  expects: "banned, the transaction aborted before it is submitted",
  reaction: { kind: "ban", nodeId: ATTACKER, reason: "MINORITY_VOTE" },
  // Long enough to dissent in, on a busy machine too.
  protocol: { settleMs: 5_000 },
  sharesCluster: false,
  short: false,
  run: async (stage) => {
    const { target } = stage;
    await stage.round();
    const { key, peer } = await stage.joinAsTrustee();
    await stage.traffic.cast(target, "7", stage.honest);
    await stage.traffic.reached(stage.node("trustee-1"), target, ["THRESHOLD_REACHED"]);
    stage.traffic.mustAbort(target);
    const dissent = stage.envelop(key, stage.frame(key, { txId: target, value: "9" }));
    stage.published(await peer.publish([dissent]));
    await stage.banned(ATTACKER, "MINORITY_VOTE");
    await stage.cutOff(peer);
    await stage.round();
  },
};
