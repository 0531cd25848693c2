export { BackupError } from "./errors.ts";
export type { FileSink } from "./files.ts";
export {
  type MakeBackupDependencies,
  type MakeBackupParameters,
  makeBackup,
} from "./make-backup.ts";
export { BACKUP_FORMAT, type FileEntry, type Manifest, type TableEntry } from "./manifest.ts";
export {
  type EtcdMemberAddress,
  type EtcdRestorePlan,
  etcdRestoreCommand,
  freshToken,
  restoreEtcdMember,
} from "./restore-etcd.ts";
export {
  goodBackup,
  type RestorePostgresParameters,
  type RestoreReport,
  restorePostgres,
} from "./restore-postgres.ts";
export { type BackupVerdict, verifyBackup } from "./verify-backup.ts";
