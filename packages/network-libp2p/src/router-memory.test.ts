import { expect, it } from "vitest";
import type { PeerStats } from "./router-guard.ts";
import { trimRouterMemory } from "./router-memory.ts";

function router() {
  const peerStats = new Map<string, PeerStats>();
  const addresses = new Set<string>();
  const scoreCache = new Map<string, unknown>();
  const score = {
    peerStats,
    scoreCache,
    removeIP: (peer: string, ip: string) => void addresses.delete(`${peer} ${ip}`),
    rejectInvalidMessage: () => {},
  };
  const meet = (peer: string, changes: Partial<PeerStats> = {}): void => {
    peerStats.set(peer, {
      connected: false,
      behaviourPenalty: 0,
      knownIPs: new Set(["10.0.0.1"]),
      topics: {},
      ...changes,
    });
    addresses.add(`${peer} 10.0.0.1`);
    scoreCache.set(peer, 0);
  };
  const backoff = new Map([["topic", new Map<string, number>()]]);
  return { router: { score, peers: new Map([["here", 1]]), backoff }, meet, addresses };
}

const options = { peersMax: 10, isKnown: (peer: string) => peer === "trustee" };

it("forgets at once those who left with nothing against them, and keeps those who are there", () => {
  const { router: r, meet, addresses } = router();
  meet("here", { connected: true });
  for (let i = 0; i < 3_000; i++) meet(`gone ${i}`);
  trimRouterMemory(r, options);
  expect([...r.score.peerStats.keys()]).toEqual(["here"]);
  expect(r.score.scoreCache.size).toBe(1);
  expect(addresses).toEqual(new Set(["here 10.0.0.1"]));
});

it("keeps a bounded number of those who left with something against them, and a known one always", () => {
  const { router: r, meet } = router();
  const invalid = { invalidMessageDeliveries: 3, meshFailurePenalty: 0 };
  meet("trustee", { topics: { topic: invalid } });
  for (let i = 0; i < 3_000; i++)
    meet(`gone ${i}`, i % 2 === 0 ? { behaviourPenalty: 1 } : { topics: { topic: invalid } });
  trimRouterMemory(r, options);
  expect(r.score.peerStats.size).toBe(11);
  expect(r.score.peerStats.has("trustee")).toBe(true);
  expect(r.score.peerStats.has("gone 2999")).toBe(true);
});

it("bounds the peers that it remembers having pruned, but never forgets one that is there or known", () => {
  const { router: r } = router();
  const pruned = r.backoff.get("topic");
  for (const peer of ["here", "trustee"]) pruned?.set(peer, 1);
  for (let i = 0; i < 3_000; i++) pruned?.set(`gone ${i}`, 1);
  trimRouterMemory(r, options);
  expect(pruned?.size).toBe(11);
  expect([pruned?.has("here"), pruned?.has("trustee")]).toEqual([true, true]);
});
