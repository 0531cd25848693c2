import { peerIdBytesOf } from "@quorate/core";
import { type Attack } from "../lib/attack.ts";
import { spoilSignature } from "../lib/identity.ts";

const VICTIM = "trustee-1";

export const frameForgedAuthor: Attack = {
  name: "frame-forged-author",
  does: `a stranger publishes spoiled votes in envelopes that name ${VICTIM} as their author`,
  expects: "the envelope's signature is not the author's: dropped, and nobody is to blame",
  reaction: { kind: "nobody", refusedBy: [] },
  sharesCluster: true,
  short: false,
  run: async (stage) => {
    const { target } = stage;
    const stranger = await stage.joinAsStranger();
    const victim = await stage.key(VICTIM);
    const spoiled = spoilSignature(stage.frame(victim, { txId: target, value: "9" }));
    const own = stage.envelop(stranger.key, spoiled);
    const forged = { ...own, from: peerIdBytesOf(victim.publicKey) };
    stage.published(await stranger.peer.publish([forged]));
    await stage.round();
    // On a stream of its own, a trustee's vote says that the nodes judge as they should.
    const { key, peer } = await stage.joinAsTrustee();
    await peer.publish([forged]);
    await stage.allJudged(peer, key);
    await stage.traffic.cast(target, "7", stage.honest);
    await stage.traffic.reached(stage.node(VICTIM), target);
    const violations = await stage.violationsOf(VICTIM);
    stage.check(violations.size === 0, `a violation of ${VICTIM} was recorded`);
    stage.refusedBecause("the envelope's signature is not its author's");
  },
};
