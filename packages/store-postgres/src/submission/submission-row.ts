import { SUBMISSION_MOVES, type SubmissionState } from "@quorate/core";
import type { RecordItem, Submission } from "@quorate/ports";
import { StoreError } from "@quorate/ports";

import {
  bigintOf,
  bigintOrNull,
  epochOf,
  hexOf,
  hexOrNull,
  numberOf,
  type Row,
  textOf,
  timeMsOf,
  timeMsOrNull,
  txIdOf,
  valueOf,
} from "../row.ts";

/**
 * What is read of a submission `s` and its slot `l`. The hash and block are those that hold
 * the record: of finality, or of the inclusion so far.
 */
export const SUBMISSION_COLUMNS = `
  s.tx_id, s.key, s.value, s.trustee_epoch, s.decision_revision, s.state, s.nonce,
  CASE s.state WHEN 'FINALIZED' THEN s.finalized_tx WHEN 'INCLUDED' THEN l.receipt_hash END AS tx_hash,
  CASE s.state WHEN 'FINALIZED' THEN s.finalized_block WHEN 'INCLUDED' THEN l.block_number END AS block_number,
  s.tries, s.queued_at, s.finalized_at, s.confirmed_at, s.reason, s.seq`;

/** The slot that a submission `s` has. */
export const JOIN_SLOT = `
  LEFT JOIN slot l ON l.chain_id = s.chain_id AND l.sender = s.sender AND l.nonce = s.nonce`;

export function recordItemOf(row: Row): RecordItem {
  return { txId: txIdOf(row, "tx_id"), value: valueOf(row, "value") };
}

export function submissionStateOf(row: Row, column: string): SubmissionState {
  const state = textOf(row, column);
  if (isSubmissionState(state)) return state;
  throw new StoreError("CORRUPT", `unknown submission state ${state}`, { retryable: false });
}

function isSubmissionState(text: string): text is SubmissionState {
  return Object.hasOwn(SUBMISSION_MOVES, text);
}

export function submissionOf(row: Row): Submission {
  return {
    txId: txIdOf(row, "tx_id"),
    key: hexOf(row, "key"),
    value: valueOf(row, "value"),
    epoch: epochOf(row, "trustee_epoch"),
    decisionRevision: bigintOf(row, "decision_revision"),
    state: submissionStateOf(row, "state"),
    nonce: bigintOrNull(row, "nonce"),
    txHash: hexOrNull(row, "tx_hash"),
    blockNumber: bigintOrNull(row, "block_number"),
    tries: numberOf(row, "tries"),
    queuedAtMs: timeMsOf(row, "queued_at"),
    finalizedAtMs: timeMsOrNull(row, "finalized_at"),
    confirmedAtMs: timeMsOrNull(row, "confirmed_at"),
    reason: row["reason"] === null ? null : textOf(row, "reason"),
    archivedAtMs: timeMsOrNull(row, "archived_at"),
  };
}

/** Reads a slot's batch, `[[tx_id, value], …]`. */
export function recordItemsOf(row: Row, column: string): readonly RecordItem[] {
  const payload: unknown = row[column];
  if (!Array.isArray(payload)) {
    throw new StoreError("CORRUPT", `column ${column} should hold a list`, { retryable: false });
  }
  return payload.map((entry: unknown) => {
    const [txId, value]: readonly unknown[] = Array.isArray(entry) ? entry : [];
    return recordItemOf({ tx_id: txId, value });
  });
}

/** The batch as it is stored. Values as text: JSON numbers end at 2^53. */
export function payloadOf(items: readonly RecordItem[]): string {
  return JSON.stringify(items.map(({ txId, value }) => [txId, value.toString()]));
}
