import type { SubmissionStore } from "@quorate/ports";
import type { Pool } from "pg";

import { assign, reserve } from "./submission/assign.ts";
import { addAttempt, noteSent } from "./submission/attempts.ts";
import { importRecords } from "./submission/chain-records.ts";
import { markAlreadyRecorded, markFinalized, quarantine } from "./submission/finality.ts";
import { markIncluded, markReorged } from "./submission/inclusion.ts";
import {
  becomeLeader,
  isLeader,
  markHistoryChecked,
  raiseFloor,
  senderState,
} from "./submission/lease.ts";
import { freeze, release, thaw } from "./submission/operator.ts";
import { abortQueued, counts, enqueue, markConfirmed, peekQueued } from "./submission/queue.ts";
import { detail, get, list, unconfirmed } from "./submission/read.ts";
import { gaps, liveSlots, strandedSlots } from "./submission/slots.ts";

/**
 * The submitter's durable memory in PostgreSQL, in the schema that the pool was
 * opened with. Holds no state of its own; the caller ends the pool.
 *
 * `assign` and `reserve` count slots that are RESERVED or SIGNED against the window, not those
 * INCLUDED. `counts` is exact but for FINALIZED, an estimate beyond ten thousand of them.
 * A request that no state makes right (an unknown nonce or transaction id, a hash
 * that is no attempt of the nonce, a move after finality) rejects with StoreError
 * REFUSED, not retryable.
 * @see spec §7.3, §8.1
 */
export function createSubmissionStore(pool: Pool): SubmissionStore {
  return {
    becomeLeader: (sender, floor, options = {}) => becomeLeader(pool, sender, floor, options),
    isLeader: (lease, options = {}) => isLeader(pool, lease, options),
    enqueue: (submissions, sender, options = {}) => enqueue(pool, submissions, sender, options),
    peekQueued: (sender, limit, options = {}) => peekQueued(pool, sender, limit, options),
    assign: (lease, request, options = {}) => assign(pool, lease, request, options),
    reserve: (lease, request, options = {}) => reserve(pool, lease, request, options),
    addAttempt: (lease, nonce, attempt, options = {}) =>
      addAttempt(pool, lease, nonce, attempt, options),
    gaps: (sender, from, limit, options = {}) => gaps(pool, sender, from, limit, options),
    liveSlots: (sender, options = {}) => liveSlots(pool, sender, options),
    noteSent: (hash, outcome, options = {}) => noteSent(pool, hash, outcome, options),
    markIncluded: (lease, nonce, inclusion, options = {}) =>
      markIncluded(pool, lease, nonce, inclusion, options),
    markReorged: (lease, nonce, reason, options = {}) =>
      markReorged(pool, lease, nonce, reason, options),
    markFinalized: (lease, nonce, final, options = {}) =>
      markFinalized(pool, lease, nonce, final, options),
    markAlreadyRecorded: (lease, txId, blockNumber, options = {}) =>
      markAlreadyRecorded(pool, lease, txId, blockNumber, options),
    quarantine: (lease, txId, reason, options = {}) =>
      quarantine(pool, lease, txId, reason, options),
    abortQueued: (lease, txIds, reason, options = {}) =>
      abortQueued(pool, lease, txIds, reason, options),
    release: (txId, by, reason, options = {}) => release(pool, txId, by, reason, options),
    markHistoryChecked: (lease, options = {}) => markHistoryChecked(pool, lease, options),
    raiseFloor: (lease, floor, options = {}) => raiseFloor(pool, lease, floor, options),
    strandedSlots: (sender, options = {}) => strandedSlots(pool, sender, options),
    senderState: (sender, options = {}) => senderState(pool, sender, options),
    freeze: (sender, reason, options = {}) => freeze(pool, sender, reason, options),
    thaw: (sender, by, options = {}) => thaw(pool, sender, by, options),
    importRecords: (lease, records, throughBlock, options = {}) =>
      importRecords(pool, lease, records, throughBlock, options),
    list: (page, options = {}) => list(pool, page, options),
    detail: (txId, options = {}) => detail(pool, txId, options),
    get: (txId, options = {}) => get(pool, txId, options),
    unconfirmed: (limit, options = {}) => unconfirmed(pool, limit, options),
    markConfirmed: (txIds, options = {}) => markConfirmed(pool, txIds, options),
    counts: (options = {}) => counts(pool, options),
  };
}
