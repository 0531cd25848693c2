import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type StepLine, writeStepLine } from "@quorate/core";
import { afterEach, beforeEach, expect, test } from "vitest";
import { findStepFiles, parseRun, readRecording, StepFileError } from "./lib/read-runs.ts";

const start = (run: string): StepLine => ({
  line: "start",
  at: 1,
  format: 1,
  run,
  program: "node",
  name: "trustee-1",
  clusterId: "demo",
  pid: 7,
  boot: null,
  startedAtMs: 5,
  protocol: null,
});
const begin = (call: number): StepLine => ({
  line: "begin",
  at: 2,
  call,
  step: { op: "chain.send", bytes: "ab".repeat(32) },
});
const end = (call: number): StepLine => ({ line: "end", at: 3, call, outcome: { kind: "done" } });
const stop: StepLine = { line: "stop", at: 9 };
const textOf = (...lines: readonly StepLine[]): string =>
  lines.map((line) => `${writeStepLine(line)}\n`).join("");

test("a run is its calls with what came of them", () => {
  const { run, torn, lines } = parseRun("f", textOf(start("a"), begin(0), begin(1), end(1), stop));
  expect(torn).toBe(false);
  expect(lines).toBe(5);
  expect(run?.ended).toBe(true);
  expect(run?.calls.map(({ outcome, place }) => [outcome.kind, place.line])).toEqual([
    ["unknown", 2],
    ["done", 3],
  ]);
});

test("a last line that is cut off is what a kill leaves, and everything before it counts", () => {
  const text = textOf(start("a"), begin(0), end(0));
  const { run, torn } = parseRun("f", `${text}${writeStepLine(begin(1)).slice(0, 30)}`);
  expect(torn).toBe(true);
  expect(run?.calls).toHaveLength(1);
  // Also when it was the first one.
  expect(parseRun("f", '{"line":"sta')).toEqual({ run: null, lines: 0, torn: true });
  expect(parseRun("f", "")).toEqual({ run: null, lines: 0, torn: false });
});

test.each([
  ["a torn line with more after it", `${textOf(start("a"))}{"line":"be\n${textOf(begin(0))}`, 2],
  ["a torn line after a clean end", `${textOf(start("a"), stop)}{"line`, 3],
  ["a line after the end", textOf(start("a"), stop, begin(0)), 3],
  ["no start", textOf(begin(0)), 1],
  ["a second start", textOf(start("a"), start("b")), 2],
  ["an end of what never began", textOf(start("a"), end(0)), 2],
  ["a second end", textOf(start("a"), begin(0), end(0), end(0)), 4],
  ["a call that begins twice", textOf(start("a"), begin(0), begin(0)), 3],
  ["another format", textOf(start("a")).replace('"format":1', '"format":2'), 1],
  ["a field that we do not know", textOf(start("a")).replace('"pid":7', '"pid":7,"x":1'), 1],
])("%s is no record, and the line is named", (_, text, line) => {
  expect(() => parseRun("some.ndjson", text)).toThrow(StepFileError);
  expect(() => parseRun("some.ndjson", text)).toThrow(`some.ndjson:${line}: `);
});

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "quorate-trace-"));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

test("folders are looked through for step files, and a run that is there twice is told", () => {
  mkdirSync(join(directory, "deep"));
  writeFileSync(join(directory, "deep", "a.ndjson"), textOf(start("a")));
  writeFileSync(join(directory, "b.ndjson"), `${textOf(start("b"))}{"l`);
  writeFileSync(join(directory, "notes.txt"), "nothing");
  const files = findStepFiles([directory]);
  expect(files).toHaveLength(2);
  expect(readRecording(files)).toMatchObject({
    files: 2,
    lines: 2,
    torn: [join(directory, "b.ndjson")],
  });
  writeFileSync(join(directory, "c.ndjson"), textOf(start("a")));
  expect(() => readRecording(findStepFiles([directory]))).toThrow("the same run is recorded in");
});
