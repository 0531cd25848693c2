export type LogFields = Readonly<Record<string, unknown>>;

/**
 * Structured log: a constant message plus fields, never keys or raw network bytes.
 * error = somebody must act, warn = watch it, info = a state changed, debug = for developers.
 */
export interface Logger {
  error(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  debug(message: string, fields?: LogFields): void;
  child(fields: LogFields): Logger;
}
