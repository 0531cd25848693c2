import type { ConnectionGater, PeerId as Libp2pPeerId } from "@libp2p/interface";
import type { PeerId } from "@quorate/core";
import { toPeerId } from "./identity.ts";

/**
 * Refuses a banned peer at every door that knows a peer id: dialling, both ends of the
 * handshake, both ends of the upgrade, and relays. A peer that is not Ed25519 is refused
 * too: it cannot be a member, and its signatures cost more to check.
 * @see spec §3.3
 */
export function banGater(isBanned: (peer: PeerId) => boolean): ConnectionGater {
  const denied = (peer: Libp2pPeerId): boolean => {
    const id = toPeerId(peer);
    return id === null || isBanned(id);
  };
  return {
    denyDialPeer: denied,
    denyOutboundConnection: denied,
    denyInboundEncryptedConnection: denied,
    denyOutboundEncryptedConnection: denied,
    denyInboundUpgradedConnection: denied,
    denyOutboundUpgradedConnection: denied,
    denyInboundRelayReservation: denied,
    denyOutboundRelayedConnection: (source, destination) => denied(source) || denied(destination),
    denyInboundRelayedConnection: (relay, remote) => denied(relay) || denied(remote),
    // Addresses of a banned peer are not even remembered when others speak of it.
    filterMultiaddrForPeer: (peer) => !denied(peer),
  };
}
