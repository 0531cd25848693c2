import { type TxId, type TxRecord, voteToJson } from "@quorate/core";
import type { AuditRow, Change, ChangeSet } from "@quorate/ports";

type Row = AuditRow & { readonly revision: bigint };

export type ViolationChange = Extract<Change, { kind: "violation" }>;

export function isViolation(change: Change): change is ViolationChange {
  return change.kind === "violation";
}

/** What history keeps of one revision. @param borneOut the violations that their evidence backs */
export function rowsOf(set: ChangeSet, borneOut: ReadonlySet<ViolationChange>): readonly Row[] {
  const statuses = new Map<TxId, Extract<Change, { kind: "status" }>>();
  for (const change of set.changes) if (change.kind === "status") statuses.set(change.txId, change);
  const rows: Row[] = [];
  const add = (row: AuditRow): void => {
    rows.push({ ...row, revision: set.revision });
  };
  for (const change of set.changes) {
    if (change.kind === "vote") add(voteRow(change));
    else if (change.kind === "violation") {
      const { evidence, ...rest } = change.violation;
      const evidenceJson = JSON.stringify(evidence);
      add({ kind: "violation", ...rest, evidenceJson, borneOut: borneOut.has(change) });
    } else if (change.kind === "ban") {
      // That a ban ended is told by its lift.
      if (change.ban === null) continue;
      const { evidence, ...rest } = change.ban;
      add({ kind: "ban", ...rest, evidenceJson: JSON.stringify(evidence) });
    } else if (change.kind === "lift") {
      const { kind: liftKind, ...rest } = change.lift;
      add({ kind: "lift", liftKind, ...rest });
    } else if (change.kind === "receipts") {
      for (const receipt of change.receipts) add({ kind: "receipt", receipt });
    } else if (change.kind === "record") {
      const { record, txId } = change;
      add({
        kind: "transaction",
        txId,
        status: statuses.get(txId)?.status ?? "COLLECTING",
        reason: record.reason,
        value: record.value,
        epoch: record.epoch,
        openedAtMs: record.openedAtMs,
        recordJson: recordJson(record),
      });
      statuses.delete(txId);
    }
  }
  return rows;
}

/** Without what only tracing looks at: history is what was decided. */
function recordJson(record: TxRecord): string {
  return JSON.stringify(record, (key, v: unknown) => {
    if (key === "traceContext") return undefined;
    return typeof v === "bigint" ? v.toString() : v;
  });
}

function voteRow(change: Extract<Change, { kind: "vote" }>): AuditRow {
  const { vote, peerId, txId } = change;
  return {
    kind: "vote",
    txId,
    nodeId: vote.vote.nodeId,
    peerId,
    epoch: vote.vote.epoch,
    value: vote.vote.value,
    signature: vote.proof.signature,
    proofJson: JSON.stringify(voteToJson(vote, peerId)),
    issuedAtMs: vote.vote.issuedAtMs,
  };
}
