/** One endpoint's counts for an account. */
export interface AccountCounts {
  readonly latest: bigint;
  readonly pending: bigint;
}

/** Transactions of one account that pools hold beyond the chain: geth keeps 64 queued ones. */
const POOLED_MAX = 64n;

/**
 * The highest count that any endpoint names, but never more than a pool holds above what two of them bear out. A
 * nonce is never given back, so one endpoint that lies must not be able to push it out of reach: what it can make
 * are gaps, and gaps are filled.
 * @param counts of every endpoint that answered; with one it is that one's word
 */
export function nonceFloorOf(counts: readonly AccountCounts[]): bigint {
  const latest = counts.map((c) => c.latest).toSorted((a, b) => (a < b ? 1 : a > b ? -1 : 0));
  const borneOut = latest[1] ?? latest[0] ?? 0n;
  const limit = borneOut + POOLED_MAX;
  return counts.reduce((floor, { latest: mined, pending }) => {
    const named = mined > pending ? mined : pending;
    const taken = named < limit ? named : limit;
    return taken > floor ? taken : floor;
  }, 0n);
}
