import type { Attack } from "../lib/attack.ts";
import { beginNextEpoch } from "../lib/next-epoch.ts";

const VICTIM = "trustee-1";

export const replayOldEpoch: Attack = {
  name: "replay-old-epoch",
  does: `a trustee keeps votes that it and ${VICTIM} signed, until a new epoch has begun, and publishes them then`,
  expects:
    "a transaction is its epoch's: votes of an earlier one open nothing, and are held against nobody",
  reaction: {
    kind: "nobody",
    refusedBy: ["wrong_cluster_or_epoch", "wrong_epoch", "old_epoch", "WRONG_EPOCH"],
  },
  sharesCluster: false,
  short: false,
  run: async (stage) => {
    const { target } = stage;
    const { key, peer } = await stage.joinAsTrustee();
    const victim = await stage.key(VICTIM);
    await stage.round();
    const kept = [victim, key].map((signer, i) =>
      stage.envelop(key, stage.frame(signer, { txId: `${target}-${i}`, value: "7" })),
    );
    await beginNextEpoch(stage);
    stage.published(await peer.publish(kept));
    await stage.allJudged(peer, key);
    for (const i of kept.keys()) {
      const votes = await stage.etcd.under(`votes/${target}-${i}/`);
      stage.check(votes.size === 0, "a vote of an earlier epoch was recorded");
    }
    await stage.round();
  },
};
