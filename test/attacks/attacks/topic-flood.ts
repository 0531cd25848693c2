import { type Attack } from "../lib/attack.ts";
import { subscribeRpc } from "../lib/wire.ts";

const TOPICS = 20_000;
/** As many as a node takes in one RPC. */
const PER_RPC = 16;
/** 20,000 topics with their entries would be some 10 MB; the rest is what a working heap breathes. */
const GROWTH_BYTES_MAX = 64 * 1_024 * 1_024;

export const topicFlood: Attack = {
  name: "topic-flood",
  does: "a stranger subscribes to 20,000 topics, in small RPCs and in one, and publishes on others",
  expects: "only the cluster's topic exists: nothing is kept, nobody is banned",
  reaction: { kind: "nobody", refusedBy: [] },
  sharesCluster: true,
  short: false,
  run: async (stage) => {
    await stage.round();
    const { key, peer } = await stage.joinAsStranger();
    const before = await stage.memory();
    const topics = Array.from({ length: TOPICS }, (_, i) => `planted/${i}/${"x".repeat(40)}`);
    const rpcs: Uint8Array[] = [];
    for (let i = 0; i < TOPICS; i += PER_RPC) rpcs.push(subscribeRpc(topics.slice(i, i + PER_RPC)));
    stage.published(await peer.send(rpcs));
    const elsewhere = topics.slice(0, 100).map((topic) => ({
      ...stage.envelop(key, new Uint8Array(40)),
      topic,
    }));
    await peer.publish(elsewhere);
    await peer.send([subscribeRpc(topics)]);
    await stage.round();
    await stage.memoryGrewAtMost(before, GROWTH_BYTES_MAX);
    stage.refusedBecause("topics other than the cluster's own are not kept");
  },
};
