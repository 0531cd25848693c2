import { assert, equalBytes, isLiveSlot, LIMITS } from "@quorate/core";
import type { RecordItem, Sender, SenderLease, SubmissionStore } from "@quorate/ports";

import {
  carriesBatch,
  isOpen,
  type NewAttempt,
  refused,
  type SenderRow,
  type SlotRow,
  type SubmissionRow,
  type SubmissionTables,
  senderKey,
  slotKey,
  slotOf,
} from "./memory-submission-store-tables.ts";

const GAPFILL_GAS_LIMIT = 21_000n;

type Final = Parameters<SubmissionStore["markFinalized"]>[2];

/** What takes nonces and follows them. */
export function slotCalls(
  tables: SubmissionTables,
): Pick<
  SubmissionStore,
  | "assign"
  | "reserve"
  | "addAttempt"
  | "gaps"
  | "liveSlots"
  | "strandedSlots"
  | "noteSent"
  | "markIncluded"
  | "markReorged"
  | "markFinalized"
> {
  return {
    assign: (lease, request, options = {}) =>
      tables.run<Awaited<ReturnType<SubmissionStore["assign"]>>>("assign", options, async () => {
        const claim = claimed(tables, lease, request);
        if ("kind" in claim) return claim;
        const { rows, sender } = claim;
        const nonce = sender.nextNonce;
        const items = rows.map(({ txId, value }) => ({ txId, value }));
        const signed = await request.sign(nonce, items);
        options.signal?.throwIfAborted();
        // From here to the end nothing waits and nothing throws: the commit.
        const slot = take(tables, lease, claim, request.gasLimit, "SIGNED");
        tables.addAttempt(slot, { ...signed, kind: "ORIGINAL" });
        return { kind: "assigned", slot: slotOf(slot) };
      }),

    reserve: (lease, request, options = {}) =>
      tables.run<Awaited<ReturnType<SubmissionStore["reserve"]>>>("reserve", options, () => {
        const claim = claimed(tables, lease, request);
        if ("kind" in claim) return claim;
        const slot = take(tables, lease, claim, request.gasLimit, "RESERVED");
        return { kind: "reserved", slot: slotOf(slot) };
      }),

    addAttempt: (lease, nonce, attempt, options = {}) =>
      tables.fenced("addAttempt", lease, options, (sender) => {
        const owner = tables.attempts.get(attempt.hash);
        if (owner !== undefined) {
          const stored = owner.attempts.find(({ row }) => row.hash === attempt.hash)?.row.raw;
          const mine = owner === tables.slots.get(slotKey(lease, nonce));
          if (mine && stored !== undefined && equalBytes(stored, attempt.raw)) return;
          throw refused(`attempt ${attempt.hash} is stored with other bytes or another nonce`);
        }
        const slot =
          tables.slots.get(slotKey(lease, nonce)) ?? openGap(tables, lease, sender, nonce, attempt);
        checkTakes(slot, attempt);
        if (slot.state === "RESERVED") tables.moveSlot(slot, "SIGNED", lease, "signed");
        tables.addAttempt(slot, attempt);
      }),

    gaps: (sender, from, limit, options = {}) =>
      tables.run("gaps", options, () => {
        const next = tables.senders.get(senderKey(sender))?.nextNonce ?? 0n;
        const gaps: bigint[] = [];
        for (let nonce = from; nonce < next && gaps.length < limit; nonce += 1n) {
          if (!tables.slots.has(slotKey(sender, nonce))) gaps.push(nonce);
        }
        return gaps;
      }),

    liveSlots: (sender, options = {}) =>
      tables.run("liveSlots", options, () => liveSlotsOf(tables, sender).map(slotOf)),

    strandedSlots: ({ chainId, address }, options = {}) =>
      tables.run("strandedSlots", options, () => {
        const live = [...tables.slots.values()].filter(({ state }) => isLiveSlot(state));
        return live.filter(({ sender: other }) => {
          return other.chainId === chainId && other.address !== address;
        }).length;
      }),

    noteSent: (hash, _outcome, options = {}) =>
      tables.run("noteSent", options, () => {
        const attempt = tables.attempts.get(hash)?.attempts.find(({ row }) => row.hash === hash);
        if (attempt !== undefined) attempt.sentCount += 1;
      }),

    markIncluded: (lease, nonce, inclusion, options = {}) =>
      tables.fenced("markIncluded", lease, options, () => {
        const slot = slotAt(tables, lease, nonce);
        const { hash, blockNumber, blockHash, status } = inclusion;
        if (!isLiveSlot(slot.state)) {
          if (slot.included?.hash === hash) return;
          throw refused(`slot ${nonce} is ${slot.state} and cannot be included by ${hash}`);
        }
        const mined = slot.attempts.find(({ row }) => row.hash === hash)?.row;
        if (mined === undefined) {
          throw refused(`transaction ${hash} is no attempt of nonce ${nonce}`);
        }
        if (slot.included?.blockHash !== blockHash || slot.state !== "INCLUDED") {
          const reason = "receipt in a canonical block";
          tables.moveSlot(slot, "INCLUDED", lease, reason, blockNumber);
        }
        slot.included = { hash, blockNumber, blockHash };
        const records = carriesBatch(mined.kind) && status === "success";
        const [from, to] = records
          ? (["ASSIGNED", "INCLUDED"] as const)
          : (["INCLUDED", "ASSIGNED"] as const);
        for (const row of tables.submissionsOf(slot)) {
          if (row.state === from) tables.move(row, to);
        }
      }),

    markReorged: (lease, nonce, reason, options = {}) =>
      tables.fenced("markReorged", lease, options, () => {
        const slot = slotAt(tables, lease, nonce);
        if (slot.state === "SIGNED" || slot.state === "RESERVED") return;
        if (!isLiveSlot(slot.state)) {
          throw refused(`slot ${nonce} is ${slot.state}, which no reorg undoes`);
        }
        tables.moveSlot(slot, "SIGNED", lease, reason);
        slot.included = null;
        for (const row of tables.submissionsOf(slot)) {
          if (row.state === "INCLUDED") tables.move(row, "ASSIGNED");
        }
      }),

    markFinalized: (lease, nonce, final, options = {}) =>
      tables.fenced("markFinalized", lease, options, () =>
        finalizeSlot(tables, lease, slotAt(tables, lease, nonce), final),
      ),
  };
}

