import { ATTACKER, type Attack } from "../lib/attack.ts";
import { spoilSignature } from "../lib/identity.ts";

export const badSignatureAfterDecision: Attack = {
  name: "bad-signature-after-decision",
  does: "a trustee publishes a spoiled vote on a transaction that is submitted already",
  expects: "banned with proof all the same; the submitted value stands",
  reaction: { kind: "ban", nodeId: ATTACKER, reason: "INVALID_SIGNATURE" },
  sharesCluster: false,
  short: false,
  run: async (stage) => {
    const { target } = stage;
    const { key, peer } = await stage.joinAsTrustee();
    await stage.traffic.cast(target, "7", stage.honest);
    await stage.traffic.reached(stage.node("trustee-1"), target, ["SUBMITTED", "CONFIRMED"]);
    const spoiled = spoilSignature(stage.frame(key, { txId: target, value: "7" }));
    stage.published(await peer.publish([stage.envelop(key, spoiled)]));
    await stage.banned(ATTACKER, "INVALID_SIGNATURE");
    await stage.cutOff(peer);
    await stage.round();
  },
};
