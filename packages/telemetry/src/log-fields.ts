import type { LogFields } from "@quorate/ports";
import { TELEMETRY_LIMITS } from "./limits.ts";

const REDACTED = "[redacted]";

/** Names of secrets, compared without case, `-` and `_`. `key` counts alone only: `publicKey` is not a secret. */
const SECRET_NAMES: ReadonlySet<string> = new Set(["key", "authorization", "cookie", "mnemonic"]);
const SECRET_ENDINGS = [
  "privatekey",
  "secretkey",
  "apikey",
  "seed",
  "password",
  "passphrase",
  "secret",
  "token",
] as const;

/** Names that pino writes itself. A field of that name would appear twice in the line. */
const RESERVED_NAMES: ReadonlySet<string> = new Set(["level", "time", "msg"]);

/** `scheme://user:password@`, bounded where it could backtrack. */
const URL_PASSWORD = /([a-z][a-z0-9+.-]{0,30}:\/\/[^/\s:@]{0,256}:)[^@\s/]{1,4096}@/gi;

interface Walk {
  valuesLeft: number;
  readonly stacks: boolean;
}

/**
 * Makes fields fit for a log line, at any depth: secrets redacted by name, passwords cut out of URLs, errors with
 * `code` and `cause`, bigints as decimal strings, byte arrays as their length only, everything bounded.
 * Never throws: a log call must not fail the work it reports.
 * @param options.stacks whether errors carry their stack.
 */
export function safeFields(fields: LogFields, options: { readonly stacks: boolean }): LogFields {
  const walk: Walk = { valuesLeft: TELEMETRY_LIMITS.logValuesMax, stacks: options.stacks };
  try {
    return Object.fromEntries(
      Object.entries(fields)
        .filter(([, value]) => value !== undefined)
        .map(([name, value]) => [
          RESERVED_NAMES.has(name) ? `${name}_` : name,
          named(name, value, 0, walk),
        ]),
    );
  } catch {
    // A getter or toJSON of the caller's object threw.
    return { fieldsUnreadable: true };
  }
}

function named(name: string, value: unknown, depth: number, walk: Walk): unknown {
  if (isSecretName(name) && value !== undefined && value !== null) return REDACTED;
  return plain(value, depth, walk);
}

function isSecretName(name: string): boolean {
  const bare = name.toLowerCase().replaceAll(/[-_]/g, "");
  return SECRET_NAMES.has(bare) || SECRET_ENDINGS.some((ending) => bare.endsWith(ending));
}

function plain(value: unknown, depth: number, walk: Walk): unknown {
  if (walk.valuesLeft <= 0) return "[cut]";
  walk.valuesLeft -= 1;
  if (typeof value === "string") return plainText(value);
  if (typeof value === "bigint") return value.toString();
  if (typeof value === "number") return Number.isFinite(value) ? value : String(value);
  if (typeof value === "function" || typeof value === "symbol") return `[${typeof value}]`;
  if (typeof value === "object" && value !== null) return plainObject(value, depth, walk);
  return value;
}

function plainObject(value: object, depth: number, walk: Walk): unknown {
  if (ArrayBuffer.isView(value) || value instanceof ArrayBuffer)
    return `[${value.byteLength} bytes]`;
  // Also what ends a circular structure.
  if (depth >= TELEMETRY_LIMITS.logDepthMax) return "[too deep]";
  if (value instanceof Error) return plainError(value, depth, walk);
  if ("toJSON" in value && typeof value.toJSON === "function") {
    return plain(value.toJSON(), depth + 1, walk);
  }
  if (value instanceof Map) return plainEntries([...value.entries()], depth, walk);
  if (Array.isArray(value) || value instanceof Set) return plainItems([...value], depth, walk);
  return plainEntries(Object.entries(value), depth, walk);
}

function plainItems(items: readonly unknown[], depth: number, walk: Walk): readonly unknown[] {
  const kept = items.slice(0, Math.max(walk.valuesLeft, 0));
  const out = kept.map((item) => plain(item, depth + 1, walk));
  return kept.length < items.length ? [...out, `[${items.length - kept.length} more]`] : out;
}

function plainEntries(
  entries: readonly (readonly [unknown, unknown])[],
  depth: number,
  walk: Walk,
): Record<string, unknown> {
  const kept = entries.slice(0, Math.max(walk.valuesLeft, 0));
  return Object.fromEntries(
    kept.map(([name, value]) => {
      const text = String(name);
      return [text, named(text, value, depth + 1, walk)];
    }),
  );
}

function plainError(error: Error, depth: number, walk: Walk): Record<string, unknown> {
  const own = Object.entries(error).filter(
    ([name]) => !["name", "message", "stack", "cause", "errors"].includes(name),
  );
  return {
    type: plainText(error.name),
    message: plainText(error.message),
    ...plainEntries(own, depth, walk),
    ...(error.cause === undefined ? {} : { cause: plain(error.cause, depth + 1, walk) }),
    ...(error instanceof AggregateError ? { errors: plain(error.errors, depth + 1, walk) } : {}),
    ...(walk.stacks && error.stack !== undefined ? { stack: plainText(error.stack) } : {}),
  };
}

function plainText(text: string): string {
  const max = TELEMETRY_LIMITS.logStringCharsMax;
  // Redacted before it is cut: half a URL would show the password and hide the `@` that marks it.
  const clean = text.includes("://") ? text.replaceAll(URL_PASSWORD, `$1${REDACTED}@`) : text;
  return clean.length <= max ? clean : `${clean.slice(0, max)}[${clean.length - max} more]`;
}
