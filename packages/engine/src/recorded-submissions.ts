import {
  type AttemptKind,
  bytesToHex,
  hash,
  type StepAttempt,
  type StepItem,
  type StepOutcome,
  type StepSlot,
} from "@quorate/core";
import type {
  EnqueueOutcome,
  FencedOutcome,
  RecordItem,
  SenderLease,
  Slot,
  StepLog,
  SubmissionStore,
} from "@quorate/ports";
import { overriding } from "./port-overrides.ts";
import { recordedCall } from "./recorded-call.ts";

/** The submitter's memory with every write that moves a submission, a nonce or the lead on record. Not the advisory ones. */
export function recordedSubmissions(store: SubmissionStore, log: StepLog): SubmissionStore {
  // Of the slots that are live, and so no more than a window holds.
  let read = new Set<string>();
  return overriding(store, {
    liveSlots: async (sender, options) => {
      const slots = await store.liveSlots(sender, options);
      const now = new Set<string>();
      for (const { nonce, attempts } of slots)
        for (const { raw } of attempts) {
          const bytes = digestOf(raw);
          now.add(bytes);
          if (!read.has(bytes)) log.saw({ what: "stored", nonce: nonce.toString(), bytes });
        }
      read = now;
      return slots;
    },
    becomeLeader: (sender, floor, options) =>
      recordedCall(
        log,
        [
          {
            op: "pg.lead",
            chainId: sender.chainId,
            sender: sender.address,
            floor: floor.toString(),
          },
        ],
        () => store.becomeLeader(sender, floor, options),
        ({ leaderEpoch }) => [{ kind: "leads", lease: leaderEpoch.toString() }],
      ),
    enqueue: (submissions, sender, options) =>
      recordedCall(
        log,
        submissions.map(({ txId, value, decisionRevision }) => ({
          op: "pg.enqueue",
          txId,
          value: value.toString(),
          decisionRevision: decisionRevision.toString(),
        })),
        () => store.enqueue(submissions, sender, options),
        (outcomes) => outcomes.map(enqueuedAs),
      ),
    assign: (lease, request, options) =>
      recordedCall(
        log,
        [{ op: "pg.assign", lease: leaseOf(lease), items: request.items.map(itemOf) }],
        (calls) =>
          store.assign(
            lease,
            {
              ...request,
              sign: async (nonce, items) => {
                const signed = await request.sign(nonce, items);
                // Told from inside: of a commit whose reply is lost nobody would know what it took.
                for (const call of calls)
                  log.note(call, {
                    nonce: nonce.toString(),
                    items: items.map(itemOf),
                    attempt: attemptOf({ ...signed, kind: "ORIGINAL" }),
                  });
                return signed;
              },
            },
            options,
          ),
        (outcome) => [outcome.kind === "assigned" ? taken(outcome.slot) : refused(outcome.kind)],
      ),
    reserve: (lease, request, options) =>
      recordedCall(
        log,
        [{ op: "pg.reserve", lease: leaseOf(lease), items: request.items.map(itemOf) }],
        () => store.reserve(lease, request, options),
        (outcome) => [outcome.kind === "reserved" ? taken(outcome.slot) : refused(outcome.kind)],
      ),
    addAttempt: (lease, nonce, attempt, options) =>
      recordedCall(
        log,
        [{ op: "pg.attempt", ...nonceOf(lease, nonce), attempt: attemptOf(attempt) }],
        () => store.addAttempt(lease, nonce, attempt, options),
        fencedOr,
      ),
    markIncluded: (lease, nonce, inclusion, options) =>
      recordedCall(
        log,
        [
          {
            op: "pg.include",
            ...nonceOf(lease, nonce),
            hash: inclusion.hash,
            blockNumber: inclusion.blockNumber.toString(),
            blockHash: inclusion.blockHash,
            status: inclusion.status,
          },
        ],
        () => store.markIncluded(lease, nonce, inclusion, options),
        fencedOr,
      ),
    markReorged: (lease, nonce, reason, options) =>
      recordedCall(
        log,
        [{ op: "pg.reorg", ...nonceOf(lease, nonce) }],
        () => store.markReorged(lease, nonce, reason, options),
        fencedOr,
      ),
    markFinalized: (lease, nonce, final, options) =>
      recordedCall(
        log,
        [
          {
            op: "pg.finalize",
            ...nonceOf(lease, nonce),
            state: final.state,
            items: final.items.map(({ txId, outcome }) => ({ txId, outcome })),
            requeuesMax: final.requeuesMax,
          },
        ],
        () => store.markFinalized(lease, nonce, final, options),
        fencedOr,
      ),
    markAlreadyRecorded: (lease, txId, blockNumber, options) =>
      recordedCall(
        log,
        [{ op: "pg.settle", lease: leaseOf(lease), txId, blockNumber: blockNumber.toString() }],
        () => store.markAlreadyRecorded(lease, txId, blockNumber, options),
        fencedOr,
      ),
    quarantine: (lease, txId, reason, options) =>
      recordedCall(
        log,
        [{ op: "pg.quarantine", lease: leaseOf(lease), txId }],
        () => store.quarantine(lease, txId, reason, options),
        fencedOr,
      ),
    abortQueued: (lease, txIds, reason, options) =>
      recordedCall(
        log,
        txIds.length === 0 ? [] : [{ op: "pg.abort", lease: leaseOf(lease), txIds }],
        () => store.abortQueued(lease, txIds, reason, options),
        (outcome) => [
          outcome.kind === "done"
            ? { kind: "aborted", txIds: outcome.aborted }
            : { kind: "fenced" },
        ],
      ),
    release: (txId, by, reason, options) =>
      recordedCall(
        log,
        [{ op: "pg.release", txId }],
        () => store.release(txId, by, reason, options),
        (outcome) => [outcome === "released" ? done : { kind: "nothing", why: outcome }],
      ),
    raiseFloor: (lease, floor, options) =>
      recordedCall(
        log,
        [{ op: "pg.floor", lease: leaseOf(lease), floor: floor.toString() }],
        () => store.raiseFloor(lease, floor, options),
        fencedOr,
      ),
    markHistoryChecked: (lease, options) =>
      recordedCall(
        log,
        [{ op: "pg.checked", lease: leaseOf(lease) }],
        () => store.markHistoryChecked(lease, options),
        fencedOr,
      ),
    importRecords: (lease, records, throughBlock, options) =>
      recordedCall(
        log,
        [{ op: "pg.import", lease: leaseOf(lease), throughBlock: throughBlock.toString() }],
        () => store.importRecords(lease, records, throughBlock, options),
        (outcome) => [
          outcome.kind === "fenced"
            ? { kind: "fenced" }
            : {
                kind: "imported",
                settled: outcome.settled,
                contradicted: outcome.contradicted,
              },
        ],
      ),
    freeze: (sender, reason, options) =>
      recordedCall(
        log,
        [{ op: "pg.freeze", chainId: sender.chainId, sender: sender.address }],
        () => store.freeze(sender, reason, options),
        (there) => [there ? done : { kind: "nothing", why: "no such sender" }],
      ),
    thaw: (sender, by, options) =>
      recordedCall(
        log,
        [{ op: "pg.thaw", chainId: sender.chainId, sender: sender.address }],
        () => store.thaw(sender, by, options),
        (there) => [there ? done : { kind: "nothing", why: "no such sender" }],
      ),
    markConfirmed: (txIds, options) =>
      recordedCall(
        log,
        txIds.length === 0 ? [] : [{ op: "pg.confirm", txIds }],
        () => store.markConfirmed(txIds, options),
        () => [done],
      ),
  });
}

