import { ATTACKER, type Attack } from "../lib/attack.ts";

export const minorityFirst: Attack = {
  name: "minority-first",
  does: "a trustee votes against all others, before any of them",
  expects: "found when the others reach the threshold: banned, the transaction aborted",
  reaction: { kind: "ban", nodeId: ATTACKER, reason: "MINORITY_VOTE" },
  sharesCluster: false,
  short: false,
  run: async (stage) => {
    const { target } = stage;
    await stage.round();
    const { key, peer } = await stage.joinAsTrustee();
    await peer.publish([stage.envelop(key, stage.frame(key, { txId: target, value: "9" }))]);
    await stage.recorded(target, ATTACKER);
    // The crime is complete only once there is a majority to dissent from.
    stage.published({ atMs: Date.now(), sent: 1 });
    await stage.traffic.cast(target, "7", stage.honest);
    stage.traffic.mustAbort(target);
    await stage.banned(ATTACKER, "MINORITY_VOTE");
    await stage.cutOff(peer);
    await stage.round();
  },
};
