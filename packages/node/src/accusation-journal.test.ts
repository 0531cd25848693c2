import { appendFile, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { doubleVotingEvidence, voteToJson } from "@quorate/core";
import type { Accusation } from "@quorate/ports";
import { nodeAt, testCluster, txIdOf, vote } from "@quorate/testkit";
import { afterEach, beforeEach, expect, test } from "vitest";
import { createAccusationJournal } from "./accusation-journal.ts";

const cluster = testCluster({ trustees: 3, threshold: 2 });
const { peerId, nodeId } = nodeAt(cluster, 1);
const first = vote(cluster, 1, "tx", 7);
const second = vote(cluster, 1, "tx", 8);
const conflict: Accusation = {
  kind: "conflict",
  first: voteToJson(first, peerId),
  second: voteToJson(second, peerId),
};
const evidence = doubleVotingEvidence(first, second);
const who = { peerId, nodeId, grade: "PROOF", evidence } as const;
const violation: Accusation = {
  kind: "violation",
  entry: {
    violation: { ...who, txId: txIdOf("tx"), type: "DOUBLE_VOTING", detectedAtMs: 1 },
    ban: { ...who, reason: "DOUBLE_VOTING", bannedAtMs: 1 },
  },
};

let directory: string;
let path: string;
let damaged: number[];
const open = () => createAccusationJournal(path, (line) => void damaged.push(line));

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "quorate-accusations-"));
  path = join(directory, "accusations.journal");
  damaged = [];
});
afterEach(() => rm(directory, { recursive: true, force: true }));

test("what was appended is there in the next run, in order, though nobody closed the file", async () => {
  const journal = open();
  expect(await journal.load()).toEqual([]);
  journal.append(conflict);
  journal.append(violation);
  expect(await open().load()).toEqual([conflict, violation]);
  expect(damaged).toEqual([]);
});

test("what is cleared is gone, and what comes after it stays", async () => {
  const journal = open();
  await journal.load();
  journal.append(conflict);
  const cleared = journal.clear();
  journal.append(violation);
  await cleared;
  await journal.close();
  expect(await open().load()).toEqual([violation]);
});

test("a line torn by a crash is dropped, and the next is not glued to it", async () => {
  const journal = open();
  await journal.load();
  journal.append(conflict);
  await journal.close();
  await appendFile(path, JSON.stringify(violation).slice(0, 40));
  const next = open();
  expect(await next.load()).toEqual([conflict]);
  next.append(violation);
  expect(await open().load()).toEqual([conflict, violation]);
});

test("a damaged line is left out and told of, and the others count", async () => {
  const line = (accusation: Accusation): string => `${JSON.stringify(accusation)}\n`;
  await writeFile(path, `${line(conflict)}{"kind":"rumour"}\nnot json\n${line(violation)}`);
  expect(await open().load()).toEqual([conflict, violation]);
  expect(damaged).toEqual([2, 3]);
});

test("an entry is on disk when append returns", async () => {
  const journal = open();
  await journal.load();
  journal.append(conflict);
  expect(await readFile(path, "utf8")).toBe(`${JSON.stringify(conflict)}\n`);
});

test("a journal that was not loaded takes nothing", () => {
  expect(() => open().append(conflict)).toThrow("not open");
});
