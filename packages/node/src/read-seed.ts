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
  let file: number;
  try {
    file = openSync(path, "r");
  } catch (error) {
    const why = error instanceof Error && "code" in error ? String(error.code) : "unknown";
    throw new KeyFileError(
      why === "ENOENT"
        ? `key file ${path} does not exist`
        : `key file ${path} can't be read (${why})`,
    );
  }
  try {
    if ((fstatSync(file).mode & 0o077) !== 0)
      throw new KeyFileError(`key file ${path} can be read by others: run chmod 600 ${path}`);
    const text = readFileSync(file, "utf8").trim();
    if (!/^[0-9a-fA-F]{64}$/.test(text))
      throw new KeyFileError(
        `key file ${path} must hold 64 hexadecimal digits (its content is not shown)`,
      );
    return hexToBytes(text);
  } finally {
    closeSync(file);
  }
}
