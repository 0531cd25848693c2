import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import {
  readStepLine,
  type Step,
  type StepLine,
  type StepSight,
  unwrap,
  writeStepLine,
} from "@quorate/core";
import { checkRecording, type TraceReport } from "./check-trace.ts";
import { type Place, parseRun } from "./read-runs.ts";

const FIXTURES = join(import.meta.dirname, "..", "fixtures");

type Begin = Extract<StepLine, { readonly line: "begin" }>;
type OfOp<Op extends Step["op"]> = Begin & { readonly step: Extract<Step, { readonly op: Op }> };

interface BeginOf<Op extends Step["op"]> {
  readonly spot: Spot;
  readonly line: OfOp<Op>;
}

interface EndOf {
  readonly spot: Spot;
  readonly line: Extract<StepLine, { readonly line: "end" }>;
}

/** Where a line stands. */
export interface Spot {
  readonly file: string;
  index: number;
}

/** A recording that can be cut and glued, for tests: wrong steps are planted into what a real run recorded. */
export class Tape {
  readonly #files: Map<string, StepLine[]>;
  #calls = 10_000;

  private constructor(files: Map<string, StepLine[]>) {
    this.#files = files;
  }

  static fixture(name: string): Tape {
    const folder = join(FIXTURES, name);
    return new Tape(
      new Map(
        readdirSync(folder)
          .sort()
          .map((file) => [
            file,
            readFileSync(join(folder, file), "utf8")
              .trimEnd()
              .split("\n")
              .map((line) => unwrap(readStepLine(line))),
          ]),
      ),
    );
  }

  check(): TraceReport {
    const runs = [...this.#files].map(([file, lines]) => {
      const text = lines.map((line) => `${writeStepLine(line)}\n`).join("");
      const { run } = parseRun(file, text);
      if (run === null) throw new Error(`${file} is empty`);
      return run;
    });
    return checkRecording({ runs, files: runs.length, lines: 0, torn: [] });
  }

  place({ file, index }: Spot): Place {
    return { file, line: index + 1 };
  }

  /** The begin of the first call of a kind that was no conflict, whichever process made it. */
  begin<Op extends Step["op"]>(
    op: Op,
    matches?: (step: Extract<Step, { readonly op: Op }>) => boolean,
  ): BeginOf<Op> {
    const first = this.#begins(op, matches).at(0);
    if (first === undefined) throw new Error(`the fixture has no such ${op}`);
    return first;
  }

  last<Op extends Step["op"]>(
    op: Op,
    matches?: (step: Extract<Step, { readonly op: Op }>) => boolean,
  ): BeginOf<Op> {
    const last = this.#begins(op, matches).at(-1);
    if (last === undefined) throw new Error(`the fixture has no ${op}`);
    return last;
  }

  #begins<Op extends Step["op"]>(
    op: Op,
    matches: (step: Extract<Step, { readonly op: Op }>) => boolean = () => true,
  ): readonly BeginOf<Op>[] {
    return this.#all()
      .flatMap(({ spot, line }) =>
        line.line === "begin" && isOf(line, op) && matches(line.step) ? [{ spot, line }] : [],
      )
      .filter((call) => this.#ends(call)?.line.outcome.kind !== "conflict")
      .sort((a, b) => a.line.at - b.line.at);
  }

  /** The line by which a call ended. */
  endOf(call: { readonly spot: Spot; readonly line: Begin }): EndOf {
    const end = this.#ends(call);
    if (end === null) throw new Error("the call has no end");
    return end;
  }

  #ends({ spot, line }: { readonly spot: Spot; readonly line: Begin }): EndOf | null {
    for (const candidate of this.#all())
      if (
        candidate.spot.file === spot.file &&
        candidate.line.line === "end" &&
        candidate.line.call === line.call
      )
        return { spot: candidate.spot, line: candidate.line };
    return null;
  }

  replace({ file, index }: Spot, line: StepLine): void {
    this.#lines(file)[index] = line;
  }

  /** Changes the step of a call's begin. */
  edit<Op extends Step["op"]>(
    { spot, line }: BeginOf<Op>,
    changes: Partial<OfOp<Op>["step"]>,
  ): void {
    this.replace(spot, { ...line, step: { ...line.step, ...changes } } as StepLine);
  }

  remove(matches: (line: StepLine, file: string) => boolean): void {
    for (const [file, lines] of this.#files)
      this.#files.set(
        file,
        lines.filter((line) => !matches(line, file)),
      );
  }

  /** Puts a whole call behind a line, at the same moment, with an outcome of its own. @returns where it begins */
  insertCall(
    after: Spot,
    step: Step,
    outcome: Extract<StepLine, { readonly line: "end" }>["outcome"],
  ): Spot {
    const lines = this.#lines(after.file);
    const at = lines[after.index]?.at ?? 0;
    const call = this.#calls++;
    lines.splice(
      after.index + 1,
      0,
      { line: "begin", at, call, step },
      { line: "end", at, call, outcome },
    );
    return { file: after.file, index: after.index + 1 };
  }

  /** Puts a sight behind a line, at the same moment. */
  insertSight(after: Spot, sight: StepSight): void {
    const lines = this.#lines(after.file);
    lines.splice(after.index + 1, 0, { line: "saw", at: lines[after.index]?.at ?? 0, sight });
  }

  /** The first sight of a kind. */
  sight<What extends StepSight["what"]>(what: What): Extract<StepSight, { readonly what: What }> {
    for (const { line } of this.#all())
      if (line.line === "saw" && isSight(line.sight, what)) return line.sight;
    throw new Error(`nobody saw a ${what}`);
  }

  /** Moves lines of one file to behind another line of it, with its time. */
  moveBehind(after: Spot, first: Spot, last: Spot): Spot {
    const lines = this.#lines(after.file);
    const at = lines[after.index]?.at ?? 0;
    const moved = lines.splice(first.index, last.index - first.index + 1);
    lines.splice(after.index + 1, 0, ...moved.map((line) => ({ ...line, at })));
    return { file: after.file, index: after.index + 1 };
  }

  /** A further run of the same program, on the same machine. */
  addRun(file: string, like: string, lines: (start: StepLine) => readonly StepLine[]): void {
    const [start] = this.#lines(like);
    if (start?.line !== "start") throw new Error("a file begins with its start");
    this.#files.set(file, [{ ...start, run: `planted-${file.length}` }, ...lines(start)]);
  }

  file(prefix: string): string {
    const found = [...this.#files.keys()].find((name) => name.startsWith(prefix));
    if (found === undefined) throw new Error(`no file begins with ${prefix}`);
    return found;
  }

  #lines(file: string): StepLine[] {
    const lines = this.#files.get(file);
    if (lines === undefined) throw new Error(`no file ${file}`);
    return lines;
  }

  #all(): readonly { readonly spot: Spot; readonly line: StepLine }[] {
    return [...this.#files].flatMap(([file, lines]) =>
      lines.map((line, index) => ({ spot: { file, index }, line })),
    );
  }
}

function isOf<Op extends Step["op"]>(line: Begin, op: Op): line is OfOp<Op> {
  return line.step.op === op;
}

function isSight<What extends StepSight["what"]>(
  sight: StepSight,
  what: What,
): sight is Extract<StepSight, { readonly what: What }> {
  return sight.what === what;
}
