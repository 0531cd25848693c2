import type { Accusation, AccusationJournal, JournalEntry, VoteJournal } from "@quorate/ports";
import type { SimProcess } from "./sim-process.ts";

/** What a node has on its disk: it outlives every process that writes it. */
export class SimDisk {
  readonly votes: JournalEntry[] = [];
  readonly accusations: Accusation[] = [];
  /** While set, nothing can be written. */
  isFull = false;
  /** How long a sync takes at present, in ms. */
  syncMs = 1;
}

function refuse(): never {
  throw new Error("no space left on the simulated disk");
}

/** A process's vote journal: an entry is there once the sync is through, whether or not the process lives to hear of it. */
export function simVoteJournal(disk: SimDisk, process: SimProcess): VoteJournal {
  return {
    load: async () => ({ entries: [...disk.votes], complete: true }),
    append: async (entries) => {
      if (disk.isFull) refuse();
      const kept = entries.map(({ txId, value }) => ({ txId, value }));
      // Half of the time is the way to the disk, and the rest the way back.
      await new Promise<void>((resolve) => {
        process.after(disk.syncMs / 2, () => {
          disk.votes.push(...kept);
          process.after(disk.syncMs / 2, resolve);
        });
      });
    },
    close: async () => {},
  };
}

/** A process's accusation journal; synchronous, as the port asks. */
export function simAccusationJournal(disk: SimDisk, process: SimProcess): AccusationJournal {
  return {
    load: async () => [...disk.accusations],
    append: (accusation) => {
      if (!process.isAlive || disk.isFull) refuse();
      disk.accusations.push(accusation);
    },
    clear: async () => {
      if (process.isAlive) disk.accusations.splice(0);
    },
    close: async () => {},
  };
}
