import { LIMITS } from "@quorate/core";

/**
 * The bounds of memory and rates while fuzzing. The real ones are for hours of traffic; a run of minutes
 * must fill every cache many times over, or nothing would be seen of one that has no bound.
 */
export const TIGHTENED = {
  voteSeenMax: 600,
  refusedVotesMax: 300,
  pendingVotesMax: 600,
  viewTransactionsMax: 300,
  authorAllowancesMax: 40,
  authorFrames: { perSecond: 30, burst: 15 },
  authorLoneTransactionsMax: 150,
} as const satisfies Partial<Record<keyof typeof LIMITS, unknown>>;

/** No collection of the node under test may grow beyond the largest bound and a frame's votes. */
export const COLLECTION_ENTRIES_MAX = 600 + 256;

/** @returns puts the real limits back. */
export function tightenLimits(): () => void {
  const before = Object.keys(TIGHTENED).map((name): readonly [string, unknown] => [
    name,
    Reflect.get(LIMITS, name),
  ]);
  for (const [name, value] of Object.entries(TIGHTENED)) Reflect.set(LIMITS, name, value);
  return () => {
    for (const [name, value] of before) Reflect.set(LIMITS, name, value);
  };
}
