import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { open, readdir, stat } from "node:fs/promises";
import { join, relative, resolve } from "node:path";
import { createGunzip } from "node:zlib";

import type { AbortOptions } from "@quorate/ports";
import { linesIn } from "./make-backup.ts";
import {
  type FileEntry,
  MANIFEST_BYTES_MAX,
  MANIFEST_FILE,
  type Manifest,
  parseManifest,
} from "./manifest.ts";

export interface BackupVerdict {
  /** Null when it is not readable. */
  readonly manifest: Manifest | null;
  /** All that is wrong; empty for a good backup. */
  readonly problems: readonly string[];
}

const SHA256_BYTES = 32;

/**
 * Reads a backup to its end and says all that is wrong with it. Needs neither server nor network. It finds damage;
 * who can write the directory can also write a manifest that fits.
 */
export async function verifyBackup(
  path: string,
  { signal }: AbortOptions = {},
): Promise<BackupVerdict> {
  const directory = resolve(path);
  const read = await readManifest(directory);
  if (typeof read === "string") return { manifest: null, problems: [read] };
  const manifest = read;
  const problems: string[] = [];
  const { etcd, postgres } = manifest;
  for (const entry of [etcd, ...postgres.tables]) {
    signal?.throwIfAborted();
    const problem = await fileProblem(directory, entry);
    if (problem !== null) problems.push(`${entry.file}: ${problem}`);
    else if (entry === etcd) {
      const found = await snapshotProblem(join(directory, entry.file), entry.bytes);
      if (found !== null) problems.push(`${entry.file}: ${found}`);
    }
  }
  for (const table of postgres.tables) {
    if (problems.some((problem) => problem.startsWith(`${table.file}:`))) continue;
    const rows = await countRows(join(directory, table.file));
    if (rows !== table.rows)
      problems.push(
        `${table.file}: it has ${rows ?? "no readable"} rows, the manifest says ${table.rows}`,
      );
  }
  const named = new Set([MANIFEST_FILE, etcd.file, ...postgres.tables.map(({ file }) => file)]);
  for (const file of await filesIn(directory))
    if (!named.has(file)) problems.push(`${file}: it is not in the manifest`);
  return { manifest, problems };
}

async function readManifest(directory: string): Promise<Manifest | string> {
  const path = join(directory, MANIFEST_FILE);
  const info = await stat(path).catch(() => null);
  if (info === null)
    return `${directory} is no backup, or not a whole one: it has no ${MANIFEST_FILE}`;
  if (info.size > MANIFEST_BYTES_MAX) return `${MANIFEST_FILE}: it is too large`;
  const handle = await open(path, "r");
  try {
    const parsed = parseManifest(await handle.readFile("utf8"));
    return parsed.ok ? parsed.value : `${MANIFEST_FILE}: ${parsed.error}`;
  } finally {
    await handle.close();
  }
}

async function fileProblem(directory: string, entry: FileEntry): Promise<string | null> {
  const hash = createHash("sha256");
  let bytes = 0;
  try {
    for await (const chunk of createReadStream(join(directory, entry.file))) {
      const part: Uint8Array = chunk;
      hash.update(part);
      bytes += part.length;
    }
  } catch (error) {
    const missing = error instanceof Error && "code" in error && error.code === "ENOENT";
    return missing ? "it is missing" : `it can't be read: ${String(error)}`;
  }
  if (bytes !== entry.bytes) return `it has ${bytes} bytes, the manifest says ${entry.bytes}`;
  return hash.digest("hex") === entry.sha256 ? null : "its SHA-256 is not the manifest's";
}

/** etcd's own mark: the file's pages, and their SHA-256 behind them. */
async function snapshotProblem(path: string, bytes: number): Promise<string | null> {
  const cut = "it ends before etcd's own checksum: the snapshot was cut off";
  if (bytes % 512 !== SHA256_BYTES) return cut;
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(path, { end: bytes - SHA256_BYTES - 1 })) {
    const part: Uint8Array = chunk;
    hash.update(part);
  }
  const handle = await open(path, "r");
  try {
    const stored = Buffer.alloc(SHA256_BYTES);
    await handle.read(stored, 0, SHA256_BYTES, bytes - SHA256_BYTES);
    return hash.digest().equals(stored) ? null : "etcd's own checksum does not fit";
  } finally {
    await handle.close();
  }
}

async function countRows(path: string): Promise<number | null> {
  let rows = 0;
  try {
    for await (const chunk of createReadStream(path).compose(createGunzip())) {
      const part: Uint8Array = chunk;
      rows += linesIn(part);
    }
    return rows;
  } catch {
    return null;
  }
}

async function filesIn(directory: string): Promise<readonly string[]> {
  const entries = await readdir(directory, { withFileTypes: true, recursive: true });
  return entries
    .filter((entry) => !entry.isDirectory())
    .map((entry) => relative(directory, join(entry.parentPath, entry.name)))
    .sort();
}
