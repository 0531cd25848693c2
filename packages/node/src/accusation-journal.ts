import { closeSync, fdatasyncSync, ftruncateSync, openSync, writeSync } from "node:fs";
import type { Accusation, AccusationJournal } from "@quorate/ports";
import { readExisting } from "./read-existing.ts";

/**
 * An accusation journal in a text file: a JSON line each, synced before `append` returns, cut to
 * nothing by `clear`. A torn last line (a crash in the middle of an append) is dropped: nothing was done about it yet.
 * @param onDamage called for each line that is not readable; it is left out
 */
export function createAccusationJournal(
  path: string,
  onDamage: (line: number) => void,
): AccusationJournal {
  let fd: number | null = null;
  /** A damaged line may be the trace of a proof: then nothing is thrown away. */
  let damaged = false;
  return {
    load: async () => {
      const lines = (await readExisting(path)).split("\n");
      const found = lines.flatMap((line, index) => {
        if (line === "") return [];
        const accusation = parseAccusation(line);
        // What follows the last line end is torn, not damaged.
        if (accusation === null && index < lines.length - 1) {
          damaged = true;
          onDamage(index + 1);
        }
        return accusation === null ? [] : [accusation];
      });
      fd = openSync(path, "a", 0o600);
      // A torn line must not run into the next one.
      if (lines.at(-1) !== "" && lines.length > 0) writeSync(fd, "\n");
      return found;
    },
    append: (accusation) => {
      if (fd === null) throw new Error("the accusation journal is not open");
      writeSync(fd, `${JSON.stringify(accusation)}\n`);
      fdatasyncSync(fd);
    },
    // At once, so that an accusation that comes next is not cut away with the old ones.
    clear: async () => {
      if (fd !== null && !damaged) ftruncateSync(fd, 0);
    },
    close: async () => {
      if (fd !== null) closeSync(fd);
      fd = null;
    },
  };
}

/** The shape only: whoever takes up an accusation verifies its signatures again. */
function parseAccusation(line: string): Accusation | null {
  try {
    const parsed: unknown = JSON.parse(line);
    if (typeof parsed !== "object" || parsed === null || !("kind" in parsed)) return null;
    const has = (...names: string[]): boolean =>
      names.every((name) => {
        const field = (parsed as Record<string, unknown>)[name];
        return typeof field === "object" && field !== null;
      });
    if (parsed.kind === "violation" && has("entry")) return parsed as Accusation;
    if (parsed.kind === "conflict" && has("first", "second")) return parsed as Accusation;
    return null;
  } catch {
    return null;
  }
}
