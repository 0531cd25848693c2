import type { SubmissionState, TxId } from "@quorate/core";
import type {
  EnqueueOutcome,
  Hex,
  ImportReport,
  NewSubmission,
  RecordedEvent,
  Sender,
  SubmissionStore,
} from "@quorate/ports";

import {
  isOpen,
  refused,
  type SubmissionRow,
  type SubmissionTables,
  slotOf,
  submissionOf,
} from "./memory-submission-store-tables.ts";

/** What comes in, what the chain says of it, and what is read of it. */
export function queueCalls(
  tables: SubmissionTables,
): Pick<
  SubmissionStore,
  | "enqueue"
  | "peekQueued"
  | "markAlreadyRecorded"
  | "quarantine"
  | "abortQueued"
  | "importRecords"
  | "list"
  | "detail"
  | "get"
  | "unconfirmed"
  | "markConfirmed"
  | "counts"
> {
  return {
    enqueue: (submissions, sender, options = {}) =>
      tables.run("enqueue", options, () => {
        checkKeys(tables, submissions);
        return submissions.map((item) => enqueueOne(tables, item, sender));
      }),

    peekQueued: (sender, limit, options = {}) =>
      tables.run("peekQueued", options, () =>
        [...tables.submissions.values()]
          .filter((row) => row.state === "QUEUED" && row.chainId === sender.chainId)
          .slice(0, limit)
          .map(({ txId, value }) => ({ txId, value })),
      ),

    markAlreadyRecorded: (lease, txId, blockNumber, options = {}) =>
      tables.fenced("markAlreadyRecorded", lease, options, () => {
        const row = tables.submission(txId);
        if (row.state === "FINALIZED") return;
        if (!isOpen(row.state)) throw refused(`submission ${txId} is ${row.state}`);
        tables.finalize(row, blockNumber, null);
      }),

    quarantine: (lease, txId, reason, options = {}) =>
      tables.fenced("quarantine", lease, options, () => {
        const row = tables.submission(txId);
        if (row.state === "QUARANTINED") return;
        if (!isOpen(row.state)) throw refused(`submission ${txId} is ${row.state}`);
        tables.move(row, "QUARANTINED", reason);
      }),

    abortQueued: (lease, txIds, reason, options = {}) =>
      tables.run<Awaited<ReturnType<SubmissionStore["abortQueued"]>>>(
        "abortQueued",
        options,
        () => {
          if (tables.held(lease) === null) return { kind: "fenced" };
          const aborted: TxId[] = [];
          for (const txId of new Set(txIds)) {
            const row = tables.submissions.get(txId);
            if (row?.state !== "QUEUED" || row.chainId !== lease.chainId) continue;
            tables.move(row, "ABORTED", reason);
            aborted.push(txId);
          }
          return { kind: "done", aborted };
        },
      ),

    importRecords: (lease, records, throughBlock, options = {}) =>
      tables.run<Awaited<ReturnType<SubmissionStore["importRecords"]>>>(
        "importRecords",
        options,
        () => {
          const sender = tables.held(lease);
          if (sender === null) return { kind: "fenced" };
          const report = importAll(tables, lease, records);
          const before = sender.importedThroughBlock;
          if (before === null || throughBlock > before) sender.importedThroughBlock = throughBlock;
          if (differs(report)) sender.historyDiffers = true;
          return { kind: "done", ...report };
        },
      ),

    list: ({ states, after, limit }, options = {}) =>
      tables.run("list", options, () => {
        const from = positionOf(after);
        const rows = [...tables.submissions.values()].filter(
          ({ seq, state }) => seq > from && (states === undefined || states.includes(state)),
        );
        const page = rows.slice(0, limit);
        const last = rows.length > limit ? page.at(-1) : undefined;
        return { submissions: page.map(submissionOf), next: last?.seq.toString() ?? null };
      }),

    detail: (txId, options = {}) =>
      tables.run("detail", options, () => {
        const row = anywhere(tables, txId);
        if (row === undefined) return null;
        const slots = [...tables.slots.values()].filter(({ items }) =>
          items.some((item) => item.txId === txId),
        );
        const history = slots
          .flatMap((slot) => slot.history)
          .sort((a, b) => a.order - b.order)
          .map(({ transition }) => transition);
        return { submission: submissionOf(row), slots: slots.map(slotOf), history };
      }),

    get: (txId, options = {}) =>
      tables.run("get", options, () => {
        const row = anywhere(tables, txId);
        return row === undefined ? null : submissionOf(row);
      }),

    unconfirmed: (limit, options = {}) =>
      tables.run("unconfirmed", options, () =>
        [...tables.submissions.values()]
          .filter((row) => row.state === "FINALIZED" && row.confirmedAtMs === null)
          // A stable sort: equal times keep the order of arrival.
          .sort((a, b) => (a.finalizedAtMs ?? 0) - (b.finalizedAtMs ?? 0))
          .slice(0, limit)
          .map(submissionOf),
      ),

    markConfirmed: (txIds, options = {}) =>
      tables.run("markConfirmed", options, () => {
        for (const txId of txIds) {
          const row = tables.submissions.get(txId);
          if (row?.state === "FINALIZED") row.confirmedAtMs ??= tables.options.nowMs();
        }
      }),

    counts: (options = {}) =>
      tables.run("counts", options, () => {
        const counts: Record<SubmissionState, number> = {
          QUEUED: 0,
          ASSIGNED: 0,
          INCLUDED: 0,
          FINALIZED: 0,
          ABORTED: 0,
          QUARANTINED: 0,
        };
        for (const { state } of tables.submissions.values()) counts[state] += 1;
        return counts;
      }),
  };
}

