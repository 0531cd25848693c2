import { createHash, randomBytes, timingSafeEqual } from "node:crypto";
import { closeSync, fstatSync, openSync, readFileSync } from "node:fs";
import { err, ok, type Result } from "@quorate/core";
import { systemErrorCode, TelemetryError } from "./errors.ts";
import { TELEMETRY_LIMITS } from "./limits.ts";

/**
 * What a token lets its holder do. Everyone may read; `vote` may also cast the trustee's votes, `operate` may also lift
 * bans, retry, freeze and thaw. Neither includes the other: whoever runs a node need not be able to speak for its trustee.
 */
export const API_ROLES = ["read", "vote", "operate"] as const;
export type ApiRole = (typeof API_ROLES)[number];

export interface ApiToken {
  readonly name: string;
  readonly role: ApiRole;
  /** SHA-256 of the token, in lower-case hex. A token has 256 random bits, so nothing slower is needed. */
  readonly sha256: string;
}

/** A token that has just been made. It is told once; only its hash is kept. */
export interface NewApiToken {
  readonly token: string;
  readonly entry: ApiToken;
}

const TOKEN_PREFIX = "qrt_";
const TOKEN_BYTES = 32;

/** @param name who it is for: 1 to 64 of `A-Z a-z 0-9 . _ -` */
export function createApiToken(name: string, role: ApiRole): NewApiToken {
  // Base64url, so that it fits a header and a WebSocket's subprotocol as it is.
  const token = `${TOKEN_PREFIX}${randomBytes(TOKEN_BYTES).toString("base64url")}`;
  return { token, entry: apiTokenEntry(token, name, role) };
}

/** What a token file says of a token that is there already. */
export function apiTokenEntry(token: string, name: string, role: ApiRole): ApiToken {
  return { name, role, sha256: hashOf(token).toString("hex") };
}

export function isTokenName(text: unknown): text is string {
  return typeof text === "string" && /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/.test(text);
}

export function isApiRole(text: unknown): text is ApiRole {
  return API_ROLES.some((role) => role === text);
}

/** Reads a token file's text: a JSON list of `{name, role, sha256}`. The error says which entry is wrong, and never quotes one. */
export function parseTokenList(text: string): Result<readonly ApiToken[], string> {
  let list: unknown;
  try {
    list = JSON.parse(text);
  } catch {
    return err("is not valid JSON");
  }
  if (!Array.isArray(list)) return err("must be a JSON list of {name, role, sha256}");
  if (list.length > TELEMETRY_LIMITS.apiTokensMax)
    return err(`has more than ${TELEMETRY_LIMITS.apiTokensMax} tokens`);
  const tokens: ApiToken[] = [];
  for (const [index, item] of list.entries()) {
    const read = readEntry(item);
    if (typeof read === "string") return err(`entry ${index + 1}: ${read}`);
    if (tokens.some((token) => token.name === read.name))
      return err(`entry ${index + 1}: the name ${read.name} is there twice`);
    if (tokens.some((token) => token.sha256 === read.sha256))
      return err(`entry ${index + 1}: the same token is there twice`);
    tokens.push(read);
  }
  return ok(tokens);
}

function readEntry(item: unknown): ApiToken | string {
  const fields = typeof item === "object" && item !== null ? (item as Record<string, unknown>) : {};
  const { name, role, sha256, ...rest } = fields;
  if (Object.hasOwn(rest, "token"))
    return "holds a token itself: only its sha256 belongs here (quorate token create prints the line)";
  const unknown = Object.keys(rest)[0];
  if (unknown !== undefined) return "has fields other than name, role and sha256";
  if (!isTokenName(name)) return "name must be 1 to 64 of A-Z a-z 0-9 . _ -";
  if (!isApiRole(role)) return `role must be one of ${API_ROLES.join(", ")}`;
  if (typeof sha256 !== "string" || !/^[0-9a-f]{64}$/.test(sha256))
    return "sha256 must be 64 lower-case hexadecimal digits";
  return { name, role, sha256 };
}

/**
 * Reads a token file that only its owner may read.
 * @throws TelemetryError TOKENS_FILE naming the file and what to do
 */
export function readTokensFile(path: string): readonly ApiToken[] {
  const refuse = (why: string, cause?: unknown): TelemetryError =>
    new TelemetryError("TOKENS_FILE", `token file ${path} ${why}`, { retryable: false, cause });
  let file: number;
  try {
    file = openSync(path, "r");
  } catch (cause) {
    const code = systemErrorCode(cause) ?? "unknown";
    throw refuse(code === "ENOENT" ? "does not exist" : `can't be read (${code})`, cause);
  }
  try {
    if ((fstatSync(file).mode & 0o077) !== 0)
      throw refuse(`can be read by others: run chmod 600 ${path}`);
    const tokens = parseTokenList(readFileSync(file, "utf8"));
    if (!tokens.ok) throw refuse(tokens.error);
    return tokens.value;
  } finally {
    closeSync(file);
  }
}

/** Whose token it is, or null. Takes as long for a wrong token as for a right one. */
export function holderOf(token: string, tokens: readonly ApiToken[]): ApiToken | null {
  const hash = hashOf(token);
  let found: ApiToken | null = null;
  for (const entry of tokens)
    if (timingSafeEqual(hash, Buffer.from(entry.sha256, "hex"))) found = entry;
  return found;
}

function hashOf(token: string): Buffer {
  return createHash("sha256").update(token, "utf8").digest();
}
