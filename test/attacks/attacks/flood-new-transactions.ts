import { LIMITS } from "@quorate/core";
import { ATTACKER, type Attack } from "../lib/attack.ts";
import { honestShareUnder } from "../lib/throughput.ts";

/** Just below what the rate limits let through. */
const FRAMES_PER_SECOND = 32;

export const floodNewTransactions: Attack = {
  name: "flood-new-transactions",
  does: `a trustee sends every node ${FRAMES_PER_SECOND} sound messages a second, as many as an honest one may, but each opens ${LIMITS.votesPerFrameMax} transactions on which nobody else votes`,
  expects:
    "honest throughput stays above 80 % of what it was just before; what is beyond the trustee's quota is refused",
  reaction: { kind: "at-most-the-attacker" },
  sharesCluster: false,
  short: false,
  run: async (stage) => {
    const { key, peer } = await stage.joinAsTrustee();
    await honestShareUnder(stage, peer, {
      seed: key.seed,
      junk: {
        kind: "new-transactions",
        clusterId: stage.cluster.clusterId,
        epoch: stage.cluster.set.epoch,
        nodeId: ATTACKER,
      },
      changesKeys: false,
      perSecond: FRAMES_PER_SECOND,
    });
    await stage.turnedAway(1, "quota");
    await stage.round();
  },
};
