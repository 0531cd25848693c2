import type { Connection } from "@libp2p/interface";
import type { PeerId } from "@quorate/core";
import { toPeerId } from "./identity.ts";
import type { GossipLimits } from "./options.ts";
import type { PeerRoster } from "./peer-roster.ts";

/**
 * Who may hold how many connections: strangers only so many together, so that trustees
 * always find room, and each peer only a few.
 */
export class ConnectionShares {
  readonly #limits: Pick<GossipLimits, "strangersMax" | "connectionsPerPeerMax">;
  readonly #roster: PeerRoster;
  readonly #connections: () => readonly Connection[];

  constructor(
    limits: Pick<GossipLimits, "strangersMax" | "connectionsPerPeerMax">,
    deps: { readonly roster: PeerRoster; readonly connections: () => readonly Connection[] },
  ) {
    this.#limits = limits;
    this.#roster = deps.roster;
    this.#connections = deps.connections;
  }

  /** Open connections with strangers. */
  get strangers(): number {
    return this.#open().filter((connection) => this.#isStranger(connection)).length;
  }

  /** Whether one more connection with this peer finds a place. */
  hasPlace(peer: PeerId): boolean {
    return this.#roster.isKnown(peer) || this.strangers < this.#limits.strangersMax;
  }

  /** Connections to be cut: those of shut-out peers, a peer's oldest, and the newest strangers'. */
  excess(): Connection[] {
    const cut = new Set<Connection>();
    const perPeer = new Map<string, Connection[]>();
    const strangers: Connection[] = [];
    const newestFirst = this.#open().toSorted((a, b) => b.timeline.open - a.timeline.open);
    for (const connection of newestFirst) {
      const peer = toPeerId(connection.remotePeer);
      if (peer === null || this.#roster.isShut(peer)) {
        cut.add(connection);
        continue;
      }
      const ofPeer = perPeer.get(peer) ?? [];
      perPeer.set(peer, ofPeer);
      // A peer that lost its connection without a word must get in again at once.
      if (ofPeer.length >= this.#limits.connectionsPerPeerMax) cut.add(connection);
      else {
        ofPeer.push(connection);
        if (!this.#roster.isKnown(peer)) strangers.push(connection);
      }
    }
    const tooMany = Math.max(0, strangers.length - this.#limits.strangersMax);
    for (const connection of strangers.slice(0, tooMany)) cut.add(connection);
    return [...cut];
  }

  #open(): Connection[] {
    return this.#connections().filter(({ status }) => status === "open");
  }

  #isStranger({ remotePeer }: Connection): boolean {
    const peer = toPeerId(remotePeer);
    return peer === null || !this.#roster.isKnown(peer);
  }
}