const digestOf = (raw: Uint8Array): string => bytesToHex(hash(raw));
const done: StepOutcome = { kind: "done" };
const leaseOf = ({ leaderEpoch }: SenderLease): string => leaderEpoch.toString();
const nonceOf = (lease: SenderLease, nonce: bigint): { lease: string; nonce: string } => ({
  lease: leaseOf(lease),
  nonce: nonce.toString(),
});
const itemOf = ({ txId, value }: RecordItem): StepItem => ({ txId, value: value.toString() });
const fencedOr = (outcome: FencedOutcome): readonly StepOutcome[] => [{ kind: outcome }];
const refused = (why: string): StepOutcome =>
  why === "fenced" ? { kind: "fenced" } : { kind: "nothing", why };

function enqueuedAs(outcome: EnqueueOutcome): StepOutcome {
  const state = outcome.kind === "exists" ? outcome.state : null;
  return { kind: "enqueued", as: outcome.kind, state };
}

function attemptOf(attempt: {
  readonly kind: AttemptKind;
  readonly hash: string;
  readonly raw: Uint8Array;
}): StepAttempt {
  return { kind: attempt.kind, hash: attempt.hash, bytes: digestOf(attempt.raw) };
}

function taken(slot: Slot): StepOutcome {
  const read: StepSlot = {
    nonce: slot.nonce.toString(),
    items: slot.items.map(itemOf),
    attempts: slot.attempts.map(attemptOf),
  };
  return { kind: "taken", slot: read };
}
