import type { LogFields, Logger } from "@quorate/ports";

export interface LogRecord {
  readonly level: "error" | "warn" | "info" | "debug";
  readonly message: string;
  /** The parents' fields, overridden by the call's own. */
  readonly fields: LogFields;
}

export interface MemoryLogger extends Logger {
  /** What was logged, its children's records included, oldest first. */
  readonly records: readonly LogRecord[];
}

/**
 * A logger that only remembers.
 * @param recordsMax the oldest records beyond it are dropped; a long simulation logs without end.
 */
export function memoryLogger({
  recordsMax = 10_000,
}: {
  readonly recordsMax?: number;
} = {}): MemoryLogger {
  const records: LogRecord[] = [];
  const make = (base: LogFields): MemoryLogger => {
    const write =
      (level: LogRecord["level"]) =>
      (message: string, fields: LogFields = {}): void => {
        records.push({ level, message, fields: { ...base, ...fields } });
        if (records.length > recordsMax) records.shift();
      };
    return {
      records,
      error: write("error"),
      warn: write("warn"),
      info: write("info"),
      debug: write("debug"),
      child: (fields) => make({ ...base, ...fields }),
    };
  };
  return make({});
}