interface Claim {
  readonly sender: SenderRow;
  readonly rows: readonly SubmissionRow[];
}

type ClaimRequest = Parameters<SubmissionStore["reserve"]>[1];
type Refusal = Exclude<
  Awaited<ReturnType<SubmissionStore["reserve"]>>,
  { readonly kind: "reserved" }
>;

function claimed(
  tables: SubmissionTables,
  lease: SenderLease,
  request: ClaimRequest,
): Claim | Refusal {
  assert(request.items.length <= LIMITS.chainBatchMax, "a batch has at most chainBatchMax items");
  const sender = tables.held(lease);
  if (sender === null) return { kind: "fenced" };
  if (sender.frozen !== null || !sender.historyChecked) return { kind: "frozen" };
  const unmined = liveSlotsOf(tables, lease).filter(({ state }) => state !== "INCLUDED");
  if (unmined.length >= request.windowMax) return { kind: "window-full" };
  const rows = claimable(tables, lease, request.items);
  return rows.length === 0 ? { kind: "nothing-queued" } : { sender, rows };
}

function claimable(
  tables: SubmissionTables,
  lease: SenderLease,
  wanted: readonly RecordItem[],
): readonly SubmissionRow[] {
  const rows = new Set<SubmissionRow>();
  for (const { txId, value } of wanted) {
    const row = tables.submissions.get(txId);
    if (row?.state === "QUEUED" && row.value === value && row.chainId === lease.chainId) {
      rows.add(row);
    }
  }
  return [...rows];
}

function take(
  tables: SubmissionTables,
  lease: SenderLease,
  { sender, rows }: Claim,
  gasLimit: bigint,
  state: "SIGNED" | "RESERVED",
): SlotRow {
  const nonce = sender.nextNonce;
  const items = rows.map(({ txId, value }) => ({ txId, value }));
  const reason = state === "SIGNED" ? "assigned" : "reserved";
  const slot = tables.openSlot(lease, { nonce, items, gasLimit, state }, reason);
  for (const row of rows) {
    tables.move(row, "ASSIGNED");
    row.slot = slot;
  }
  sender.nextNonce += 1n;
  return slot;
}

