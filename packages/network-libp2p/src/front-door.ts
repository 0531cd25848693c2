import { isIPv6 } from "node:net";
import type { Multiaddr } from "@multiformats/multiaddr";
import type { Clock } from "@quorate/ports";
import { LRUCache } from "lru-cache";
import type { GossipLimits } from "./options.ts";
import { TokenBuckets } from "./token-buckets.ts";

/** Hosts from which a known peer once came. More than trustees, for they move and have several. */
const KNOWN_HOSTS_MAX = 1_000;

type DoorLimits = Pick<
  GossipLimits,
  "inboundPendingMax" | "inboundPerSecondMax" | "inboundStrangersPerSecondMax"
>;

/**
 * Decides before the handshake, when only an address is known, who may try it: a
 * handshake costs milliseconds of CPU and a place for up to five seconds. Hosts from which
 * trustees have come have places of their own; the rest share theirs, and no host may
 * have more than half of them.
 *
 * Attackers on a trustee's own host (or behind its NAT) can't be told from it here and
 * share its places. That trustee still gets in by being dialled, which nothing limits.
 */
export class FrontDoor {
  readonly #limits: DoorLimits;
  readonly #pending = new Map<object, string>();
  readonly #pendingByHost = new Map<string, number>();
  readonly #knownHosts = new LRUCache<string, true>({ max: KNOWN_HOSTS_MAX });
  readonly #unknown: TokenBuckets;
  #unknownPending = 0;

  constructor(limits: DoorLimits, deps: { readonly clock: Clock }) {
    this.#limits = limits;
    // Twice the rate at once: a whole cluster may start within a second.
    this.#unknown = new TokenBuckets(
      {
        messagesPerSecond: limits.inboundStrangersPerSecondMax,
        messagesBurst: 2 * limits.inboundStrangersPerSecondMax,
        bytesPerSecond: 1,
        bytesBurst: 0,
        bucketsMax: 1,
      },
      deps,
    );
  }

  /** Connections in handshake. */
  get pendingCount(): number {
    return this.#pending.size;
  }

  /** Whether this connection may try a handshake; if so it counts until `settle`. */
  admit(connection: object, address: Multiaddr): boolean {
    const host = hostOf(address);
    const ofHost = this.#pendingByHost.get(host) ?? 0;
    if (ofHost >= this.#limits.inboundPendingMax / 2) return false;
    const isKnown = this.#knownHosts.get(host) === true;
    if (!isKnown) {
      if (this.#unknownPending >= this.#limits.inboundPendingMax) return false;
      if (!this.#unknown.take("all", 1)) return false;
      this.#unknownPending++;
    }
    // What became of an unknown host meanwhile must not upset the count.
    this.#pending.set(connection, isKnown ? `known ${host}` : host);
    this.#pendingByHost.set(host, ofHost + 1);
    return true;
  }

  /** The handshake is over, well or not. Idempotent. */
  settle(connection: object): void {
    const noted = this.#pending.get(connection);
    if (noted === undefined) return;
    this.#pending.delete(connection);
    const isKnown = noted.startsWith("known ");
    if (!isKnown) this.#unknownPending--;
    const host = isKnown ? noted.slice("known ".length) : noted;
    const left = (this.#pendingByHost.get(host) ?? 1) - 1;
    if (left === 0) this.#pendingByHost.delete(host);
    else this.#pendingByHost.set(host, left);
  }

  /** A known peer is connected from there. */
  welcome(address: Multiaddr): void {
    this.#knownHosts.set(hostOf(address), true);
  }
}

/** The host of an address; for IPv6 the network of 64 bits that one party has to itself. */
export function hostOf(address: Multiaddr): string {
  const components = address.getComponents();
  // Who comes by a relay has no host that we can see, and all of them share one.
  if (components.some(({ name }) => name === "p2p-circuit")) return "relayed";
  const host = components[0]?.value ?? "unknown";
  if (!isIPv6(host)) return host;
  const [head = "", tail] = host.split("::");
  const groups = head === "" ? [] : head.split(":");
  if (tail !== undefined) {
    const rest = tail === "" ? [] : tail.split(":");
    while (groups.length + rest.length < 8) groups.push("0");
    groups.push(...rest);
  }
  // An IPv4 host as a dual-stack socket names it (::ffff:1.2.3.4): one host, not all of them one.
  const first = groups.findIndex((group) => Number.parseInt(group, 16) !== 0);
  if (first >= 5 && groups[first]?.toLowerCase() === "ffff")
    return `mapped ${groups.slice(first + 1).join(":")}`;
  return groups
    .slice(0, 4)
    .map((group) => Number.parseInt(group, 16).toString(16))
    .join(":");
}
