import { ATTACKER, type Attack } from "../lib/attack.ts";
import { FLOOD, honestShareUnder } from "../lib/throughput.ts";

export const floodTrustee: Attack = {
  name: "flood-trustee",
  does: `a trustee sends every node ${FLOOD.perSecond} well-signed stale votes a second, 100 times the normal rate: refused late and held against nobody`,
  expects:
    "honest throughput stays above 80 % of what it was just before; at most the flooder loses its place",
  reaction: { kind: "at-most-the-attacker" },
  sharesCluster: false,
  short: false,
  run: async (stage) => {
    const { key, peer } = await stage.joinAsTrustee();
    await honestShareUnder(stage, peer, {
      seed: key.seed,
      junk: {
        kind: "stale-votes",
        clusterId: stage.cluster.clusterId,
        epoch: stage.cluster.set.epoch,
        nodeId: ATTACKER,
      },
      changesKeys: false,
    });
    await stage.turnedAway(1, "stale", "rate_limited", "gossip IGNORE");
    await stage.round();
  },
};
