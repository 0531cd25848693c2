import type { PeerStats, Router } from "./router-guard.ts";

/**
 * Drops what GossipSub remembers of peers that are gone, beyond so many: it keeps the
 * scores of the last ten minutes, however many peers came and went under ids that cost
 * nothing. What says nothing against a peer is dropped first; of the rest those that came
 * first, and a known peer's never (there are few). Once per heartbeat.
 */
export function trimRouterMemory(
  router: Pick<Router, "score" | "peers" | "backoff">,
  options: { readonly peersMax: number; readonly isKnown: (peer: string) => boolean },
): void {
  const { score, peers, backoff } = router;
  const gone: string[] = [];
  for (const [peer, stats] of score.peerStats)
    if (!stats.connected) {
      if (isClean(stats)) forget(score, peer, stats);
      else if (!options.isKnown(peer)) gone.push(peer);
    }
  for (const peer of gone.slice(0, Math.max(0, gone.length - options.peersMax))) {
    const stats = score.peerStats.get(peer);
    if (stats !== undefined) forget(score, peer, stats);
  }
  for (const ofTopic of backoff.values()) {
    let excess = ofTopic.size - peers.size - options.peersMax;
    for (const peer of ofTopic.keys()) {
      if (excess <= 0) break;
      if (peers.has(peer) || options.isKnown(peer)) continue;
      ofTopic.delete(peer);
      excess--;
    }
  }
}

function isClean({ behaviourPenalty, topics }: PeerStats): boolean {
  return (
    behaviourPenalty === 0 &&
    Object.values(topics).every(
      (topic) => topic.invalidMessageDeliveries === 0 && topic.meshFailurePenalty === 0,
    )
  );
}

function forget(score: Router["score"], peer: string, { knownIPs }: PeerStats): void {
  for (const ip of knownIPs) score.removeIP(peer, ip);
  score.peerStats.delete(peer);
  score.scoreCache.delete(peer);
}
