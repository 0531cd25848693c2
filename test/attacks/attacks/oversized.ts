import { randomBytes } from "node:crypto";
import { LIMITS } from "@quorate/core";
import { type Attack } from "../lib/attack.ts";

/** More than any node takes in one RPC. */
const RPC_BYTES = 6 * 1_024 * 1_024;

export const oversized: Attack = {
  name: "oversized",
  does: "a trustee sends a message over 64 KiB, and then an RPC of 6 MiB",
  expects: "the message is rejected unread, the stream cut at the RPC; nobody is banned",
  reaction: { kind: "nobody", refusedBy: ["gossip REJECT", "oversized"] },
  sharesCluster: true,
  short: false,
  run: async (stage) => {
    await stage.round();
    const { key, peer } = await stage.joinAsTrustee();
    const large = stage.envelop(key, randomBytes(LIMITS.voteFrameBytesMax + 1));
    stage.published(await peer.publish([large]));
    await stage.allJudged(peer, key);
    await stage.turnedAway(1, "gossip REJECT", "oversized");
    await peer.send([randomBytes(RPC_BYTES)]);
    await stage.round();
  },
};
