import { isAuthorVerified, isoTime, REFUSAL_REASONS, type Receipt } from "@quorate/core";
import type { ReceiptView } from "@quorate/localcluster/client";
import type { Style } from "../terminal.ts";
import { table } from "./table.ts";

/** Enough of an id or a hash to tell it from others on a screen; --json has the whole. */
const SHOWN_CHARS = 12;

/** Receipts for a person, in the order given. */
export function renderReceipts(receipts: readonly ReceiptView[], style: Style): string {
  return table(
    ["TIME", "REFUSED BY", "REASON", "COUNT", "TX", "AUTHOR", "HASH"],
    receipts.map((receipt) => [
      isoTime(receipt.lastAtMs),
      receipt.verified ? receipt.nodeId : style.bad(`${receipt.nodeId} (not verified)`),
      receipt.reason,
      String(receipt.count),
      receipt.txId ?? "-",
      authorOf(receipt),
      `${receipt.messageHash.slice(0, SHOWN_CHARS)}…`,
    ]),
    style.dim,
  );
}

/** What a caller may want to keep of a refused vote's receipt. */
export function receiptLine({ nodeId, sequence, reason, messageHash }: Receipt): string {
  return `receipt ${sequence} of ${nodeId}: ${reason}, ${messageHash}`;
}

/** An author that nobody has authenticated is only claimed: then whoever passed the message on says more. */
function authorOf({ reason, author, forwarder }: ReceiptView): string {
  const known = REFUSAL_REASONS.find((r) => r === reason);
  if (author !== null && known !== undefined && isAuthorVerified(known)) return short(author);
  if (forwarder !== null) return `via ${short(forwarder)}`;
  return author === null ? "-" : `${short(author)}?`;
}

/** The end of a peer id: all begin alike. */
function short(peerId: string): string {
  return `…${peerId.slice(-SHOWN_CHARS)}`;
}
