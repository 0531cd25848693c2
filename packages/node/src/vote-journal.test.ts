import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { LIMITS } from "@quorate/core";
import { txIdOf, valueOf } from "@quorate/testkit";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { createVoteJournal } from "./vote-journal.ts";

let directory = "";
let path = "";
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "quorate-journal-"));
  path = join(directory, "votes.journal");
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const entry = (id: string, value: number) => ({ txId: txIdOf(id), value: valueOf(value) });

describe("the vote journal", () => {
  test("is empty and complete at first, and readable by its owner alone", async () => {
    const journal = createVoteJournal(path);
    expect(await journal.load()).toEqual({ entries: [], complete: true });
    expect(statSync(path).mode & 0o077).toBe(0);
    await journal.close();
  });

  test("gives back after a restart all that was appended, in order", async () => {
    const first = createVoteJournal(path);
    await first.load();
    await Promise.all([
      first.append([entry("a", 1), entry("b", 2)]),
      first.append([entry("c", 3)]),
    ]);
    await first.close();
    const second = createVoteJournal(path);
    expect(await second.load()).toEqual({
      entries: [entry("a", 1), entry("b", 2), entry("c", 3)],
      complete: true,
    });
    await second.close();
  });

  test("has an entry on disk when its append resolves", async () => {
    const journal = createVoteJournal(path);
    await journal.load();
    await journal.append([entry("a", 7)]);
    expect(readFileSync(path, "utf8")).toBe("a 7\n");
    await journal.close();
  });

  test("drops a last line that a crash tore, for it was never published", async () => {
    writeFileSync(path, "a 1\nb 2", { mode: 0o600 });
    const journal = createVoteJournal(path);
    expect((await journal.load()).entries).toEqual([entry("a", 1)]);
    await journal.append([entry("c", 3)]);
    await journal.close();
    expect(readFileSync(path, "utf8")).toBe("a 1\nc 3\n");
  });

  test("refuses to start on a damaged line, naming file and line", async () => {
    writeFileSync(path, "a 1\nb\nc 3\n", { mode: 0o600 });
    await expect(createVoteJournal(path).load()).rejects.toThrow(`${path} is damaged at line 2`);
    expect(readFileSync(path, "utf8")).toBe("a 1\nb\nc 3\n");
  });

  test("keeps the newest entries within its bound, and says for ever that others were dropped", async () => {
    const lines = Array.from({ length: LIMITS.journalVotesMax + 2 }, (_, i) => `t${i} 1\n`);
    writeFileSync(path, lines.join(""), { mode: 0o600 });
    const first = createVoteJournal(path);
    const loaded = await first.load();
    await first.close();
    expect([loaded.entries.length, loaded.entries[0]?.txId, loaded.complete]).toEqual([
      LIMITS.journalVotesMax,
      "t2",
      false,
    ]);
    const second = createVoteJournal(path);
    expect((await second.load()).complete).toBe(false);
    await second.close();
  });

  test("takes nothing more once it is closed", async () => {
    const journal = createVoteJournal(path);
    await journal.load();
    await journal.close();
    await expect(journal.append([entry("a", 1)])).rejects.toThrow("not open");
    expect(readFileSync(path, "utf8")).toBe("");
  });
});