function anywhere(tables: SubmissionTables, txId: TxId): SubmissionRow | undefined {
  return tables.submissions.get(txId) ?? tables.archive.get(txId);
}

function positionOf(after: string | null): number {
  if (after === null) return 0;
  if (!/^[0-9]{1,18}$/.test(after)) throw refused(`"${after}" is where no page begins`);
  return Number(after);
}

/** Before anything changes: a key that stands for another id refuses the whole call. */
function checkKeys(tables: SubmissionTables, submissions: readonly NewSubmission[]): void {
  const keys = new Map<Hex, TxId>();
  for (const { txId, key } of submissions) {
    if (tables.tombstones.has(txId)) continue;
    if (tables.keys.has(key) || (keys.get(key) ?? txId) !== txId) {
      throw refused(`key ${key} belongs to another transaction id than ${txId}`);
    }
    keys.set(key, txId);
  }
}

function enqueueOne(tables: SubmissionTables, item: NewSubmission, sender: Sender): EnqueueOutcome {
  const storedValue = tables.tombstones.get(item.txId);
  if (storedValue === undefined) return insert(tables, item, sender);
  const row = tables.submissions.get(item.txId);
  if (row === undefined) return { kind: "archived", storedValue };
  if (storedValue === item.value) return { kind: "exists", state: row.state };
  if (isOpen(row.state)) {
    tables.move(row, "QUARANTINED", `decided again, with value ${item.value}`);
  }
  return { kind: "conflict", storedValue };
}

function insert(tables: SubmissionTables, item: NewSubmission, sender: Sender): EnqueueOutcome {
  const row: SubmissionRow = {
    ...item,
    chainId: sender.chainId,
    seq: tables.nextSequence(),
    queuedAtMs: tables.options.nowMs(),
    state: "QUEUED",
    slot: null,
    tries: 0,
    reason: null,
    finalizedAtMs: null,
    finalizedBlock: null,
    finalizedTx: null,
    confirmedAtMs: null,
    archivedAtMs: null,
  };
  tables.tombstones.set(item.txId, item.value);
  tables.keys.set(item.key, row);
  tables.submissions.set(item.txId, row);
  const record = tables.chainRecords.get(recordKey(sender, item.key));
  if (record === undefined) return { kind: "queued" };
  if (record.value === item.value) {
    tables.finalize(row, record.blockNumber, record.txHash);
    return { kind: "recorded", blockNumber: record.blockNumber };
  }
  tables.move(row, "QUARANTINED", contradiction(record));
  return { kind: "conflict", storedValue: record.value };
}

function recordKey({ chainId }: Sender, key: Hex): string {
  return `${chainId}/${key}`;
}

function contradiction({ value, blockNumber }: RecordedEvent): string {
  return `the contract holds value ${value} for it, since block ${blockNumber}`;
}

function differs({ settled, contradicted, unknownKeys }: ImportReport): boolean {
  return settled.length + contradicted.length + unknownKeys.length > 0;
}

/** What one event comes to, judged before anything changes. */
type Finding =
  | { readonly kind: "known" }
  | { readonly kind: "in-flight" }
  | { readonly kind: "unknown"; readonly key: Hex }
  | { readonly kind: "settle"; readonly row: SubmissionRow; readonly record: RecordedEvent }
  | { readonly kind: "contradict"; readonly row: SubmissionRow; readonly record: RecordedEvent };

function importAll(tables: SubmissionTables, sender: Sender, records: readonly RecordedEvent[]) {
  const report = {
    known: 0,
    inFlight: 0,
    settled: new Array<TxId>(),
    contradicted: new Array<TxId>(),
    unknownKeys: new Array<Hex>(),
  };
  const imported = new Map(tables.chainRecords);
  for (const found of records.map((record) => judge(tables, sender, record, imported))) {
    if (found.kind === "known") report.known += 1;
    else if (found.kind === "in-flight") report.inFlight += 1;
    else if (found.kind === "unknown") report.unknownKeys.push(found.key);
    else if (found.kind === "settle") {
      const { row, record } = found;
      tables.finalize(row, record.blockNumber, record.txHash);
      report.settled.push(row.txId);
    } else {
      const { row, record } = found;
      if (isOpen(row.state)) tables.move(row, "QUARANTINED", contradiction(record));
      report.contradicted.push(row.txId);
    }
  }
  for (const [key, record] of imported) tables.chainRecords.set(key, record);
  return report;
}

/** @param imported gets what is to be remembered: all that no submission explained when it came. */
function judge(
  tables: SubmissionTables,
  sender: Sender,
  record: RecordedEvent,
  imported: Map<string, RecordedEvent>,
): Finding {
  const key = recordKey(sender, record.key);
  const before = imported.get(key);
  if (before !== undefined) {
    if (before.value === record.value) return { kind: "known" };
    throw refused(`key ${record.key} held value ${before.value} when it was imported before`);
  }
  const row = tables.keys.get(record.key);
  if (row === undefined || row.chainId !== sender.chainId) {
    imported.set(key, record);
    return { kind: "unknown", key: record.key };
  }
  if (row.value !== record.value || row.state === "ABORTED") {
    imported.set(key, record);
    return { kind: "contradict", row, record };
  }
  if (row.state === "QUEUED") {
    imported.set(key, record);
    return { kind: "settle", row, record };
  }
  // FINALIZED, or QUARANTINED: a person looks at that one already.
  return { kind: row.state === "ASSIGNED" || row.state === "INCLUDED" ? "in-flight" : "known" };
}
