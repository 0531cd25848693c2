import type { Connection } from "@libp2p/interface";
import type { Logger } from "@quorate/ports";

/** Heartbeats (seconds) that a connected peer may be without a gossip stream: identification takes a moment. */
const HEARTBEATS_MAX = 10;

/**
 * Cuts connections over which no gossip goes. GossipSub opens its stream once per
 * connection; when that stream breaks (a full buffer, a malformed RPC) the peer stays
 * connected and deaf for ever. A new connection begins afresh.
 */
export class DeafPeers {
  readonly #logger: Logger;
  #missed = new Map<string, number>();

  constructor(deps: { readonly logger: Logger }) {
    this.#logger = deps.logger;
  }

  /** Once per heartbeat. */
  check(connections: readonly Connection[], hasStream: (peer: string) => boolean): void {
    const missed = new Map<string, number>();
    for (const connection of connections) {
      const peer = connection.remotePeer.toString();
      if (hasStream(peer)) continue;
      const count = (this.#missed.get(peer) ?? 0) + 1;
      if (count < HEARTBEATS_MAX) missed.set(peer, count);
      else {
        this.#logger.warn("peer without a gossip stream is disconnected", { peerId: peer });
        connection.abort(new Error("no gossip stream"));
      }
    }
    this.#missed = missed;
  }
}
