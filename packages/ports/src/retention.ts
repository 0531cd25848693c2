import type { TxId } from "@quorate/core";
import type { AbortOptions } from "./lifecycle.ts";
import type { PurgeLevel } from "./tally-store.ts";

export interface PurgeablePage {
  readonly txIds: readonly TxId[];
  /** Where the next page begins; null at the end. */
  readonly next: string | null;
}

/**
 * What history knows of when things may go, and what of its own it lets go. All calls are idempotent and work on
 * bounded numbers of rows, each in one database transaction. I/O failures reject with StoreError.
 * Ages are in ms, and only the store's own clock tells them: a wrong clock elsewhere must make nothing older.
 * Violations, bans, their ends, receipts, transactions and tombstones stay for ever.
 * @see spec §9
 */
export interface RetentionStore {
  /**
   * Settled transactions that the tally need not hold any more at this level, oldest first, and that `notePurged` was not
   * told of: ABORTED_BYZANTINE without a submission under way, or CONFIRMED with its submission FINALIZED, its
   * confirmation noted and its tombstone there, so that it can't be submitted again.
   * @param query `settledForMs`: longer ago than this history first saw it settled; `after` is the `next` of the page before
   */
  purgeable(
    query: {
      readonly level: PurgeLevel;
      readonly settledForMs: number;
      readonly after: string | null;
      readonly limit: number;
    },
    options?: AbortOptions,
  ): Promise<PurgeablePage>;
  /** Notes that the tally holds these no more at this level. "all" implies "votes". */
  notePurged(txIds: readonly TxId[], level: PurgeLevel, options?: AbortOptions): Promise<void>;
  /** Moves submissions that were confirmed longer ago than this from the active ones to the archive, oldest first. @returns how many */
  archiveSubmissions(
    query: { readonly confirmedForMs: number; readonly limit: number },
    options?: AbortOptions,
  ): Promise<number>;
  /**
   * Takes votes that history recorded longer ago than this out of it, oldest first; "archive" moves them into a table of their own.
   * @returns how many
   */
  retireVotes(
    query: {
      readonly recordedForMs: number;
      readonly limit: number;
      readonly to: "delete" | "archive";
    },
    options?: AbortOptions,
  ): Promise<number>;
  submissionCounts(
    options?: AbortOptions,
  ): Promise<{ readonly active: number; readonly archived: number }>;
}
