import { mkdir, rename, rm, stat } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { Readable } from "node:stream";
import { createGzip } from "node:zlib";

import type { ClusterId } from "@quorate/core";
import type { AbortOptions, Clock, Logger } from "@quorate/ports";
import { createEtcdTallyStore, withEtcdSnapshot } from "@quorate/store-etcd";
import { type PostgresDump, recordBackup, withPostgresDump } from "@quorate/store-postgres";
import { BackupError } from "./errors.ts";
import { createFile, type FileSink, syncDirectory, writeFileFrom } from "./files.ts";
import {
  BACKUP_FORMAT,
  ETCD_FILE,
  MANIFEST_FILE,
  type Manifest,
  manifestText,
  type TableEntry,
} from "./manifest.ts";
import { verifyBackup } from "./verify-backup.ts";

export interface MakeBackupParameters extends AbortOptions {
  /** Does not exist yet; appears when the backup is whole and checked. */
  readonly directory: string;
  readonly clusterId: ClusterId;
  readonly etcdHosts: readonly string[];
  readonly postgresUrl: string;
  readonly schema: string;
  /** The release, for the manifest. */
  readonly tool: string;
  /** One etcd call, and how long a server may say nothing, in ms. Default 10000. */
  readonly timeoutMs?: number;
  /** Told as it goes. */
  readonly onProgress?: (message: string) => void;
  /** Told when the backup stands and PostgreSQL could not keep that it does: the alert on its age will ring. */
  readonly onUnrecorded?: (error: unknown) => void;
}

export interface MakeBackupDependencies {
  readonly clock: Clock;
  readonly logger: Logger;
  /** Makes the files; for tests of a disk that is full. */
  readonly createFile?: (path: string) => Promise<FileSink>;
}

/**
 * Backs up a cluster's two stores while it runs, PostgreSQL first and etcd after it.
 *
 * The order is the rule that makes the two fit: etcd is then at least as new as PostgreSQL. The projector's
 * position lies within etcd's history, and each submission in PostgreSQL has its write-once decision in etcd. The other way
 * round a restored submitter could hold submissions that the restored etcd has not decided, and might still
 * abort. What etcd has beyond PostgreSQL is projected and queued again, and the contract's events tell what of it is done.
 *
 * All is written beside the directory, read back and checked, and then renamed: what bears the name is whole. Only then
 * is it recorded in PostgreSQL that there is one; where that fails the backup is as good.
 * @throws BackupError EXISTS, NO_CLUSTER, NOT_GOOD, WRITE; StoreError
 */
export async function makeBackup(
  parameters: MakeBackupParameters,
  dependencies: MakeBackupDependencies,
): Promise<Manifest> {
  const directory = resolve(parameters.directory);
  const partial = `${directory}.partial`;
  for (const path of [directory, partial])
    if (await exists(path))
      throw new BackupError(
        "EXISTS",
        path === partial
          ? `${path} is there: another backup is being made, or one was killed; remove it in that case`
          : `${path} is there already; a backup never overwrites anything`,
      );
  await checkCluster(parameters, dependencies);
  await mkdir(dirname(directory), { recursive: true });
  await mkdir(partial, { mode: 0o700 });
  const startedMs = dependencies.clock.monotonicMs();
  let manifest: Manifest;
  try {
    await mkdir(join(partial, "postgres"), { mode: 0o700 });
    manifest = await writeAll(partial, parameters, dependencies);
    await rename(partial, directory);
    await syncDirectory(dirname(directory));
  } catch (error) {
    // What is left of it has no manifest, and not the name.
    await rm(partial, { recursive: true, force: true }).catch(() => {});
    parameters.signal?.throwIfAborted();
    throw asBackupError(error);
  }
  // Not cut short by the signal: the backup is there.
  const takenAgoMs = dependencies.clock.monotonicMs() - startedMs;
  await record(manifest, { ...parameters, directory, takenAgoMs });
  return manifest;
}

async function record(
  manifest: Manifest,
  made: MakeBackupParameters & { readonly takenAgoMs: number },
): Promise<void> {
  const { postgresUrl: url, schema, tool, directory, takenAgoMs, onUnrecorded } = made;
  const files = [manifest.etcd, ...manifest.postgres.tables];
  const bytes = files.reduce((sum, file) => sum + file.bytes, 0);
  try {
    await recordBackup({ url, schema }, { takenAgoMs, tool, directory, bytes });
  } catch (error) {
    onUnrecorded?.(error);
  }
}

