import { type Attack } from "../lib/attack.ts";
import { subscribeRpc } from "../lib/wire.ts";

const TOPICS = 20_000;
/** As many as a node takes in one RPC. */
const PER_RPC = 16;
/** Long names, so that keeping them shows: the 20,000 are 20 MB, and their entries some 10 more. */
const NAME_CHARS = 1_000;
const GROWTH_BYTES_MAX = 16 * 1_024 * 1_024;

export const topicFlood: Attack = {
  name: "topic-flood",
  does: "a trustee subscribes to 20,000 topics, and a stranger to as many in one RPC and publishes on others",
  expects: "only the cluster's topic exists: nothing is kept, nobody is banned",
  reaction: { kind: "nobody", refusedBy: [] },
  sharesCluster: true,
  short: false,
  run: async (stage) => {
    await stage.round();
    const { key, peer } = await stage.joinAsTrustee();
    const before = await stage.memory();
    const topics = Array.from(
      { length: TOPICS },
      (_, i) => `planted/${i}/${"x".repeat(NAME_CHARS)}`,
    );
    const rpcs: Uint8Array[] = [];
    for (let i = 0; i < TOPICS; i += PER_RPC) rpcs.push(subscribeRpc(topics.slice(i, i + PER_RPC)));
    stage.published(await peer.send(rpcs));
    await stage.allJudged(peer, key);
    await stage.memoryGrewAtMost(before, GROWTH_BYTES_MAX);
    const stranger = await stage.joinAsStranger();
    const elsewhere = topics.slice(0, 100).map((topic) => ({
      ...stage.envelop(stranger.key, new Uint8Array(40)),
      topic,
    }));
    await stranger.peer.publish(elsewhere);
    await stranger.peer.send([subscribeRpc(topics)]);
    await stage.round();
    stage.refusedBecause("topics other than the cluster's own are not kept");
  },
};
