import { connect } from "node:net";
import { check, type DoctorCheck } from "./check.ts";

/** A host and port to dial. */
export interface DialTarget {
  readonly host: string;
  readonly port: number;
}

/** A peer and whether any of its addresses takes a TCP connection. */
export interface PeerReach {
  readonly name: string;
  readonly reachable: boolean;
  readonly addresses: readonly string[];
}

const DIAL_TIMEOUT_MS = 3_000;
const MULTIADDR = /^\/(?:ip4|ip6|dns|dns4|dns6)\/([^/]+)\/tcp\/(\d+)(?:\/p2p\/([^/]+))?$/;

/** Where a TCP multiaddr leads, or null when it is none, as a relayed one. */
export function dialTarget(
  multiaddr: string,
): (DialTarget & { readonly peerId: string | null }) | null {
  const [, host, port, peerId = null] = MULTIADDR.exec(multiaddr) ?? [];
  return host === undefined ? null : { host, port: Number(port), peerId };
}

/** Whether something takes a TCP connection there. Nothing is said to it. */
export async function canDial({ host, port }: DialTarget): Promise<boolean> {
  const settled = Promise.withResolvers<boolean>();
  const socket = connect({ host, port, timeout: DIAL_TIMEOUT_MS });
  socket.once("connect", () => settled.resolve(true));
  socket.once("timeout", () => settled.resolve(false));
  socket.once("error", () => settled.resolve(false));
  try {
    return await settled.promise;
  } finally {
    socket.destroy();
  }
}

/** Dials each of a peer's addresses until one answers. */
export async function reach(name: string, addresses: readonly string[]): Promise<PeerReach> {
  const targets = addresses.map(dialTarget).filter((target) => target !== null);
  const answers = await Promise.all(targets.map(canDial));
  return { name, reachable: answers.includes(true), addresses };
}

/**
 * @param live nodes that are up, as etcd knows
 * @param bootstrap the addresses of the configuration
 */
export function checkPeers(
  live: readonly PeerReach[],
  bootstrap: readonly PeerReach[],
): DoctorCheck {
  const open =
    "let this machine dial the others' network ports (firewall, DNS), and see network.announce of theirs";
  const away = live.filter(({ reachable }) => !reachable);
  const names = away.map(({ name, addresses }) => `${name} (${addresses.join(" ")})`).join(", ");
  if (live.length > 0 && away.length === live.length)
    return check(
      "peers",
      "fail",
      `none of ${live.length} live nodes can be reached: ${names}`,
      open,
    );
  if (away.length > 0) return check("peers", "warn", `not reached: ${names}`, open);
  const shut = bootstrap.filter(({ reachable }) => !reachable).map(({ name }) => name);
  if (live.length > 0)
    return shut.length === 0
      ? check("peers", "ok", `${live.length} live nodes reached`)
      : check(
          "peers",
          shut.length === bootstrap.length ? "warn" : "ok",
          `${live.length} live nodes reached; of network.bootstrap not: ${shut.join(", ")}`,
          shut.length === bootstrap.length
            ? "name addresses in network.bootstrap that lead to running nodes"
            : null,
        );
  if (bootstrap.length === 0)
    return check(
      "peers",
      "warn",
      "no other node is up, and network.bootstrap is empty",
      "name two or three nodes in network.bootstrap",
    );
  return shut.length < bootstrap.length
    ? check(
        "peers",
        "ok",
        `${bootstrap.length - shut.length} of ${bootstrap.length} bootstrap addresses answer`,
      )
    : check(
        "peers",
        "warn",
        "no other node is up, as far as etcd and network.bootstrap tell",
        "start the others; a node alone waits for them",
      );
}
