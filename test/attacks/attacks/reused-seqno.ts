import { type Attack } from "../lib/attack.ts";

const VICTIM = "trustee-1";

export const reusedSeqno: Attack = {
  name: "reused-seqno",
  does: `a trustee reuses sequence numbers: its own for two messages, and those of ${VICTIM} for copies that overtake the originals`,
  expects: "no message shadows another: every honest vote is recorded, nobody is banned",
  reaction: { kind: "nobody", refusedBy: [] },
  sharesCluster: true,
  short: false,
  run: async (stage) => {
    const { target } = stage;
    const { key, peer } = await stage.joinAsTrustee();
    const seqno = new Uint8Array(8);
    const own = [`${target}-a`, `${target}-b`];
    stage.published(
      await peer.publish(
        own.map((txId) => stage.envelop(key, stage.frame(key, { txId, value: "1" }), seqno)),
      ),
    );
    for (const txId of own) await stage.recorded(txId, key.name);
    // The copy under the attacker's name has the original's content and number, and so its message id.
    const victim = await stage.key(VICTIM);
    const original = stage.envelop(victim, stage.frame(victim, { txId: target, value: "7" }));
    const junk = stage.envelop(key, new Uint8Array(40), original.seqno);
    const copy = stage.envelop(key, original.data, original.seqno);
    await peer.publish([junk, copy]);
    await peer.publish([original]);
    await stage.recorded(target, VICTIM);
    await stage.traffic.cast(target, "7", stage.honest);
    await stage.traffic.reached(stage.node(VICTIM), target);
    await stage.allJudged(peer, key);
    await stage.round();
    stage.refusedBecause("nothing to refuse: what names a message is its content and its number");
  },
};
