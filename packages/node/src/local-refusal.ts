import {
  assertNever,
  type NodeId,
  type PeerId,
  type Receipt,
  type ReceiptJson,
  type RefusalReason,
  receiptToJson,
  type TxId,
  utf8,
} from "@quorate/core";
import type { CastOutcome, ReceiptBook } from "@quorate/engine";

/** Why a local caller's vote was not taken; null when it was, or may yet be. */
export function refusalReasonOf(outcome: CastOutcome | null): RefusalReason | null {
  if (outcome === null) return null;
  switch (outcome.kind) {
    case "RECORDED":
      return null;
    case "EQUIVOCATION":
      return "equivocation";
    case "ALREADY_VOTED":
      return "already_voted";
    case "NOT_A_TRUSTEE":
      return "not_a_trustee";
    case "REFUSED":
      return BY_CODE[outcome.code];
    default:
      return assertNever(outcome);
  }
}

const BY_CODE: Readonly<Record<Extract<CastOutcome, { kind: "REFUSED" }>["code"], RefusalReason>> =
  {
    BANNED: "trustee_banned",
    WRONG_EPOCH: "wrong_epoch",
    UNKNOWN_TRUSTEE: "unknown_trustee",
    RECORD_FORGED: "record_forged",
    ARCHIVED: "archived",
    QUEUE_FULL: "queue_full",
    JOURNAL_FAILED: "journal_failed",
    STOPPED: "stopped",
  };

/**
 * The receipt of a request to vote that was refused: over the request's JSON, for it is not signed. A vote
 * that was signed and then refused by the rules has one more, over its own bytes.
 * @returns null when it is counted into an aggregated one.
 */
export function refuseRequest(
  receipts: Pick<ReceiptBook, "refuse">,
  reason: RefusalReason,
  request: unknown,
  who: { readonly txId: TxId | null; readonly nodeId: NodeId; readonly peerId: PeerId },
): ReceiptJson | null {
  const { txId, nodeId, peerId } = who;
  // Of a body that is missing there is nothing to hash.
  const bytes = utf8(JSON.stringify(request) ?? "");
  const refusal = { reason, bytes, txId, voter: nodeId, author: peerId, forwarder: null };
  const receipt: Receipt | null = receipts.refuse(refusal);
  return receipt === null ? null : receiptToJson(receipt);
}
