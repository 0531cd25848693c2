export { createAuditLog } from "./audit-log.ts";
export { MIGRATIONS_DIRECTORY, type MigrateParameters, migrate } from "./migrate.ts";
export { createPool, type PoolOptions } from "./pool.ts";
export { createRetentionStore } from "./retention-store.ts";
export { DEFAULT_SCHEMA, schemaOf } from "./schema-name.ts";
export { type SchemaState, schemaState } from "./schema-state.ts";
export { schemaSnapshot } from "./schema-snapshot.ts";
export { createSubmissionStore } from "./submission-store.ts";
