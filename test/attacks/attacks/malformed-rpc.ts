import { randomBytes } from "node:crypto";
import { type Attack } from "../lib/attack.ts";

export const malformedRpc: Attack = {
  name: "malformed-rpc",
  does: "a stranger writes bytes on its gossip streams that are no RPC: noise, a length of 2^40, an empty message",
  expects: "its own streams break and nobody else's; no crash, no ban",
  reaction: { kind: "nobody", refusedBy: [] },
  sharesCluster: true,
  short: false,
  run: async (stage) => {
    await stage.round();
    const junk = [
      Buffer.concat([Uint8Array.of(100), randomBytes(100)]),
      Uint8Array.of(0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x40),
      Uint8Array.of(2, 0x12, 0x00),
      new Uint8Array(1_000).fill(0xff),
    ];
    for (const [i, bytes] of junk.entries()) {
      const { peer } = await stage.joinAsStranger(`stranger-${i}`);
      stage.published(await peer.sendRaw(bytes));
    }
    await stage.round();
    const alive = stage.honest.length;
    stage.check(alive === 4, `only ${alive} of 4 honest nodes still run`);
    stage.refusedBecause("the stream is cut where it stops being an RPC");
  },
};
