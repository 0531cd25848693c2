import type { BanLift, Violation } from "@quorate/core";
import { type BanEntry, type Change, StoreError, type ViolationsPage } from "@quorate/ports";
import type { OpenViolation, SharedTally } from "./memory-tally-shared.ts";

const liftKey = ({ peerId, liftedAtMs }: BanLift): string => `${peerId}/${liftedAtMs}`;
const isSame = (a: BanLift, b: BanLift): boolean => liftText(a) === liftText(b);

function liftText(lift: BanLift): string {
  const { peerId, nodeId, kind, by, reason, liftedAtMs, banReason } = lift;
  return JSON.stringify([peerId, nodeId, kind, by, reason, liftedAtMs, banReason]);
}

/** Bans unless the peer is banned already, except for an OPINION where this is a PROOF. */
export function recordBan(shared: SharedTally, ban: BanEntry): boolean {
  const before = shared.bans.get(ban.peerId)?.ban;
  if (before !== undefined && (before.grade === "PROOF" || ban.grade === "OPINION")) return false;
  setBan(shared, ban);
  shared.publish([{ kind: "ban", peerId: ban.peerId, ban }]);
  return true;
}

/** Part of a mutation: its caller publishes. */
export function setBan(shared: SharedTally, ban: BanEntry): void {
  shared.bans.set(ban.peerId, { ban, version: shared.nextRevision });
}

/** The last step of a mutation that ends a ban. */
function endBan(shared: SharedTally, lift: BanLift): void {
  const { peerId } = lift;
  shared.bans.delete(peerId);
  shared.lifts.set(liftKey(lift), lift);
  shared.publish([
    { kind: "ban", peerId, ban: null },
    { kind: "lift", lift },
  ]);
}

function refuseTwin(lift: BanLift): never {
  throw new StoreError("REFUSED", `another end of ${lift.peerId}'s ban has the same time`, {
    retryable: false,
  });
}

export function liftBan(shared: SharedTally, lift: BanLift): "lifted" | "not-banned" | "permanent" {
  const stored = shared.lifts.get(liftKey(lift));
  if (stored !== undefined && isSame(stored, lift)) return "lifted";
  const banned = shared.bans.get(lift.peerId);
  if (banned === undefined) return "not-banned";
  if (banned.ban.grade === "PROOF") return "permanent";
  if (stored !== undefined) refuseTwin(lift);
  const nodeId = lift.nodeId ?? banned.ban.nodeId;
  if (nodeId !== null) shared.streaks.set(nodeId, 0);
  endBan(shared, lift);
  return "lifted";
}

export function strikeBan(shared: SharedTally, lift: BanLift, version: bigint): boolean {
  const stored = shared.lifts.get(liftKey(lift));
  if (stored !== undefined && isSame(stored, lift)) return true;
  if (shared.bans.get(lift.peerId)?.version !== version) return false;
  if (stored !== undefined) refuseTwin(lift);
  endBan(shared, lift);
  return true;
}

export function liftsOldestFirst(shared: SharedTally): readonly BanLift[] {
  return [...shared.lifts.values()].sort(
    (a, b) => a.liftedAtMs - b.liftedAtMs || (a.peerId < b.peerId ? -1 : 1),
  );
}

export function recordViolation(
  shared: SharedTally,
  { violation, ban }: { readonly violation: OpenViolation; readonly ban: BanEntry },
): boolean {
  const { txId, peerId } = violation;
  const key = violationKey(violation);
  const known = shared.transactions.get(txId)?.violations ?? shared.strayViolations;
  if (known.has(key) || shared.strayViolations.has(key)) return false;
  known.set(key, violation);
  const changes: Change[] = [{ kind: "violation", violation }];
  const before = shared.bans.get(peerId)?.ban;
  if (before === undefined || (before.grade === "OPINION" && ban.grade === "PROOF")) {
    setBan(shared, ban);
    changes.push({ kind: "ban", peerId, ban });
  }
  shared.publish(changes);
  return true;
}

export const violationKey = ({
  txId,
  peerId,
  type,
}: Pick<Violation, "txId" | "peerId" | "type">): string => `${txId}/${peerId}/${type}`;

const CURSOR_PREFIX = "violations/";

export function pageOfViolations(
  shared: SharedTally,
  { after, limit }: { readonly after: string | null; readonly limit: number },
): ViolationsPage {
  const from = after === null ? "" : Buffer.from(after, "base64url").toString("latin1");
  const isCursor = Buffer.from(from, "latin1").toString("base64url") === after;
  if (after !== null && !(isCursor && from.startsWith(CURSOR_PREFIX)))
    throw new StoreError("REFUSED", "unknown place to continue the list at", { retryable: false });
  const all = new Map(shared.strayViolations);
  for (const { violations } of shared.transactions.values())
    for (const [key, violation] of violations) all.set(key, violation);
  const rest = [...all]
    .filter(([key]) => `${CURSOR_PREFIX}${key}` > from)
    .sort(([a], [b]) => (a < b ? -1 : 1));
  const page = rest.slice(0, limit);
  const last = rest.length > limit ? page.at(-1) : undefined;
  return {
    violations: page.map(([, violation]) => violation),
    next:
      last === undefined
        ? null
        : Buffer.from(`${CURSOR_PREFIX}${last[0]}`, "latin1").toString("base64url"),
  };
}
