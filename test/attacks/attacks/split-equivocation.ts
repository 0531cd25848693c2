import { ATTACKER, type Attack } from "../lib/attack.ts";
import { HALVES, partition } from "../lib/partition.ts";

export const splitEquivocation: Attack = {
  name: "split-equivocation",
  does: "a trustee signs one value to one half of the network and another to the other; no gossip passes between the halves",
  expects:
    "etcd puts the two votes in an order: the second one to be recorded makes the proof, although no node heard both",
  reaction: { kind: "ban", nodeId: ATTACKER, reason: "DOUBLE_VOTING" },
  sharesCluster: false,
  short: true,
  run: async (stage) => {
    const { target } = stage;
    await stage.round();
    await partition(stage);
    const { key, peer } = await stage.joinAsTrustee();
    const [left, right] = HALVES.map((names) => names.map((name) => stage.node(name)));
    if (left === undefined || right === undefined) throw new Error("there are two halves");
    const heardBefore = await stage.gossipVotes();
    const [sent] = await Promise.all([
      peer.publish(
        [stage.envelop(key, stage.frame(key, { txId: target, value: "7" }))],
        stage.peerIdsOf(left),
      ),
      peer.publish(
        [stage.envelop(key, stage.frame(key, { txId: target, value: "8" }))],
        stage.peerIdsOf(right),
      ),
    ]);
    stage.published(sent);
    await stage.banned(ATTACKER, "DOUBLE_VOTING");
    // Each node heard one vote by gossip: its half's. Nobody could see the crime but in etcd.
    const heard = await stage.gossipVotes();
    for (const [name, n] of heard) {
      const votes = n - (heardBefore.get(name) ?? 0);
      stage.check(votes === 1, `${name} heard ${votes} votes by gossip, not just its half's`);
    }
    await stage.cutOff(peer);
    await stage.traffic.cast(target, "7", stage.honest);
    stage.traffic.mustAbort(target);
    await stage.round();
  },
};
