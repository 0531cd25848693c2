import { assert, LIMITS, type Receipt } from "@quorate/core";
import type { SharedTally } from "./memory-tally-shared.ts";

/** Keeps what is not kept yet. */
export function recordReceipts(shared: SharedTally, receipts: readonly Receipt[]): void {
  const [first] = receipts;
  if (first === undefined) return;
  assert(
    receipts.length <= LIMITS.receiptsPerWriteMax,
    `at most ${LIMITS.receiptsPerWriteMax} receipts are written at once`,
  );
  for (const [at, receipt] of receipts.entries()) {
    assert(receipt.nodeId === first.nodeId, "receipts that are written at once are one node's");
    assert(receipt.runStartedAtMs === first.runStartedAtMs, "and of one run of it");
    assert(
      at === 0 || receipt.sequence > (receipts[at - 1]?.sequence ?? 0),
      "receipts come in the order of their sequence numbers",
    );
  }
  shared.expireReceipts();
  const keyOf = ({ nodeId, runStartedAtMs, sequence }: Receipt): string =>
    `${nodeId}/${runStartedAtMs}/${sequence}`;
  let rest = receipts;
  for (let head = rest[0]; head !== undefined; head = rest[0]) {
    const stored = shared.receipts.get(keyOf(head));
    if (stored === undefined) {
      shared.keepReceipts(keyOf(head), rest);
      shared.publish([{ kind: "receipts", receipts: rest }]);
      return;
    }
    const last = stored.receipts.at(-1)?.sequence ?? head.sequence;
    rest = rest.filter(({ sequence }) => sequence > last);
  }
}

export function newestReceipts(shared: SharedTally, limit: number): readonly Receipt[] {
  shared.expireReceipts();
  const newest: Receipt[] = [];
  for (const { receipts } of [...shared.receipts.values()].reverse()) {
    if (newest.length >= limit) break;
    newest.push(...receipts);
  }
  return newest.sort(newestFirst).slice(0, limit);
}

function newestFirst(a: Receipt, b: Receipt): number {
  return (
    b.issuedAtMs - a.issuedAtMs ||
    (a.nodeId === b.nodeId ? b.sequence - a.sequence : a.nodeId < b.nodeId ? -1 : 1)
  );
}
