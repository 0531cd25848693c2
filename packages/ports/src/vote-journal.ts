import type { TxId, Value } from "@quorate/core";
import type { AbortOptions } from "./lifecycle.ts";

export interface JournalEntry {
  readonly txId: TxId;
  readonly value: Value;
}

/**
 * What this trustee has signed, on its own disk. A node that forgets over a crash could
 * sign a second value for the same transaction, and would be banned for ever on its own signatures.
 */
export interface VoteJournal {
  /**
   * Everything that was appended, oldest first, up to the journal's bound.
   * `complete` is false when older entries were dropped: then an unknown transaction must be looked up elsewhere.
   * Called once, before the first `append`. A half-written last entry (a crash) is dropped: it was never published.
   */
  load(
    options?: AbortOptions,
  ): Promise<{ readonly entries: readonly JournalEntry[]; readonly complete: boolean }>;
  /** Resolves when the entries are durable; only then may they be published. */
  append(entries: readonly JournalEntry[]): Promise<void>;
  close(): Promise<void>;
}
