import { type FileHandle, open, rename } from "node:fs/promises";
import { LIMITS, parseTxId, parseValue } from "@quorate/core";
import type { JournalEntry, VoteJournal } from "@quorate/ports";
import { readExisting } from "./read-existing.ts";

/** The first line of a journal from which older entries were dropped. */
const DROPPED = "# older entries were dropped";

/**
 * A vote journal in a text file: one line `txId value` an entry, appended and synced before
 * anything is published. Opened and tidied (cut to its bound, torn last line removed) by `load`.
 * @throws when the file holds a line that is no entry: a damaged journal must be looked at by a person
 */
export function createVoteJournal(path: string): VoteJournal {
  let file: FileHandle | null = null;
  // One append at a time, so that lines are never interleaved.
  let last: Promise<unknown> = Promise.resolve();

  let broken: Error | null = null;
  const append = async (entries: readonly JournalEntry[]): Promise<void> => {
    if (file === null) throw new Error("the vote journal is not open");
    if (broken !== null) throw broken;
    try {
      await file.write(entries.map(({ txId, value }) => `${txId} ${value}\n`).join(""));
      await file.datasync();
    } catch (cause) {
      // Part of a line may be on disk; anything after it would make it a damaged one. `load` drops it.
      broken = new Error(
        `the vote journal ${path} could not be written; restart when there is room`,
        {
          cause,
        },
      );
      throw broken;
    }
  };

  return {
    load: async () => {
      const { entries, complete } = parse(await readExisting(path), path);
      const kept = entries.slice(-LIMITS.journalVotesMax);
      const whole = complete && kept.length === entries.length;
      // Written anew beside it and renamed: a crash leaves the old one or the new one.
      const fresh = await open(`${path}.new`, "w", 0o600);
      const lines = kept.map(({ txId, value }) => `${txId} ${value}\n`);
      await fresh.write((whole ? "" : `${DROPPED}\n`) + lines.join(""));
      await fresh.datasync();
      await fresh.close();
      await rename(`${path}.new`, path);
      file = await open(path, "a", 0o600);
      return { entries: kept, complete: whole };
    },
    append: (entries) => {
      const next = last.then(() => append(entries));
      last = next.catch(() => {});
      return next;
    },
    close: async () => {
      await last;
      await file?.close();
      file = null;
    },
  };
}

function parse(
  text: string,
  path: string,
): { readonly entries: readonly JournalEntry[]; readonly complete: boolean } {
  const lines = text.split("\n");
  // Whatever follows the last line end was torn by a crash, and so was never published.
  lines.pop();
  const complete = lines[0] !== DROPPED;
  const entries = lines.slice(complete ? 0 : 1).map((line, index): JournalEntry => {
    const [tx, number, ...rest] = line.split(" ");
    const txId = parseTxId(tx);
    const value = parseValue(number);
    if (txId.ok && value.ok && rest.length === 0) return { txId: txId.value, value: value.value };
    throw new Error(
      `vote journal ${path} is damaged at line ${index + (complete ? 1 : 2)}; it tells what this trustee has signed, so restore it before starting`,
    );
  });
  return { entries, complete };
}