async function writeAll(
  partial: string,
  parameters: MakeBackupParameters,
  dependencies: MakeBackupDependencies,
): Promise<Manifest> {
  const { clusterId, tool, signal, onProgress, schema, postgresUrl: url } = parameters;
  const create = dependencies.createFile ?? createFile;
  const createdAt = new Date(dependencies.clock.nowMs()).toISOString();
  const postgres = await withPostgresDump({ url, schema, signal }, async (dump) => {
    const { migrations, sequences, senders, serverVersion, projectorPosition } = dump;
    const tables: TableEntry[] = [];
    for (const table of dump.tables) {
      tables.push(await writeTable(partial, dump, table, create));
      const { name, rows, bytes } = tables.at(-1) ?? { name: "", rows: 0, bytes: 0 };
      onProgress?.(`PostgreSQL ${name}: ${rows} rows, ${bytes} bytes`);
    }
    return { schema, serverVersion, migrations, sequences, senders, projectorPosition, tables };
  });
  const etcd = await writeEtcd(partial, parameters, dependencies);
  onProgress?.(`etcd: revision ${etcd.revisionAtLeast} or later, ${etcd.bytes} bytes`);
  const manifest: Manifest = {
    format: BACKUP_FORMAT,
    clusterId,
    createdAt,
    tool,
    etcd,
    postgres,
  };
  await writeFileFrom(create, join(partial, MANIFEST_FILE), textChunks(manifestText(manifest)));
  await syncDirectory(join(partial, "postgres"));
  await syncDirectory(partial);
  const { problems } = await verifyBackup(partial, { signal });
  if (problems.length > 0)
    throw new BackupError("NOT_GOOD", "what was written does not read back as it was", {
      problems,
      retryable: true,
    });
  return manifest;
}

async function writeTable(
  partial: string,
  dump: PostgresDump,
  table: PostgresDump["tables"][number],
  create: (path: string) => Promise<FileSink>,
): Promise<TableEntry> {
  const file = `postgres/${table.name}.gz`;
  let rows = 0;
  async function* counted(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    for await (const chunk of source) {
      rows += linesIn(chunk);
      yield chunk;
    }
  }
  const gzip = Readable.from(counted(dump.rows(table))).compose(createGzip());
  const written = await writeFileFrom(create, join(partial, file), gzip);
  return { ...table, file, rows, ...written };
}

/** In the text form of COPY a line feed ends a row, and occurs nowhere else. */
export function linesIn(chunk: Uint8Array): number {
  let lines = 0;
  for (let at = chunk.indexOf(10); at !== -1; at = chunk.indexOf(10, at + 1)) lines++;
  return lines;
}

/** From the first member that gives one. */
async function writeEtcd(
  partial: string,
  { etcdHosts, timeoutMs = 10_000, signal }: MakeBackupParameters,
  { clock, logger, createFile: create = createFile }: MakeBackupDependencies,
): Promise<Manifest["etcd"]> {
  let failure: unknown = null;
  for (const host of etcdHosts) {
    const path = join(partial, ETCD_FILE);
    try {
      return await withEtcdSnapshot(
        { host, timeoutMs, signal },
        { clock, logger },
        async ({ lineage, revisionAtLeast, content }) => ({
          file: ETCD_FILE,
          ...(await writeFileFrom(create, path, content)),
          lineage,
          revisionAtLeast: revisionAtLeast.toString(),
        }),
      );
    } catch (error) {
      signal?.throwIfAborted();
      // The disk is not better with another member.
      if (!isRetryable(error)) throw error;
      failure = error;
      logger.warn("a member of etcd gave no snapshot, the next is asked", { host, error });
      await rm(path, { force: true });
    }
  }
  throw failure;
}

/** That etcd holds this very cluster: a backup of another one would be found out too late. */
async function checkCluster(
  { etcdHosts, clusterId, timeoutMs = 10_000, signal }: MakeBackupParameters,
  { clock, logger }: MakeBackupDependencies,
): Promise<void> {
  const store = createEtcdTallyStore(
    { hosts: etcdHosts, clusterId, requestTimeoutMs: timeoutMs, dialTimeoutMs: timeoutMs },
    { clock, logger },
  );
  try {
    await store.start({ signal });
    await store.readConfig({ signal });
  } catch (error) {
    if (isRetryable(error) || signal?.aborted === true) throw error;
    throw new BackupError("NO_CLUSTER", `etcd holds no cluster ${clusterId}`, { cause: error });
  } finally {
    await store.stop();
  }
}

async function* textChunks(text: string): AsyncGenerator<Uint8Array> {
  yield Buffer.from(text, "utf8");
}

async function exists(path: string): Promise<boolean> {
  return await stat(path).then(
    () => true,
    () => false,
  );
}

function isRetryable(error: unknown): boolean {
  return error instanceof Error && "retryable" in error && error.retryable === true;
}

/** A disk's error, in words; everything else as it is. */
function asBackupError(error: unknown): unknown {
  if (!(error instanceof Error) || !("syscall" in error)) return error;
  return new BackupError(
    "WRITE",
    `the backup could not be written, nothing is left of it: ${error.message}`,
    {
      cause: error,
      retryable: true,
    },
  );
}
