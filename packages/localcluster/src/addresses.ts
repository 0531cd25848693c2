/** Where one node listens and how the others reach it. */
export interface NodeAddresses {
  /** Multiaddr to listen on. */
  readonly listen: string;
  /** Multiaddr under which others dial it, without its peer id. */
  readonly reachable: string;
  readonly api: { readonly host: string; readonly port: number };
}

/** Where everybody in a cluster is. */
export interface AddressPlan {
  /** In the order of the trustees. */
  readonly nodes: readonly NodeAddresses[];
  readonly submitterApi: { readonly host: string; readonly port: number };
}

/** Submitter API at the base port, trustee i at base + i, its API a hundred above: 100 trustees do not collide. */
export const BASE_PORT_DEFAULT = 7_600;
/** The highest base port that leaves room for 100 trustees and their APIs. */
export const BASE_PORT_MAX = 65_535 - 200;
const API_PORT_OFFSET = 100;

const CONTAINER_NETWORK_PORT = 4_001;
const CONTAINER_API_PORT = 7_701;

/** All on 127.0.0.1, on the given ports: first the submitter's API, then network and API port of each node. */
export function loopbackAddresses(ports: {
  readonly submitterApi: number;
  readonly nodes: readonly { readonly network: number; readonly api: number }[];
}): AddressPlan {
  return {
    submitterApi: { host: "127.0.0.1", port: ports.submitterApi },
    nodes: ports.nodes.map(({ network, api }) => ({
      listen: `/ip4/127.0.0.1/tcp/${network}`,
      reachable: `/ip4/127.0.0.1/tcp/${network}`,
      api: { host: "127.0.0.1", port: api },
    })),
  };
}

/** The ports that belong to a base port. */
export function portsFrom(
  basePort: number,
  trustees: number,
): Parameters<typeof loopbackAddresses>[0] {
  return {
    submitterApi: basePort,
    nodes: Array.from({ length: trustees }, (_, i) => ({
      network: basePort + i + 1,
      api: basePort + API_PORT_OFFSET + i + 1,
    })),
  };
}

/** Each in a container of its own, known to the others by its node id as a DNS name. */
export function containerAddresses(nodeIds: readonly string[]): AddressPlan {
  const api = { host: "0.0.0.0", port: CONTAINER_API_PORT };
  return {
    submitterApi: api,
    nodes: nodeIds.map((nodeId) => ({
      listen: `/ip4/0.0.0.0/tcp/${CONTAINER_NETWORK_PORT}`,
      reachable: `/dns4/${nodeId}/tcp/${CONTAINER_NETWORK_PORT}`,
      api,
    })),
  };
}
