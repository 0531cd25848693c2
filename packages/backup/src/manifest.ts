import { type ClusterId, err, ok, parseClusterId, type Result } from "@quorate/core";
import type { DumpFacts } from "@quorate/store-postgres";
import { sha256Hex } from "./files.ts";

/** The only form so far. A change that an old program would read wrongly gets another number. */
export const BACKUP_FORMAT = "quorate/backup/v1";
export const MANIFEST_FILE = "manifest.json";
export const ETCD_FILE = "etcd.snapshot";
/** Holds all of a manifest many times over; a file beyond it is none of ours. */
export const MANIFEST_BYTES_MAX = 4 * 1024 * 1024;

export interface FileEntry {
  /** Below the backup's directory, with "/". */
  readonly file: string;
  readonly bytes: number;
  /** Of the file as it lies there, in hex. */
  readonly sha256: string;
}

export interface TableEntry extends FileEntry {
  readonly name: string;
  readonly columns: readonly string[];
  readonly rows: number;
}

/** What a backup is, and what it must consist of. */
export interface Manifest {
  readonly format: typeof BACKUP_FORMAT;
  readonly clusterId: ClusterId;
  /** When its PostgreSQL part was taken, ISO 8601. */
  readonly createdAt: string;
  readonly tool: string;
  readonly etcd: FileEntry & {
    /** The etcd cluster's own id. */
    readonly lineage: string;
    readonly revisionAtLeast: string;
  };
  readonly postgres: Pick<
    DumpFacts,
    "schema" | "serverVersion" | "migrations" | "sequences" | "senders" | "projectorPosition"
  > & { readonly tables: readonly TableEntry[] };
}

/** The manifest as it is written: with a digest over everything else in it. */
export function manifestText(manifest: Manifest): string {
  return `${JSON.stringify({ ...manifest, digest: digestOf(manifest) }, null, 2)}\n`;
}

function digestOf(manifest: object): string {
  return sha256Hex(JSON.stringify(manifest));
}

/** Reads a manifest, or says what is wrong with it. What it says of the files is not held against them here. */
export function parseManifest(text: string): Result<Manifest, string> {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    return err("it is no JSON");
  }
  if (!isObject(json)) return err("it is no manifest");
  if (json["format"] !== BACKUP_FORMAT)
    return err(`its format is ${JSON.stringify(json["format"] ?? null)}, not ${BACKUP_FORMAT}`);
  const { digest, ...rest } = json;
  if (digest !== digestOf(rest)) return err("its digest does not fit its content");
  const clusterId = parseClusterId(rest["clusterId"]);
  if (!clusterId.ok) return err(`its cluster id: ${clusterId.error.message}`);
  const { etcd, postgres } = rest;
  if (!isObject(etcd) || !isEntry(etcd) || !isObject(postgres))
    return err("a part of it is missing");
  const { tables, migrations, sequences, senders } = postgres;
  if (!isList(tables, isTable) || !isList(migrations, isText))
    return err("its list of tables or migrations is not readable");
  if (!isList(sequences, isObject) || !isList(senders, isObject))
    return err("its list of sequences or senders is not readable");
  // The digest says that this program wrote the rest of it.
  return ok(rest as unknown as Manifest);
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);
const isText = (value: unknown): value is string => typeof value === "string";
const isCount = (value: unknown): boolean => Number.isSafeInteger(value) && Number(value) >= 0;

function isList(value: unknown, isItem: (item: unknown) => boolean): boolean {
  return Array.isArray(value) && value.every((item) => isItem(item));
}

// A path that leads out of the directory would make a restore read what nobody checked.
const FILE = /^(?:postgres\/)?[a-z0-9_]+\.(?:gz|snapshot)$/;

function isEntry({ file, bytes, sha256 }: Record<string, unknown>): boolean {
  return isText(file) && FILE.test(file) && isCount(bytes) && /^[0-9a-f]{64}$/.test(String(sha256));
}

function isTable(value: unknown): boolean {
  if (!isObject(value) || !isEntry(value)) return false;
  const { name, columns, rows } = value;
  return isText(name) && isList(columns, isText) && isCount(rows);
}
