import { ATTACKER, type Attack } from "../lib/attack.ts";
import { spoilSignature } from "../lib/identity.ts";

export const badSignature: Attack = {
  name: "bad-signature",
  does: "a trustee publishes its own vote with one bit of the vote's signature turned over",
  expects: "banned by the envelope it signed; the vote is dropped and the transaction goes on",
  reaction: { kind: "ban", nodeId: ATTACKER, reason: "INVALID_SIGNATURE" },
  sharesCluster: false,
  short: true,
  run: async (stage) => {
    const { target } = stage;
    await stage.round();
    const { key, peer } = await stage.joinAsTrustee();
    await stage.traffic.cast(target, "7", stage.honest.slice(0, 2));
    const spoiled = spoilSignature(stage.frame(key, { txId: target, value: "7" }));
    stage.published(await peer.publish([stage.envelop(key, spoiled)]));
    await stage.banned(ATTACKER, "INVALID_SIGNATURE");
    await stage.cutOff(peer);
    await stage.traffic.cast(target, "7", stage.honest.slice(2));
    await stage.round();
    const votes = await stage.etcd.under(`votes/${target}/`);
    stage.check(!votes.has(ATTACKER), "a vote with a bad signature was recorded");
  },
};
