import type { LogFields, Logger } from "@quorate/ports";

/** A logger that shows each record to somebody and keeps none. */
export function watchingLogger(
  onRecord: (
    level: "error" | "warn" | "info" | "debug",
    message: string,
    fields: LogFields,
  ) => void,
): Logger {
  const logger: Logger = {
    error: (message, fields = {}) => onRecord("error", message, fields),
    warn: (message, fields = {}) => onRecord("warn", message, fields),
    info: (message, fields = {}) => onRecord("info", message, fields),
    debug: (message, fields = {}) => onRecord("debug", message, fields),
    child: () => logger,
  };
  return logger;
}
