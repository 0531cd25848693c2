import type { TxId } from "@quorate/core";
import { assert } from "@quorate/core";
import type { SubmissionStore } from "@quorate/ports";

import { operatorCalls } from "./memory-submission-store-operator.ts";
import { queueCalls } from "./memory-submission-store-queue.ts";
import { slotCalls } from "./memory-submission-store-slots.ts";
import {
  type MemorySubmissionStoreOptions,
  type OperatorLogEntry,
  SubmissionTables,
} from "./memory-submission-store-tables.ts";

/** The store, and what is done to the database beside it. */
export interface MemorySubmissionStore extends SubmissionStore {
  /** Moves a confirmed submission to the archive, as retention does; its tombstone stays. */
  archive(txId: TxId): void;
  /** What operators did, oldest first. */
  operatorLog(): readonly OperatorLogEntry[];
}

/**
 * A SubmissionStore in memory, with the semantics of the one in PostgreSQL: calls
 * that change something run one after another, each whole or not at all. It outlives
 * the process that a simulation crashes, as a database does; give the same object to
 * the next.
 * @see spec §8.1
 */
export function createMemorySubmissionStore(
  options: MemorySubmissionStoreOptions,
): MemorySubmissionStore {
  const tables = new SubmissionTables(options);
  return {
    ...queueCalls(tables),
    ...slotCalls(tables),
    ...operatorCalls(tables),
    archive: (txId) => {
      const row = tables.submission(txId);
      assert(row.confirmedAtMs !== null, "only a confirmed submission may be archived");
      row.archivedAtMs = options.nowMs();
      tables.archive.set(txId, row);
      tables.submissions.delete(txId);
    },
    operatorLog: () => [...tables.operatorLog],
  };
}
