import { randomBytes } from "node:crypto";
import { type Attack } from "../lib/attack.ts";
import type { Identity } from "../lib/identity.ts";
import type { Stage } from "../lib/stage.ts";

export const malformedFrame: Attack = {
  name: "malformed-frame",
  does: "a trustee sends frames that are none: cut short, too long, of an unknown version, with broken counts, lengths and ids",
  expects: "each is rejected where it stops making sense; no crash, no ban",
  reaction: { kind: "nobody", refusedBy: ["malformed"] },
  sharesCluster: true,
  short: true,
  run: async (stage) => {
    await stage.round();
    const { key, peer } = await stage.joinAsTrustee();
    const frames = malformed(stage, key);
    stage.published(await peer.publish(frames.map((data) => stage.envelop(key, data))));
    await stage.turnedAway(1, "malformed");
    await stage.round();
    stage.check(
      stage.honest.length === 4 && stage.honest.every((node) => node.running),
      "a node ended over a malformed frame",
    );
  },
};

function malformed(stage: Stage, key: Identity): readonly Uint8Array[] {
  const good = stage.frame(key, { txId: stage.target, value: "7" });
  const changed = (at: number, ...bytes: readonly number[]): Uint8Array => {
    const copy = Uint8Array.from(good);
    copy.set(bytes, at);
    return copy;
  };
  return [
    Uint8Array.of(0),
    good.slice(0, 40),
    good.slice(0, -1),
    Buffer.concat([good, Uint8Array.of(0)]),
    changed(0, 9),
    // How many votes: none, two where there is one, more than a frame may hold.
    changed(65, 0, 0),
    changed(65, 0, 2),
    changed(65, 0xff, 0xff),
    // The first vote's length, and its first field's.
    changed(67, 0xff, 0xff),
    changed(69, 0, 1),
    // The domain's first letter is not text any more.
    changed(71, 0xff),
    randomBytes(good.length),
  ];
}
