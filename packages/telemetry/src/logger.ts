import { mkdirSync, openSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname } from "node:path";
import { isatty } from "node:tty";
import type { AbortOptions, Clock, LogFields, Logger } from "@quorate/ports";
import { pino } from "pino";
import { systemErrorCode, TelemetryError } from "./errors.ts";
import { TELEMETRY_LIMITS } from "./limits.ts";
import { safeFields } from "./log-fields.ts";
import { systemClock } from "./system-clock.ts";
import { untilAborted } from "./until-aborted.ts";

export type LogLevel = "error" | "warn" | "info" | "debug" | "silent";

export interface LoggerOptions {
  /** The least severe level that is written. */
  readonly level: LogLevel;
  /** For people instead of machines; JSON lines otherwise. */
  readonly pretty: boolean;
  /** "stdout" (default), "stderr", or the path of a file to append to; its folder is made. */
  readonly destination?: string;
  /** Fields of every line. */
  readonly base?: LogFields;
  /** Stamps the lines; the machine's clock by default. */
  readonly clock?: Pick<Clock, "nowMs">;
}

export interface FlushableLogger extends Logger {
  /** Resolves when every line so far has reached the destination. Idempotent. @throws TelemetryError LOG_FLUSH */
  flush(options?: AbortOptions): Promise<void>;
  /** Lines lost since the start because the reader was slower than the bounded buffer. */
  droppedLines(): number;
}

type LineLevel = Exclude<LogLevel, "silent">;

/**
 * Makes a logger that writes one JSON object a line: level, ISO time, msg, fields.
 * Secrets are redacted by name at any depth. Errors carry code and cause; their stack only on warn and error lines,
 * or on every line when the level is debug. Lines are written in the background and at exit, so that a slow reader
 * does not stop the caller.
 * @throws TelemetryError LOG_DESTINATION when the file cannot be opened.
 */
export function createLogger(options: LoggerOptions): FlushableLogger {
  const fd = openDestination(options.destination ?? "stdout");
  const stream = pino.destination({
    dest: fd,
    sync: false,
    // Not 0: sonic-boom's flush then returns at once, whatever is still in flight.
    minLength: 1,
    maxLength: TELEMETRY_LIMITS.logBufferBytesMax,
  });
  let dropped = 0;
  stream.on("drop", () => {
    dropped += 1;
  });
  // A full disk or a closed pipe must not end the process. Unwritten bytes stay in the bounded buffer and are
  // tried again with the next line.
  stream.on("error", () => {});

  const clock = options.clock ?? systemClock();
  const root = pino(
    {
      level: options.level,
      base: null,
      timestamp: () => `,"time":"${new Date(clock.nowMs()).toISOString()}"`,
      formatters: { level: (label) => ({ level: label }) },
    },
    options.pretty ? prettyStream(stream, isatty(fd)) : stream,
  );
  const bound = safeFields(options.base ?? {}, { stacks: options.level === "debug" });
  return {
    ...bindLogger(root, bound),
    flush: ({ signal } = {}) => untilAborted(flushed(stream), signal),
    droppedLines: () => dropped,
  };
}

/** A child holds its fields itself, because pino's own child would write a repeated name twice into the line. */
function bindLogger(root: pino.Logger, bound: LogFields): Logger {
  const debugging = root.level === "debug";
  const write = (level: LineLevel, message: string, fields: LogFields | undefined): void => {
    if (!root.isLevelEnabled(level)) return;
    const stacks = debugging || level === "warn" || level === "error";
    root[level](
      fields === undefined ? bound : { ...bound, ...safeFields(fields, { stacks }) },
      message,
    );
  };
  return {
    error: (message, fields) => write("error", message, fields),
    warn: (message, fields) => write("warn", message, fields),
    info: (message, fields) => write("info", message, fields),
    debug: (message, fields) => write("debug", message, fields),
    child: (fields) => bindLogger(root, { ...bound, ...safeFields(fields, { stacks: debugging }) }),
  };
}

/** Opened here and not by the stream, so that a wrong path fails at the start and not as an event later. */
function openDestination(destination: string): number {
  if (destination === "stdout") return 1;
  if (destination === "stderr") return 2;
  try {
    mkdirSync(dirname(destination), { recursive: true });
    return openSync(destination, "a", 0o640);
  } catch (cause) {
    throw new TelemetryError("LOG_DESTINATION", `cannot open the log file ${destination}`, {
      retryable: false,
      cause,
    });
  }
}

/** pino-pretty formats in this thread and is loaded only when asked for. */
function prettyStream(
  stream: ReturnType<typeof pino.destination>,
  colorize: boolean,
): { write(line: string): void } {
  const load = createRequire(import.meta.url);
  const pretty: typeof import("pino-pretty") = load("pino-pretty");
  const format = pretty.prettyFactory({ colorize, translateTime: "SYS:HH:MM:ss.l" });
  return {
    write: (line) => {
      stream.write(format(line));
    },
  };
}

function flushed(stream: ReturnType<typeof pino.destination>): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  stream.flush((cause) => {
    // After the last write the stream calls fsync, which pipes and terminals do not know.
    const code = systemErrorCode(cause);
    if (!cause || code === "EINVAL" || code === "ENOTSUP") resolve();
    else {
      const failure = { retryable: true, cause };
      reject(new TelemetryError("LOG_FLUSH", "log lines could not be written", failure));
    }
  });
  return promise;
}
