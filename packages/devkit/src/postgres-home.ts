import { createHash, randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import {
  chmod,
  chown,
  cp,
  lstat,
  mkdir,
  readdir,
  readFile,
  rename,
  rm,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";

import type { PostgresBinaries } from "./locate-postgres.ts";
import { CACHE_DIR } from "./repo-paths.ts";
import { runProgram } from "./run-program.ts";
import { canEnter, type UserIdentity } from "./unprivileged-user.ts";

/** Local development only: the server listens on 127.0.0.1 and holds nothing worth stealing. */
export const LOCAL_PASSWORD = "quorate-local";
export const LOCAL_USER = "quorate";

const MOVED_PREFIX = "quorate-pg-";
const ORIGIN_FILE = "origin";

type Options = {
  readonly user: UserIdentity | null;
  readonly signal?: AbortSignal | undefined;
};

/**
 * A bin directory the user can execute from.
 *
 * A checkout under /root is closed to everyone else; then the whole
 * installation is copied to the temporary directory, once per version.
 */
export async function usableBinDir(
  { binDir, portableRoot }: PostgresBinaries,
  { user, signal }: Options,
): Promise<string> {
  if (user === null || portableRoot === null) return binDir;
  const runs = await runProgram(join(binDir, "postgres"), ["--version"], {
    user,
    cwd: "/",
    signal,
  }).then(
    () => true,
    () => false,
  );
  if (runs) return binDir;
  signal?.throwIfAborted();
  const version = await postgresVersion(binDir, { signal });
  const copy = join(tmpdir(), `quorate-postgres-${version}-${process.arch}-u${user.uid}`);
  if (!existsSync(copy)) {
    await buildOnce(copy, user, async (unfinished) => {
      await cp(portableRoot, unfinished, { recursive: true, verbatimSymlinks: true });
      await openForReading(unfinished);
    });
  }
  return join(copy, "bin");
}

/** Reads "18.4" out of `postgres --version`. */
export async function postgresVersion(
  binDir: string,
  { signal }: { signal?: AbortSignal | undefined } = {},
): Promise<string> {
  const output = await runProgram(join(binDir, "postgres"), ["--version"], { signal });
  return /\d+(\.\d+)*/.exec(output)?.[0] ?? "unknown";
}

/**
 * The directory the database files go to: inside `dataDir`, or in the temporary
 * directory when the user cannot reach that. The same `dataDir` always gives the same answer.
 */
export async function databaseDir(dataDir: string, { user }: Options): Promise<string> {
  await mkdir(dataDir, { recursive: true });
  if (user === null) return join(dataDir, "pgdata");
  if (await canEnter(dirname(dataDir), user)) {
    await chown(dataDir, user.uid, user.gid);
    await chmod(dataDir, 0o711);
    return join(dataDir, "pgdata");
  }
  await removeOrphans();
  const id = createHash("sha256").update(dataDir).digest("hex").slice(0, 16);
  const moved = join(tmpdir(), `${MOVED_PREFIX}${id}`);
  await mkdir(moved, { recursive: true, mode: 0o755 });
  await writeFile(join(moved, ORIGIN_FILE), dataDir);
  await chown(moved, user.uid, user.gid);
  return join(moved, "pgdata");
}

/** Removes moved databases whose own directory has been deleted since. */
async function removeOrphans(): Promise<void> {
  for (const name of await readdir(tmpdir())) {
    if (!name.startsWith(MOVED_PREFIX)) continue;
    const moved = join(tmpdir(), name);
    const origin = await readFile(join(moved, ORIGIN_FILE), "utf8").catch(() => null);
    if (origin === null || existsSync(origin)) continue;
    await rm(moved, { recursive: true, force: true });
  }
}

/**
 * Fills `target` with a fresh database cluster, unless it holds one already.
 *
 * `initdb` takes seconds, a copy of its result a fraction of one; so its result is kept.
 */
export async function createDatabase(
  target: string,
  { binDir, user, signal }: Options & { readonly binDir: string },
): Promise<void> {
  if (existsSync(join(target, "PG_VERSION"))) return;
  const template = await databaseTemplate({ binDir, user, signal });
  // The copy is made by the user itself: PostgreSQL insists on owning its files.
  const unfinished = `${target}.new-${randomBytes(4).toString("hex")}`;
  await runProgram("cp", ["-Rp", template, unfinished], { user, cwd: "/", signal });
  await rename(unfinished, target);
}

async function databaseTemplate({
  binDir,
  user,
  signal,
}: Options & { readonly binDir: string }): Promise<string> {
  const version = await postgresVersion(binDir, { signal });
  const uid = user?.uid ?? process.getuid?.() ?? 0;
  const name = `postgres-template-${version}-u${uid}`;
  await mkdir(CACHE_DIR, { recursive: true });
  const inCache = user === null || (await canEnter(CACHE_DIR, user));
  const template = inCache ? join(CACHE_DIR, name) : join(tmpdir(), `quorate-${name}`);
  if (existsSync(template)) return template;
  await buildOnce(template, user, (unfinished) => initdb(unfinished, { binDir, user, signal }));
  return template;
}

async function initdb(
  target: string,
  { binDir, user, signal }: Options & { readonly binDir: string },
): Promise<void> {
  const passwordFile = `${target}.password`;
  await writeFile(passwordFile, `${LOCAL_PASSWORD}\n`, { mode: 0o600 });
  if (user !== null) await chown(passwordFile, user.uid, user.gid);
  try {
    const args = [
      ["--pgdata", target],
      ["--username", LOCAL_USER],
      ["--pwfile", passwordFile],
      ["--auth", "scram-sha-256"],
      ["--encoding", "UTF8"],
      ["--no-locale"],
      // The template is remade when lost; databases made from it run with fsync on.
      ["--no-sync"],
    ].flat();
    await runProgram(join(binDir, "initdb"), args, { user, cwd: "/", signal });
  } finally {
    await rm(passwordFile, { force: true });
  }
}

/** Builds a directory under another name and puts it in place whole; of two builders one wins. */
async function buildOnce(
  target: string,
  user: UserIdentity | null,
  build: (unfinished: string) => Promise<void>,
): Promise<void> {
  const unfinished = join(
    dirname(target),
    `.${basename(target)}-${randomBytes(4).toString("hex")}`,
  );
  try {
    await mkdir(unfinished, { mode: 0o700 });
    if (user !== null) await chown(unfinished, user.uid, user.gid);
    await build(unfinished);
    await rename(unfinished, target);
  } catch (error) {
    await rm(unfinished, { recursive: true, force: true });
    if (!existsSync(target)) throw error;
  }
}

async function openForReading(path: string): Promise<void> {
  const entry = await lstat(path);
  if (entry.isSymbolicLink()) return;
  await chmod(path, entry.isDirectory() || (entry.mode & 0o100) !== 0 ? 0o755 : 0o644);
  if (!entry.isDirectory()) return;
  for (const name of await readdir(path)) await openForReading(join(path, name));
}
