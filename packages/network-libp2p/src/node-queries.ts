import { randomBytes } from "node:crypto";
import { multiaddr } from "@multiformats/multiaddr";
import type { PeerId } from "@quorate/core";
import type { GossipStatus } from "@quorate/ports";
import { GossipError } from "./errors.ts";
import { toLibp2pPeerId, toPeerId } from "./identity.ts";
import type { Node } from "./libp2p-node.ts";

/** Of which topic, and who is left out. */
interface Listeners {
  readonly topic: string;
  readonly isShut: (peer: PeerId) => boolean;
}

/** Peers that subscribe and to whom a stream is open: a publish reaches them. */
export function subscribersOf(node: Node, { topic, isShut }: Listeners): PeerId[] {
  const { router } = node.services;
  return router.getSubscribers(topic).flatMap((id) => {
    const peer = toPeerId(id);
    if (peer === null || isShut(peer)) return [];
    return router.streamsOutbound.has(peer) ? [peer] : [];
  });
}

export function gossipStatusOf(node: Node | null, listeners: Listeners): GossipStatus {
  if (node === null) return { listening: [], connections: [], mesh: [], subscribers: [] };
  const subscribers = subscribersOf(node, listeners);
  const mesh = node.services.router.mesh.get(listeners.topic);
  return {
    listening: node.getMultiaddrs().map(String),
    connections: node.getConnections().flatMap((connection) => {
      const peerId = toPeerId(connection.remotePeer);
      if (peerId === null || connection.status !== "open") return [];
      return [
        {
          peerId,
          address: connection.remoteAddr.toString(),
          direction: connection.direction,
          openedAtMs: connection.timeline.open,
          roundTripMs: connection.rtt ?? null,
        },
      ];
    }),
    mesh: subscribers.filter((peer) => mesh?.has(peer)),
    subscribers,
  };
}

export function isConnected(node: Node | null, peer: PeerId): boolean {
  const connections = node?.getConnections(toLibp2pPeerId(peer)) ?? [];
  return connections.some((connection) => connection.status === "open");
}

/** @param addresses tried first; else the DHT knows. @throws GossipError NOT_RUNNING, and whatever keeps libp2p from it */
export async function dialPeer(
  node: Node | null,
  peer: PeerId,
  addresses: readonly string[],
): Promise<void> {
  if (node === null) throw new GossipError("NOT_RUNNING", "gossip is not running");
  if (addresses.length > 0)
    await node.dial(addresses.map((address) => multiaddr(address))).catch(async () => {
      // The peer may have moved: then the DHT knows where to.
      await node.dial(toLibp2pPeerId(peer));
    });
  else await node.dial(toLibp2pPeerId(peer));
}

/** Peers near our own key, or near a random one, but for ourselves. */
export async function* closestPeers(
  node: Node | null,
  key: "self" | "random",
  signal: AbortSignal,
): AsyncIterable<PeerId> {
  if (node === null) return;
  const bytes = key === "self" ? node.peerId.toMultihash().bytes : randomBytes(32);
  for await (const { id } of node.peerRouting.getClosestPeers(bytes, { signal })) {
    const peer = toPeerId(id);
    if (peer !== null && !id.equals(node.peerId)) yield peer;
  }
}

/** Out of the mesh and disconnected, at once. */
export function cutPeer(node: Node, peer: PeerId): void {
  // Out of the mesh first, so that nothing more is forwarded to it.
  for (const mesh of node.services.router.mesh.values()) mesh.delete(peer);
  // Aborted, not closed: an orderly close would wait for the peer's part in it.
  for (const connection of node.getConnections(toLibp2pPeerId(peer)))
    connection.abort(new Error("peer is shut out"));
}
