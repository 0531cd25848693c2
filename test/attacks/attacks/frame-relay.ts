import { ATTACKER, type Attack } from "../lib/attack.ts";
import { spoilSignature } from "../lib/identity.ts";

const FORWARDER = "trustee-4";

export const frameRelay: Attack = {
  name: "frame-relay",
  does: `a spoiled vote, signed on its envelope by ${ATTACKER}, reaches every node through ${FORWARDER} alone`,
  expects: "the author is banned; the forwarder, who can't know, is not",
  reaction: { kind: "ban", nodeId: ATTACKER, reason: "INVALID_SIGNATURE" },
  sharesCluster: false,
  short: false,
  run: async (stage) => {
    const { target } = stage;
    await stage.round();
    const author = await stage.key(ATTACKER);
    await stage.node(FORWARDER).stop();
    const forwarder = await stage.join(await stage.key(FORWARDER));
    const spoiled = spoilSignature(stage.frame(author, { txId: target, value: "7" }));
    stage.published(await forwarder.publish([stage.envelop(author, spoiled)]));
    await stage.banned(ATTACKER, "INVALID_SIGNATURE");
    await forwarder.close();
    await stage.node(FORWARDER).start();
    await stage.traffic.cast(target, "7", stage.honest);
    await stage.traffic.reached(stage.node(FORWARDER), target);
    await stage.round();
  },
};
