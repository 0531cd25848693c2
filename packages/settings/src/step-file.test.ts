import { closeSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readStepLine, type StepLine, unwrap } from "@quorate/core";
import type { Logger } from "@quorate/ports";
import { afterEach, beforeEach, expect, test } from "vitest";
import { createStepFile } from "./step-file.ts";

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "quorate-steps-"));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const OPTIONS = {
  program: "node",
  name: "trustee-1",
  clusterId: "demo",
  protocol: { settleMs: 500, silenceStreakMax: 3 },
} as const;
const send = { op: "chain.send", bytes: "ab".repeat(32) } as const;

function loggerTo(errors: string[]): Logger {
  const logger: Logger = {
    error: (message) => void errors.push(message),
    warn: () => {},
    info: () => {},
    debug: () => {},
    child: () => logger,
  };
  return logger;
}

function linesOf(folder: string): readonly (readonly StepLine[])[] {
  return readdirSync(folder).map((name) =>
    readFileSync(join(folder, name), "utf8")
      .split("\n")
      .slice(0, -1)
      .map((line) => unwrap(readStepLine(line))),
  );
}

test("a step is in the file when begin returns, and its end when end does", () => {
  const folder = join(directory, "deep", "steps");
  const file = createStepFile({ directory: folder, ...OPTIONS }, { logger: loggerTo([]) });
  file.open();
  const calls = file.begin([send, send]);
  expect(calls).toEqual([0, 1]);
  expect(linesOf(folder)[0]?.map(({ line }) => line)).toEqual(["start", "begin", "begin"]);
  file.end([{ call: 1, outcome: { kind: "sent", answer: "accepted" } }]);
  file.saw({ what: "count", blockNumber: "1", count: "2" });
  file.close();
  file.close();
  const [lines = []] = linesOf(folder);
  expect(lines.map(({ line }) => line)).toEqual(["start", "begin", "begin", "end", "saw", "stop"]);
  expect(lines[0]).toMatchObject({ ...OPTIONS, line: "start", pid: process.pid });
  const times = lines.map(({ at }) => at);
  expect(times).toEqual(times.toSorted((a, b) => a - b));
});

test("each run has a file of its own", () => {
  for (let run = 0; run < 2; run++) {
    const file = createStepFile({ directory, ...OPTIONS }, { logger: loggerTo([]) });
    file.open();
    file.close();
  }
  expect(linesOf(directory)).toHaveLength(2);
});

test("a record that is full ends, says so once, and the process goes on", () => {
  const errors: string[] = [];
  const logger = loggerTo(errors);
  const file = createStepFile({ directory, ...OPTIONS }, { logger, sizeBytesMax: 600 });
  file.open();
  for (let i = 0; i < 20; i++)
    file.end(file.begin([send]).map((call) => ({ call, outcome: { kind: "done" } })));
  file.close();
  expect(errors).toEqual(["the record of steps is as large as it may be, and ends here"]);
  const [lines = []] = linesOf(directory);
  expect(lines.at(-1)?.line).not.toBe("stop");
});

const broken = (code: string): never => {
  throw Object.assign(new Error(code), { code });
};
/** As Linux does it: the descriptor is gone although close says that it failed. */
const closeThenFail = (file: number): void => {
  closeSync(file);
  broken("EIO");
};

test.each([
  {
    disk: "full when a step is written",
    sizeBytesMax: 100_000,
    writes: 1,
    error: "steps can't be written down, and their record ends here",
  },
  {
    disk: "broken when a full record is closed",
    sizeBytesMax: 600,
    writes: Infinity,
    error: "the record of steps is as large as it may be, and ends here",
  },
  {
    disk: "broken when the process ends",
    sizeBytesMax: 100_000,
    writes: Infinity,
    error: "the record of steps may lack its end",
  },
])("no step fails by a disk that is $disk: it is said once", ({ sizeBytesMax, writes, error }) => {
  const errors: string[] = [];
  let left = writes;
  let closes = 0;
  const fileSystem = {
    writeSync: (file: number, bytes: Uint8Array, offset: number) =>
      left-- > 0 ? writeSync(file, bytes, offset) : broken("ENOSPC"),
    closeSync: (file: number) => {
      closes += 1;
      closeThenFail(file);
    },
  };
  const file = createStepFile(
    { directory, ...OPTIONS },
    { logger: loggerTo(errors), sizeBytesMax, fileSystem },
  );
  file.open();
  for (let i = 0; i < 20; i++) {
    const calls = file.begin([send]);
    expect(calls).toEqual([i]);
    file.end(calls.map((call) => ({ call, outcome: { kind: "done" } })));
    file.saw({ what: "count", blockNumber: "1", count: "2" });
  }
  file.close();
  file.close();
  expect(errors).toEqual([error]);
  expect(closes).toBe(1);
});
