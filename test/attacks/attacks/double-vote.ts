import { ATTACKER, type Attack } from "../lib/attack.ts";

export const doubleVote: Attack = {
  name: "double-vote",
  does: "a trustee votes, waits until that is recorded, and then signs another value",
  expects: "both signatures are stored as proof, the trustee is banned, the transaction aborted",
  reaction: { kind: "ban", nodeId: ATTACKER, reason: "DOUBLE_VOTING" },
  sharesCluster: false,
  short: true,
  run: async (stage) => {
    const { target } = stage;
    await stage.round();
    const { key, peer } = await stage.joinAsTrustee();
    await stage.traffic.cast(target, "7", stage.honest.slice(0, 2));
    stage.traffic.mustAbort(target);
    await peer.publish([stage.envelop(key, stage.frame(key, { txId: target, value: "7" }))]);
    await stage.recorded(target, ATTACKER);
    const second = stage.envelop(key, stage.frame(key, { txId: target, value: "8" }));
    stage.published(await peer.publish([second]));
    await stage.banned(ATTACKER, "DOUBLE_VOTING");
    await stage.cutOff(peer);
    // The others still vote; it is recorded and changes nothing.
    await stage.traffic.cast(target, "7", stage.honest.slice(2));
    await stage.round();
  },
};
