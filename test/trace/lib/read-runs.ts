import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import {
  readStepLine,
  type SignedNote,
  type Step,
  type StepLine,
  type StepOutcome,
  type StepSight,
  type StepStart,
} from "@quorate/core";

/** A line of a file, for whoever is to look it up. */
export interface Place {
  readonly file: string;
  readonly line: number;
}

/** One call from its begin to its end. */
export interface Call {
  readonly run: Run;
  readonly place: Place;
  readonly step: Step;
  readonly beganAt: number;
  /** Null when nobody knows when it ended. */
  endedAt: number | null;
  /** What came of it; unknown while nothing says otherwise. */
  outcome: StepOutcome;
  signed: SignedNote | null;
}

export interface Sighting {
  readonly run: Run;
  readonly place: Place;
  readonly at: number;
  readonly sight: StepSight;
}

/** What one run of one process recorded. */
export interface Run {
  readonly file: string;
  readonly start: StepStart;
  readonly calls: Call[];
  readonly sights: Sighting[];
  /** It said that it ends; else it was cut short. */
  ended: boolean;
}

export interface Recording {
  readonly runs: readonly Run[];
  readonly files: number;
  readonly lines: number;
  /** Files whose last line was cut off, by a kill in the middle of it. */
  readonly torn: readonly string[];
}

/** A file that is no record: somebody changed it, or it was written by another version. */
export class StepFileError extends Error {
  override readonly name = "StepFileError";
  readonly code = "STEP_FILE_INVALID";
  readonly retryable = false;
  constructor(place: Place, message: string) {
    super(`${place.file}:${place.line}: ${message}`);
  }
}

/** The step files that paths name: files as they are, folders with all that is below them. */
export function findStepFiles(paths: readonly string[]): readonly string[] {
  return paths.flatMap((path) => {
    if (!statSync(path).isDirectory()) return [path];
    return readdirSync(path, { recursive: true, encoding: "utf8" })
      .filter((name) => name.endsWith(".ndjson"))
      .map((name) => join(path, name))
      .sort();
  });
}

/** @throws StepFileError at the first line that can't be one of a record */
export function readRecording(files: readonly string[]): Recording {
  const runs: Run[] = [];
  const torn: string[] = [];
  let lines = 0;
  for (const file of files) {
    const read = parseRun(file, readFileSync(file, "utf8"));
    if (read.torn) torn.push(file);
    if (read.run !== null) runs.push(read.run);
    lines += read.lines;
  }
  const seen = new Map<string, string>();
  for (const { file, start } of runs) {
    const other = seen.get(start.run);
    if (other !== undefined)
      throw new StepFileError({ file, line: 1 }, `the same run is recorded in ${other} too`);
    seen.set(start.run, file);
  }
  return { runs, files: files.length, lines, torn };
}

/** Reads one file's text. Only its last line may be cut off, and only when the run did not end in good order. */
export function parseRun(
  file: string,
  text: string,
): { readonly run: Run | null; readonly lines: number; readonly torn: boolean } {
  const whole = text.split("\n");
  const rest = whole.pop() ?? "";
  let run: Run | null = null;
  const calls = new Map<number, Call>();
  for (const [index, content] of whole.entries()) {
    const place = { file, line: index + 1 };
    const read = readStepLine(content);
    if (!read.ok) throw new StepFileError(place, read.error);
    if (run === null) {
      if (read.value.line !== "start")
        throw new StepFileError(place, "the first line must be a start");
      run = { file, start: read.value, calls: [], sights: [], ended: false };
    } else takeLine(run, calls, read.value, place);
  }
  const torn = rest !== "";
  if (torn && run?.ended === true)
    throw new StepFileError(
      { file, line: whole.length + 1 },
      "there is more after the end of the run",
    );
  return { run, lines: whole.length, torn };
}

function takeLine(run: Run, calls: Map<number, Call>, line: StepLine, place: Place): void {
  const refuse = (message: string): never => {
    throw new StepFileError(place, message);
  };
  if (run.ended) refuse("there is more after the end of the run");
  switch (line.line) {
    case "start":
      return refuse("a run starts once");
    case "begin": {
      if (calls.has(line.call)) refuse(`call ${line.call} began before`);
      const call: Call = {
        run,
        place,
        step: line.step,
        beganAt: line.at,
        endedAt: null,
        outcome: { kind: "unknown", why: "the run was cut short" },
        signed: null,
      };
      calls.set(line.call, call);
      run.calls.push(call);
      return;
    }
    case "note":
    case "end": {
      const call = calls.get(line.call);
      if (call === undefined) return refuse(`call ${line.call} never began`);
      if (call.endedAt !== null) return refuse(`call ${line.call} has ended before`);
      if (line.line === "note") call.signed = line.signed;
      else {
        call.endedAt = line.at;
        call.outcome = line.outcome;
      }
      return;
    }
    case "saw":
      run.sights.push({ run, place, at: line.at, sight: line.sight });
      return;
    case "stop":
      run.ended = true;
  }
}

/** Whether one thing is known to have been over before the other began: within a run, and between runs of one boot. */
export function wasBefore(
  first: { readonly run: Run; readonly endedAt: number | null },
  second: { readonly run: Run; readonly beganAt: number },
): boolean {
  const { boot } = first.run.start;
  const comparable = first.run === second.run || (boot !== null && boot === second.run.start.boot);
  return comparable && first.endedAt !== null && first.endedAt < second.beganAt;
}
