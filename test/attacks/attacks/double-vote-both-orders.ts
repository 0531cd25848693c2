import { ATTACKER, type Attack } from "../lib/attack.ts";

export const doubleVoteBothOrders: Attack = {
  name: "double-vote-both-orders",
  does: "a trustee signs two values; half of the nodes get the second one first",
  expects: "whichever is recorded first, the other makes the proof: one ban, the same everywhere",
  reaction: { kind: "ban", nodeId: ATTACKER, reason: "DOUBLE_VOTING" },
  sharesCluster: false,
  short: false,
  run: async (stage) => {
    const { target } = stage;
    await stage.round();
    const { key, peer } = await stage.joinAsTrustee();
    await stage.traffic.cast(target, "7", stage.honest.slice(0, 1));
    stage.traffic.mustAbort(target);
    const first = stage.envelop(key, stage.frame(key, { txId: target, value: "7" }));
    const second = stage.envelop(key, stage.frame(key, { txId: target, value: "8" }));
    const half = stage.peerIdsOf(stage.honest.slice(0, 2));
    const otherHalf = stage.peerIdsOf(stage.honest.slice(2));
    const [sent] = await Promise.all([
      peer.publish([first, second], half),
      peer.publish([second, first], otherHalf),
    ]);
    stage.published(sent);
    await stage.banned(ATTACKER, "DOUBLE_VOTING");
    await stage.cutOff(peer);
    await stage.traffic.cast(target, "7", stage.honest.slice(1));
    await stage.round();
  },
};
