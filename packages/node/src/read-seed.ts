import { closeSync, fstatSync, openSync, readFileSync } from "node:fs";
import { hexToBytes } from "@quorate/core";

/** A key file could not be used. Its message never holds any of the key. */
export class KeyFileError extends Error {
  override readonly name = "KeyFileError";
  readonly code = "KEY_FILE";
}

/**
 * Reads an Ed25519 seed (64 hexadecimal digits) from a file that only its owner may read.
 * @throws KeyFileError naming the file and what to do
 */
export function readSeed(path: string): Uint8Array {
  const text = readSecret(path, "key file");
  if (!/^[0-9a-fA-F]{64}$/.test(text))
    throw new KeyFileError(
      `key file ${path} must hold 64 hexadecimal digits (its content is not shown)`,
    );
  return hexToBytes(text);
}

/**
 * Reads a secret from a file that only its owner may read.
 * @throws KeyFileError naming the file and what to do
 */
export function readSecret(path: string, what: string): string {
  let file: number;
  try {
    file = openSync(path, "r");
  } catch (error) {
    const why = error instanceof Error && "code" in error ? String(error.code) : "unknown";
    throw new KeyFileError(
      why === "ENOENT"
        ? `${what} ${path} does not exist`
        : `${what} ${path} can't be read (${why})`,
    );
  }
  try {
    if ((fstatSync(file).mode & 0o077) !== 0)
      throw new KeyFileError(`${what} ${path} can be read by others: run chmod 600 ${path}`);
    return readFileSync(file, "utf8").trim();
  } finally {
    closeSync(file);
  }
}
