import { randomUUID } from "node:crypto";
import { closeSync, mkdirSync, openSync, readFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import {
  LIMITS,
  STEP_FORMAT,
  type StepLine,
  type StepOutcome,
  type StepStart,
  writeStepLine,
} from "@quorate/core";
import type { Logger, StepLog } from "@quorate/ports";

export interface StepFileOptions {
  /** Made when it is missing. Each run of each process has a file of its own in it. */
  readonly directory: string;
  readonly program: "node" | "submitter" | "trustees";
  /** The process's own name. */
  readonly name: string;
  readonly clusterId: string;
  readonly protocol: StepStart["protocol"];
}

/** The record of one run, from `open` to `close`. */
export interface StepFile extends StepLog {
  /** Begins the record. Throws what the file system says when there can't be one. */
  open(): void;
  /** Ends it: a run whose record has no end was cut short. Idempotent, never throws. */
  close(): void;
}

/**
 * A record of steps in a file. Each line is handed to the system in one call and past every buffer of ours, so that a
 * kill of this process takes nothing that was said, and no memory grows. Lines are told apart by their ends: the last
 * one of a run that was cut short may be torn.
 */
export function createStepFile(
  { directory, ...process }: StepFileOptions,
  {
    logger,
    sizeBytesMax = LIMITS.stepFileBytesMax,
    fileSystem = { closeSync, writeSync },
  }: StepFileDependencies,
): StepFile {
  let file: number | null = null;
  let sizeBytes = 0;
  let calls = 0;
  /** Lets go of the file first: a close that fails has closed it all the same, and must not be tried by each step. */
  const release = (): { readonly closeError?: unknown } => {
    const open = file;
    file = null;
    try {
      if (open !== null) fileSystem.closeSync(open);
      return {};
    } catch (closeError) {
      return { closeError };
    }
  };
  const end = (message: string, fields: Record<string, unknown>): void => {
    logger.error(message, { directory, ...fields, ...release() });
  };
  const write = (lines: readonly StepLine[]): void => {
    if (file === null || lines.length === 0) return;
    const text = Buffer.from(lines.map((line) => `${writeStepLine(line)}\n`).join(""));
    if (sizeBytes + text.length > sizeBytesMax) {
      end("the record of steps is as large as it may be, and ends here", { sizeBytes });
      return;
    }
    try {
      for (let at = 0; at < text.length; ) at += fileSystem.writeSync(file, text, at);
      sizeBytes += text.length;
    } catch (error) {
      end("steps can't be written down, and their record ends here", { error });
    }
  };
  return {
    open: () => {
      mkdirSync(directory, { recursive: true });
      const run = randomUUID();
      const { program, name } = process;
      const fileName = `${program}-${name}-${run.slice(0, 8)}.ndjson`;
      file = openSync(join(directory, fileName), "ax", 0o644);
      write([
        {
          line: "start",
          at: nowUs(),
          format: STEP_FORMAT,
          run,
          program,
          name,
          clusterId: process.clusterId,
          pid: globalThis.process.pid,
          boot: bootId(),
          startedAtMs: Date.now(),
          protocol: process.protocol,
        },
      ]);
    },
    begin: (steps) => {
      const at = nowUs();
      const lines = steps.map((step) => ({ line: "begin", at, call: calls++, step }) as const);
      write(lines);
      return lines.map(({ call }) => call);
    },
    note: (call, signed) => write([{ line: "note", at: nowUs(), call, signed }]),
    end: (ends: readonly { readonly call: number; readonly outcome: StepOutcome }[]) => {
      const at = nowUs();
      write(ends.map(({ call, outcome }) => ({ line: "end", at, call, outcome })));
    },
    saw: (sight) => write([{ line: "saw", at: nowUs(), sight }]),
    close: () => {
      write([{ line: "stop", at: nowUs() }]);
      const { closeError } = release();
      if (closeError !== undefined)
        logger.error("the record of steps may lack its end", { directory, error: closeError });
    },
  };
}

/** The protocol settings that a record names. */
export function stepProtocolOf({
  settleMs,
  silenceStreakMax,
}: NonNullable<StepStart["protocol"]>): NonNullable<StepStart["protocol"]> {
  return { settleMs, silenceStreakMax };
}

interface StepFileDependencies {
  readonly logger: Logger;
  /** For tests. */
  readonly sizeBytesMax?: number;
  /** For tests: what a full or broken disk says. */
  readonly fileSystem?: {
    closeSync(file: number): void;
    writeSync(file: number, bytes: Uint8Array, offset: number): number;
  };
}

/** The system's monotonic clock, which all processes of one boot share; not this process's own zero. */
const nowUs = (): number => Number(process.hrtime.bigint() / 1_000n);

/** Null where the system does not tell, or where a preloaded library may have bent the clock. */
function bootId(): string | null {
  if (process.env["LD_PRELOAD"] !== undefined) return null;
  try {
    return readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
  } catch {
    return null;
  }
}
