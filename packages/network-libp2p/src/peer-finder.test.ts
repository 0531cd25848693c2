import type { PeerId } from "@quorate/core";
import { SimClock } from "@quorate/testkit";
import { expect, it } from "vitest";
import { peerIdFromSeed } from "./identity.ts";
import { PeerFinder } from "./peer-finder.ts";
import { recordingLogger, seedOfSwarm } from "./test-kit.ts";

const trustee = peerIdFromSeed(seedOfSwarm(1_000));
const strangers = Array.from({ length: 20 }, (_, i) => peerIdFromSeed(seedOfSwarm(i)));

/** A finder whose dials never end, as those of peers that don't answer. */
function finder(hasPlace = true) {
  const dialled: PeerId[] = [];
  const made = new PeerFinder(
    { firstMs: 1_000, maxMs: 1_000, peersMax: 100 },
    {
      clock: new SimClock(),
      logger: recordingLogger(),
      closestPeers: async function* () {},
      dial: (peer) => {
        dialled.push(peer);
        return new Promise(() => {});
      },
      isConnected: () => false,
      isBanned: () => false,
      isKnown: (peer) => peer === trustee,
      hasPlace: () => hasPlace,
      connectedCount: () => 0,
    },
  );
  return { made, dialled };
}

it("strangers that never answer hold up each other, but no trustee", () => {
  const { made, dialled } = finder();
  for (const stranger of strangers) made.consider(stranger);
  expect(dialled).toEqual(strangers.slice(0, 8));
  made.consider(trustee);
  expect(dialled.at(-1)).toBe(trustee);
});

it("no stranger is dialled whose connection would not be kept", () => {
  const { made, dialled } = finder(false);
  for (const stranger of strangers) made.consider(stranger);
  made.consider(trustee);
  expect(dialled).toEqual([trustee]);
});
