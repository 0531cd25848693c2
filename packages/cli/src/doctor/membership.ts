import type { PeerId, TrusteeSet } from "@quorate/core";
import type { Presence } from "@quorate/ports";
import { check, type DoctorCheck } from "./check.ts";

/** Whether this node's key and name are in the trustee set, and not banned. */
export function checkMembership(facts: {
  readonly nodeId: string;
  readonly peerId: PeerId;
  readonly set: TrusteeSet;
  readonly bannedFor: string | null;
}): DoctorCheck {
  const { nodeId, peerId, set, bannedFor } = facts;
  const trustee = set.byPeerId.get(peerId);
  const named = set.trustees.find((t) => t.nodeId === nodeId);
  if (bannedFor !== null)
    return check(
      "membership",
      "fail",
      `${peerId} is banned: ${bannedFor}`,
      "see: quorate bans; a ban by opinion ends with quorate ban lift, one with proof with a new key only",
    );
  if (trustee !== undefined)
    return trustee.nodeId === nodeId
      ? check("membership", "ok", `${nodeId} is a trustee of epoch ${set.epoch}`)
      : check(
          "membership",
          "fail",
          `this key is ${trustee.nodeId}'s in the trustee set, and nodeId is ${nodeId}`,
          "another trustee's key file or nodeId is configured: never run two nodes with one key",
        );
  if (named !== undefined)
    return check(
      "membership",
      "fail",
      `the trustee set has another key for ${nodeId}: ${named.peerId}, not ${peerId}`,
      "see keyFile; to change a trustee's key see docs/TRUSTEES.md",
    );
  return check(
    "membership",
    "warn",
    `${nodeId} is no trustee: it may listen and has no vote`,
    `an operator admits it: quorate trustee add ${nodeId} --peer-id ${peerId} --evm-address …`,
  );
}

/** Whether all live nodes run this release. */
export function checkVersions(
  live: readonly Pick<Presence, "nodeId" | "version">[],
  own: string,
): DoctorCheck {
  const others = live.filter(({ version }) => version !== own);
  if (live.length === 0) return check("versions", "ok", `${own}; no node is up to compare with`);
  if (others.length === 0) return check("versions", "ok", `${own}, as ${live.length} live nodes`);
  const names = others.map(({ nodeId, version }) => `${nodeId} runs ${version}`).join(", ");
  return check(
    "versions",
    "warn",
    `this is ${own}; ${names}`,
    "bring all to one release, one node after the other; see docs/operators/UPGRADE.md",
  );
}

/** One key in two processes signs two values sooner or later, which is banned for good. */
export function checkTwin(facts: {
  readonly presence: Presence | null;
  /** Whether the node of this configuration runs on this machine. */
  readonly runsHere: boolean;
}): DoctorCheck | null {
  const { presence, runsHere } = facts;
  if (presence === null || runsHere) return null;
  return check(
    "one process",
    "warn",
    `a node with this key runs already, at ${presence.addresses.join(" ") || "an unknown address"}, and not on these ports`,
    "do not start a second one: two processes with one key and two journals can sign two values, and that ban is for good",
  );
}
