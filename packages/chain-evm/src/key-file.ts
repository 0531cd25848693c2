import { constants } from "node:fs";
import { open } from "node:fs/promises";

import { assert } from "@quorate/core";
import type { AbortOptions, Hex } from "@quorate/ports";

import { parseHex } from "./hex.ts";
import { KeyError } from "./key-error.ts";
import { toAccount } from "./local-signer.ts";

const GROUP_OR_WORLD = 0o077;
// 0x, 64 digits and a line end fit; a whole other file does not.
const KEY_FILE_BYTES_MAX = 128;

/**
 * Reads a private key from a file: 64 hexadecimal digits, with or without 0x and a final line end.
 * The file must be readable by its owner alone.
 * @throws KeyError KEY_FILE_UNREADABLE, KEY_FILE_EXPOSED or KEY_INVALID; none holds the key.
 */
export async function loadKeyFile(path: string, options: AbortOptions = {}): Promise<Hex> {
  const what = { what: "key file", bytesMax: KEY_FILE_BYTES_MAX, holds: "one private key" };
  const text = (await readSecretFile(path, what, options)).trim();
  toAccount(text);
  const key = parseHex(text.startsWith("0x") ? text : `0x${text}`);
  assert(key !== null, "a key that makes an account is hexadecimal");
  return key;
}

/**
 * Reads a file that others than its owner may not even read.
 * @throws KeyError KEY_FILE_UNREADABLE, KEY_FILE_EXPOSED, or KEY_INVALID when it is too long.
 */
export async function readSecretFile(
  path: string,
  {
    what,
    bytesMax,
    holds,
  }: { readonly what: string; readonly bytesMax: number; readonly holds: string },
  { signal }: AbortOptions = {},
): Promise<string> {
  signal?.throwIfAborted();
  const file = await open(path, constants.O_RDONLY).catch((error: unknown) => {
    throw new KeyError(
      "KEY_FILE_UNREADABLE",
      `${what} ${path} cannot be opened: ${errorCode(error)}`,
    );
  });
  try {
    // Asked of the open file, not of the path: nobody can swap it in between.
    const status = await file.stat();
    if (!status.isFile()) {
      throw new KeyError("KEY_FILE_UNREADABLE", `${what} ${path} is not a regular file`);
    }
    const mode = status.mode & 0o777;
    if ((mode & GROUP_OR_WORLD) !== 0) {
      throw new KeyError(
        "KEY_FILE_EXPOSED",
        `${what} ${path} has mode ${mode.toString(8).padStart(4, "0")}: others than its owner have access. Run: chmod 600 ${path}`,
      );
    }
    if (status.size > bytesMax) {
      throw new KeyError("KEY_INVALID", `${what} ${path} is too long to hold ${holds}`);
    }
    return await file.readFile({ encoding: "utf8", signal });
  } finally {
    await file.close();
  }
}

function errorCode(error: unknown): string {
  return error instanceof Error && "code" in error ? String(error.code) : "unknown error";
}
