import { type Attack } from "../lib/attack.ts";

const ROUNDS = 4;
const DOWN = "trustee-4";

export const massSilence: Attack = {
  name: "mass-silence",
  does: "more trustees than N−t are silent at once, more often than three times in a row",
  expects:
    "an outage, not a crime: the transactions end for want of votes, nobody is banned or blamed",
  reaction: { kind: "nobody", refusedBy: [] },
  protocol: { deadlineMs: 1_200, profile: "balanced", silenceStreakMax: 3 },
  sharesCluster: false,
  short: false,
  run: async (stage) => {
    await stage.node(DOWN).stop();
    const ids = Array.from({ length: ROUNDS }, (_, i) => `${stage.target}-${i}`);
    for (const txId of ids) {
      await stage.traffic.cast(txId, "7", stage.honest);
      stage.traffic.mustAbort(txId);
      await stage.traffic.reached(stage.node("trustee-1"), txId, ["ABORTED_BYZANTINE"]);
    }
    const violations = await stage.etcd.under("violations/");
    stage.check(violations.size === 0, "silence was recorded against somebody in an outage");
    await stage.node(DOWN).start();
    await stage.round();
    stage.refusedBecause("more absent at once than N−t is held against nobody");
  },
};
