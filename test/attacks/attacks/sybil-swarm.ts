import { type Attack } from "../lib/attack.ts";

const IDENTITIES = 60;
const AUTHORS = 4_000;
/** Some 30 connections at half a megabyte each, and caches that fill to their bounds. */
const GROWTH_BYTES_MAX = 48 * 1_024 * 1_024;

export const sybilSwarm: Attack = {
  name: "sybil-swarm",
  does: `${IDENTITIES} strangers connect to every node and stay; another publishes under ${AUTHORS} more names, each message well signed`,
  expects:
    "strangers may listen, within bounds, and count for nothing: bounded memory, honest votes go on, nobody is banned",
  reaction: { kind: "nobody", refusedBy: ["author_not_trustee", "unknown_author"] },
  sharesCluster: true,
  short: false,
  run: async (stage) => {
    await stage.round();
    // Before the swarm, which leaves no room for one stranger more.
    const { peer } = await stage.joinAsStranger();
    const before = await stage.memory();
    const swarm = await stage.attacker.call("swarm", {
      count: IDENTITIES,
      addresses: stage.honest.map((node) => stage.addressOf(node)),
      topic: stage.topic,
    });
    stage.figures["connectionsLetIn"] = swarm.connected;
    stage.figures["connectionsRefused"] = swarm.refused;
    stage.figures["connectionsHeld"] = swarm.stillConnected;
    await stage.round();
    stage.published({ atMs: Date.now(), sent: 1 });
    const authors = stage.attacker.call("authors", {
      peer: peer.name,
      count: AUTHORS,
      topic: stage.topic,
    });
    await stage.round();
    stage.figures["authors"] = (await authors).sent;
    await stage.turnedAway(AUTHORS / 10, "author_not_trustee", "unknown_author", "rate_limited");
    await stage.memoryGrewAtMost(before, GROWTH_BYTES_MAX);
    await stage.round();
  },
};
