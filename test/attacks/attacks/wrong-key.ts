import { ATTACKER, type Attack } from "../lib/attack.ts";
import { strangerIdentity } from "../lib/identity.ts";

export const wrongKey: Attack = {
  name: "wrong-key",
  does: "a trustee publishes its vote signed with a key that is not in the trustee set",
  expects:
    "the key comes from the set, never from the message: a bad signature, and its publisher is banned",
  reaction: { kind: "ban", nodeId: ATTACKER, reason: "INVALID_SIGNATURE" },
  sharesCluster: false,
  short: false,
  run: async (stage) => {
    const { target } = stage;
    await stage.round();
    const { key, peer } = await stage.joinAsTrustee();
    const foreign = strangerIdentity("foreign");
    const data = stage.frame(foreign, { txId: target, value: "9", nodeId: ATTACKER });
    stage.published(await peer.publish([stage.envelop(key, data)]));
    await stage.banned(ATTACKER, "INVALID_SIGNATURE");
    await stage.cutOff(peer);
    await stage.traffic.cast(target, "7", stage.honest);
    await stage.traffic.reached(stage.node("trustee-1"), target);
    await stage.round();
  },
};
