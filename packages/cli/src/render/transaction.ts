import type { TxStatus } from "@quorate/core";
import type { TransactionView } from "@quorate/localcluster/client";
import type { Style } from "../terminal.ts";
import { fields, table } from "./table.ts";

/** A status word in its colour. */
export function paintStatus(status: TxStatus | null, style: Style): string {
  if (status === null) return style.dim("unknown");
  if (status === "CONFIRMED") return style.good(status);
  return status === "ABORTED_BYZANTINE" ? style.bad(status) : style.warn(status);
}

/** A transaction for a person. */
export function renderTransaction(tx: TransactionView, style: Style): string {
  const lists = tx.absent === null ? null : tx.absent.join(", ");
  const head = fields([
    ["transaction", style.bold(tx.txId)],
    ["status", paintStatus(tx.status, style)],
    ["value", tx.value],
    ["reason", tx.reason],
    ["policy", tx.policy],
    ["profile", tx.profile],
    ["epoch", tx.epoch === null ? null : String(tx.epoch)],
    ["opened", tx.openedAt],
    ["deadline", tx.deadlineAt],
    ["unanimous", tx.unanimous ? "yes" : "no"],
    ["absent", lists === null ? null : lists === "" ? "nobody" : lists],
    ["chain", tx.chain === null ? null : `block ${tx.chain.blockNumber}, ${tx.chain.txHash}`],
  ]);
  const votes = table(
    ["VOTER", "VALUE", "ISSUED"],
    tx.votes.map((vote) => [vote.nodeId, vote.value, vote.issuedAt]),
    style.dim,
  );
  const violations = table(
    ["VIOLATION", "BY", "GRADE"],
    tx.violations.map((v) => [style.bad(v.type), v.nodeId, v.grade]),
    style.dim,
  );
  return [head, votes, ...(tx.violations.length === 0 ? [] : [violations])].join("\n\n");
}
