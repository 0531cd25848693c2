export { createAuditLog } from "./audit-log.ts";
export { type BackupMade, lastBackupSeconds, recordBackup } from "./backup/backup-log.ts";
export type { SequenceState, TableShape } from "./backup/catalog.ts";
export {
  type DumpedSender,
  type DumpFacts,
  type PostgresDump,
  withPostgresDump,
} from "./backup/dump.ts";
export { type LoadParameters, type LoadReport, loadPostgres } from "./backup/load.ts";
export { type MigrateParameters, migrate } from "./migrate.ts";
export { MIGRATIONS_DIRECTORY } from "./migration-files.ts";
export { createPool, type PoolOptions } from "./pool.ts";
export { postgresMetrics } from "./postgres-metrics.ts";
export { createRetentionStore } from "./retention-store.ts";
export { DEFAULT_SCHEMA, schemaOf } from "./schema-name.ts";
export { schemaSnapshot } from "./schema-snapshot.ts";
export { type SchemaState, schemaState } from "./schema-state.ts";
export { createSubmissionStore } from "./submission-store.ts";
