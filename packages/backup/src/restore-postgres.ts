import { createReadStream } from "node:fs";
import { join } from "node:path";
import { createGunzip } from "node:zlib";

import { type ClusterId, RESTORED_REASON } from "@quorate/core";
import type { AbortOptions, Clock, Logger } from "@quorate/ports";
import { type LoadReport, loadPostgres, schemaOf } from "@quorate/store-postgres";
import { BackupError } from "./errors.ts";
import type { Manifest } from "./manifest.ts";
import { verifyBackup } from "./verify-backup.ts";

export interface RestorePostgresParameters extends AbortOptions {
  readonly directory: string;
  readonly url: string;
  /** Default: the schema of the backup's cluster. */
  readonly schema?: string | undefined;
  /** The cluster that is meant; a backup of another one is refused. */
  readonly clusterId?: ClusterId | undefined;
  /** Whether a schema that is there may be put aside under another name. */
  readonly replace?: boolean;
}

export interface RestoreReport extends LoadReport {
  readonly schema: string;
  /** Why no sender takes a nonce until history was held against the chain. */
  readonly reason: string;
}

/** A backup that is good and of the cluster that is meant. @throws BackupError NOT_GOOD, WRONG_CLUSTER */
export async function goodBackup(
  directory: string,
  clusterId: ClusterId | undefined,
  options: AbortOptions = {},
): Promise<Manifest> {
  const { manifest, problems } = await verifyBackup(directory, options);
  if (manifest === null || problems.length > 0)
    throw new BackupError("NOT_GOOD", `the backup is not good, and nothing was changed`, {
      problems,
    });
  if (clusterId !== undefined && clusterId !== manifest.clusterId)
    throw new BackupError(
      "WRONG_CLUSTER",
      `the backup is of the cluster ${manifest.clusterId}, not of ${clusterId}; nothing was changed`,
    );
  return manifest;
}

/**
 * Makes the database's schema anew out of a backup, every sender frozen: what was sent since then is on the chain and not
 * in it. Nothing is changed before all of the backup was checked.
 * @throws BackupError, StoreError
 */
export async function restorePostgres(
  parameters: RestorePostgresParameters,
  { clock, logger }: { readonly clock: Clock; readonly logger: Logger },
): Promise<RestoreReport> {
  const { directory, url, signal } = parameters;
  const manifest = await goodBackup(directory, parameters.clusterId, { signal });
  const { postgres, clusterId, createdAt } = manifest;
  const schema = parameters.schema ?? schemaOf(clusterId);
  const reason = `${RESTORED_REASON}the backup of ${createdAt}`;
  const report = await loadPostgres({
    url,
    schema,
    migrations: postgres.migrations,
    tables: postgres.tables,
    sequences: postgres.sequences,
    senders: postgres.senders,
    rows: ({ name }) => {
      const file = postgres.tables.find((table) => table.name === name)?.file ?? name;
      return createReadStream(join(directory, file)).compose(createGunzip());
    },
    reason,
    keepAs: parameters.replace === true ? asideName(schema, clock.nowMs()) : null,
    logger,
    signal,
  });
  return { ...report, schema, reason };
}

/** PostgreSQL cuts names at 63 bytes in silence. */
function asideName(schema: string, nowMs: number): string {
  const stamp = new Date(nowMs).toISOString().replace(/\D/g, "").slice(0, 14);
  return `${schema.slice(0, 63 - stamp.length - 5)}_old_${stamp}`;
}
