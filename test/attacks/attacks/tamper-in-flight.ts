import { type Attack } from "../lib/attack.ts";

const VICTIM = "trustee-1";

export const tamperInFlight: Attack = {
  name: "tamper-in-flight",
  does: `a forwarding trustee changes the value inside a message of ${VICTIM}, and its sequence number, its topic and a bit of it`,
  expects: "the author's envelope no longer holds: dropped, and neither is banned",
  reaction: { kind: "nobody", refusedBy: [] },
  sharesCluster: true,
  short: true,
  run: async (stage) => {
    const { target } = stage;
    await stage.round();
    const { key, peer } = await stage.joinAsTrustee();
    const victim = await stage.key(VICTIM);
    const good = stage.envelop(victim, stage.frame(victim, { txId: target, value: "7" }));
    const other = stage.frame(victim, { txId: target, value: "9" });
    const bit = Uint8Array.from(good.data);
    bit[80] = (bit[80] ?? 0) ^ 1;
    stage.published(
      await peer.publish([
        { ...good, data: other },
        { ...good, data: bit },
        { ...good, seqno: Uint8Array.from(good.seqno, (byte) => byte ^ 0xff) },
      ]),
    );
    await stage.allJudged(peer, key);
    const votes = await stage.etcd.under(`votes/${target}/`);
    stage.check(!votes.has(VICTIM), "a vote that was changed on its way was recorded");
    await stage.traffic.cast(target, "7", stage.honest);
    await stage.traffic.reached(stage.node(VICTIM), target);
    await stage.round();
    stage.refusedBecause("the envelope's signature does not fit what it holds");
  },
};
