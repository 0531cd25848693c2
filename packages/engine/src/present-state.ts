import type { PeerId, TrusteeSets, TxId, Vote } from "@quorate/core";
import type { AbortOptions, Change, TallyStore } from "@quorate/ports";

/** Transactions read one after another between two yields: their votes are held in memory together. */
const PAGE_MAX = 100;
const VIOLATIONS_PAGE_MAX = 500;
/** More than a node tells at once; older receipts are on leases and going anyway. */
const RECEIPTS_MAX = 10_000;

/**
 * All that a store holds now, as the changes that would make it, in parts: transactions with their votes, violations, ends
 * of bans, bans, receipts. What changes meanwhile may be in it or not, so that a watch from a revision read
 * before must follow.
 */
export async function* presentState(
  store: TallyStore,
  options: AbortOptions,
): AsyncGenerator<readonly Change[], void, void> {
  yield* transactions(store, options);
  yield* violations(store, options);
  const bans: Change[] = (await store.readLifts(options)).map((lift) => ({ kind: "lift", lift }));
  for (const [peerId, ban] of (await store.readBans(options)).bans)
    bans.push({ kind: "ban", peerId, ban });
  yield bans;
  const receipts = await store.readReceipts(RECEIPTS_MAX, options);
  yield [{ kind: "receipts", receipts }];
}

async function* transactions(
  store: TallyStore,
  options: AbortOptions,
): AsyncGenerator<readonly Change[], void, void> {
  const { sets } = await store.readConfig(options);
  let after: TxId | null = null;
  for (;;) {
    const page = await store.listTransactions({ after, limit: PAGE_MAX }, options);
    const changes: Change[] = [];
    for (const { txId, status, record } of page) {
      const { snapshot } = await store.read(txId, options);
      for (const vote of snapshot.votes.values()) {
        const peerId = signerOf(sets, vote.vote);
        if (peerId !== null) changes.push({ kind: "vote", txId, vote, peerId });
      }
      changes.push({ kind: "status", txId, status, created: false });
      changes.push({ kind: "record", txId, record });
    }
    const last = page.at(-1);
    if (last === undefined) return;
    yield changes;
    after = last.txId;
  }
}

/** Whose key a vote was signed with; null when the trustees of its epoch are no longer kept. */
function signerOf(sets: TrusteeSets, { epoch, nodeId }: Vote): PeerId | null {
  const trustee = sets.get(epoch)?.trustees.find((candidate) => candidate.nodeId === nodeId);
  return trustee?.peerId ?? null;
}

async function* violations(
  store: TallyStore,
  options: AbortOptions,
): AsyncGenerator<readonly Change[], void, void> {
  let after: string | null = null;
  do {
    const page: Awaited<ReturnType<TallyStore["listViolations"]>> = await store.listViolations(
      { after, limit: VIOLATIONS_PAGE_MAX },
      options,
    );
    yield page.violations.map((violation) => ({ kind: "violation", violation }));
    after = page.next;
  } while (after !== null);
}