function openGap(
  tables: SubmissionTables,
  lease: SenderLease,
  sender: SenderRow,
  nonce: bigint,
  { kind }: NewAttempt,
): SlotRow {
  if (kind !== "GAPFILL") throw refused(`nonce ${nonce} has no slot to add a ${kind} to`);
  if (nonce >= sender.nextNonce) throw refused(`nonce ${nonce} was never taken and is no gap`);
  return tables.openSlot(
    lease,
    { nonce, items: [], gasLimit: GAPFILL_GAS_LIMIT, state: "SIGNED" },
    "a nonce nobody used is filled",
  );
}

function checkTakes(slot: SlotRow, { kind }: NewAttempt): void {
  const { nonce, state } = slot;
  if (!isLiveSlot(state)) throw refused(`slot ${nonce} is final and takes no more attempts`);
  if ((kind === "ORIGINAL") !== (state === "RESERVED")) {
    throw refused(`slot ${nonce} is ${state} and takes no ${kind}`);
  }
  if (kind === "GAPFILL" && slot.items.length > 0) {
    throw refused(`slot ${nonce} carries a batch and takes no ${kind}`);
  }
}

function liveSlotsOf(tables: SubmissionTables, sender: Sender): readonly SlotRow[] {
  return tables.slotsOf(sender).filter(({ state }) => isLiveSlot(state));
}

function slotAt(tables: SubmissionTables, sender: Sender, nonce: bigint): SlotRow {
  const slot = tables.slots.get(slotKey(sender, nonce));
  if (slot === undefined) throw refused(`nonce ${nonce} has no slot`);
  return slot;
}

function finalizeSlot(
  tables: SubmissionTables,
  lease: SenderLease,
  slot: SlotRow,
  final: Final,
): void {
  const { nonce } = slot;
  if (slot.state === final.state) return;
  if (!isLiveSlot(slot.state)) {
    throw refused(`slot ${nonce} is ${slot.state} and cannot become ${final.state}`);
  }
  if (slot.state === "RESERVED" && final.state !== "FINALIZED_FOREIGN") {
    throw refused(`slot ${nonce} was never signed and cannot become ${final.state}`);
  }
  const batch = new Set(slot.items.map(({ txId }) => txId));
  const outcomes = new Map(final.items.map((item) => [item.txId, item]));
  for (const txId of outcomes.keys()) {
    if (!batch.has(txId)) throw refused(`submission ${txId} is not in the batch of ${nonce}`);
  }
  const moving = tables.submissionsOf(slot).filter(({ state }) => isOpen(state));
  for (const { txId } of moving) {
    if (!outcomes.has(txId)) throw refused(`nothing is said of ${txId} in nonce ${nonce}`);
  }
  const blockNumber = final.blockNumber ?? slot.included?.blockNumber ?? null;
  tables.moveSlot(slot, final.state, lease, "final", blockNumber);
  for (const row of moving) {
    const item = outcomes.get(row.txId);
    assert(item !== undefined, "checked above");
    if (item.outcome === "finalized") tables.finalize(row, final.blockNumber, item.txHash);
    else if (item.outcome === "quarantine") {
      tables.move(row, "QUARANTINED", `found when nonce ${nonce} became ${final.state}`);
    } else requeue(tables, row, nonce, final);
  }
}

function requeue(
  tables: SubmissionTables,
  row: SubmissionRow,
  nonce: bigint,
  { state, requeuesMax }: Final,
): void {
  if (row.tries >= requeuesMax) {
    const reason = `nonce ${nonce} became ${state} without recording it, after ${row.tries} earlier tries`;
    tables.move(row, "QUARANTINED", reason);
    return;
  }
  // The state machine has no way from INCLUDED to QUEUED but through ASSIGNED.
  tables.move(row, "ASSIGNED");
  tables.requeue(row);
  row.tries += 1;
}
