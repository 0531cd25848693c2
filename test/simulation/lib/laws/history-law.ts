import type { AuditBatch, AuditLog } from "@quorate/ports";
import type { MemoryAuditLog } from "@quorate/testkit";
import type { Accuse } from "./law.ts";
import type { TallyLaw } from "./tally-law.ts";

/** I10: history is a gap-free fold of etcd's revisions, each once. */
export class HistoryLaw {
  readonly #tally: TallyLaw;
  readonly #accuse: Accuse;
  #position = 0n;

  constructor(tally: TallyLaw, accuse: Accuse) {
    this.#tally = tally;
    this.#accuse = accuse;
  }

  /** A call to the history's tables has committed. */
  committed(
    operation: keyof AuditLog,
    args: readonly unknown[],
    result: unknown,
    revision: bigint,
  ): void {
    if (operation !== "append" || result !== "appended") return;
    const batch = args[1] as AuditBatch;
    if (batch.revision > revision)
      this.#accuse(
        "I11 nothing is visible before it is committed",
        `history is at ${batch.revision}, etcd at ${revision}`,
      );
    if (batch.revision < this.#position)
      this.#accuse("I10 history is the fold of what happened", "the position went back");
    for (const row of batch.rows)
      if (row.revision <= this.#position && batch.partial !== true)
        this.#accuse(
          "I10 history is the fold of what happened",
          `a ${row.kind} of revision ${row.revision} came when history was at ${this.#position}`,
        );
    if (batch.partial !== true) this.#position = batch.revision;
  }

  /** What is missing so far. */
  missing(audit: MemoryAuditLog): readonly string[] {
    const { votes, violations, bans, transactions } = audit.records();
    const found: string[] = [];
    const recorded = new Map(
      votes.map((row) => [`${row.txId}/${row.nodeId}`, row.value as bigint]),
    );
    let count = 0;
    for (const [txId, tx] of this.#tally.transactions) {
      for (const [nodeId, value] of tx.votes) {
        count++;
        if (recorded.get(`${txId}/${nodeId}`) !== value)
          found.push(`${nodeId}'s vote on ${txId} is not in history as it was cast`);
      }
      const row = transactions.find((one) => one.txId === txId);
      if (tx.status !== null && !tx.isTampered && row?.status !== tx.status)
        found.push(`${txId} is ${tx.status} in etcd and ${row?.status ?? "unknown"} in history`);
    }
    if (recorded.size !== count)
      found.push(`history has ${recorded.size} votes, etcd had ${count}`);
    const known = new Set(violations.map((row) => `${row.txId}/${row.peerId}/${row.type}`));
    for (const key of this.#tally.violations.keys())
      if (!known.has(key)) found.push(`the violation ${key} is not in history`);
    if (known.size !== this.#tally.violations.size)
      found.push(`history has ${known.size} violations, etcd ${this.#tally.violations.size}`);
    const banned = new Set<string>(bans.map((row) => row.peerId));
    for (const peerId of this.#tally.bans.keys())
      if (!banned.has(peerId)) found.push(`${peerId}'s ban is not in history`);
    if (banned.size !== this.#tally.bans.size)
      found.push(`history has ${banned.size} bans, etcd ${this.#tally.bans.size}`);
    return found;
  }
}
