import type {
  ConnectionGater,
  PeerId as Libp2pPeerId,
  MultiaddrConnection,
} from "@libp2p/interface";
import type { PeerId } from "@quorate/core";
import type { FrontDoor } from "./front-door.ts";
import { toPeerId } from "./identity.ts";

export interface GaterRules {
  /** Banned or muted. */
  readonly isShut: (peer: PeerId) => boolean;
  /** Whether a connection with this peer would find a place; a known peer always does. */
  readonly hasPlace: (peer: PeerId) => boolean;
  readonly isKnown: (peer: PeerId) => boolean;
  readonly door: Pick<FrontDoor, "admit" | "settle">;
}

/**
 * Refuses a shut-out peer at every door that knows a peer id: dialling, both ends of the
 * handshake, both ends of the upgrade, and relays. A peer that is not Ed25519 is refused
 * too: it cannot be a member, and its signatures cost more to check. Strangers are refused
 * when their share of the connections is used up, and get no place on our relay, for there
 * are only fifteen.
 * @see spec §3.3
 */
export function banGater(rules: GaterRules): ConnectionGater {
  const denied = (peer: Libp2pPeerId): boolean => {
    const id = toPeerId(peer);
    return id === null || rules.isShut(id);
  };
  const crowded = (peer: Libp2pPeerId): boolean => {
    const id = toPeerId(peer);
    return id === null || rules.isShut(id) || !rules.hasPlace(id);
  };
  return {
    denyInboundConnection: (connection) => {
      if (!rules.door.admit(connection, connection.remoteAddr)) return true;
      connection.addEventListener("close", () => rules.door.settle(connection), { once: true });
      return false;
    },
    denyDialPeer: crowded,
    denyOutboundConnection: denied,
    denyInboundEncryptedConnection: (peer, connection: MultiaddrConnection) => {
      rules.door.settle(connection);
      return crowded(peer);
    },
    denyOutboundEncryptedConnection: denied,
    denyInboundUpgradedConnection: denied,
    denyOutboundUpgradedConnection: denied,
    denyInboundRelayReservation: (peer) => {
      const id = toPeerId(peer);
      return id === null || rules.isShut(id) || !rules.isKnown(id);
    },
    denyOutboundRelayedConnection: (source, destination) => denied(source) || denied(destination),
    denyInboundRelayedConnection: (relay, remote) => denied(relay) || denied(remote),
    // Addresses of a banned peer are not even remembered when others speak of it.
    filterMultiaddrForPeer: (peer) => !denied(peer),
  };
}
