import { ATTACKER, type Attack } from "../lib/attack.ts";
import { beginNextEpoch } from "../lib/next-epoch.ts";

export const doubleVoteTwoEpochs: Attack = {
  name: "double-vote-two-epochs",
  does: "a trustee votes, a new epoch begins, and it signs another value for the same transaction under that one",
  expects: "one transaction, one word, whatever the epoch: banned with both sets in the proof",
  reaction: { kind: "ban", nodeId: ATTACKER, reason: "DOUBLE_VOTING" },
  sharesCluster: false,
  short: false,
  run: async (stage) => {
    const { target } = stage;
    await stage.round();
    const { key, peer } = await stage.joinAsTrustee();
    await peer.publish([stage.envelop(key, stage.frame(key, { txId: target, value: "7" }))]);
    await stage.recorded(target, ATTACKER);
    await stage.traffic.cast(target, "7", stage.honest.slice(0, 2));
    stage.traffic.mustAbort(target);
    await beginNextEpoch(stage);
    const second = stage.envelop(key, stage.frame(key, { txId: target, value: "8" }));
    stage.published(await peer.publish([second]));
    await stage.banned(ATTACKER, "DOUBLE_VOTING");
    await stage.cutOff(peer);
    await stage.round();
  },
};
