import type { Accusation, AccusationJournal } from "@quorate/ports";

/** An accusation journal that outlives a node's crash as long as the test holds on to it. */
export interface MemoryAccusationJournal extends AccusationJournal {
  /** What is durable now. */
  readonly entries: readonly Accusation[];
}

export function memoryAccusationJournal(): MemoryAccusationJournal {
  const entries: Accusation[] = [];
  return {
    entries,
    load: async () => [...entries],
    append: (accusation) => void entries.push(accusation),
    clear: async () => void entries.splice(0),
    close: async () => {},
  };
}
