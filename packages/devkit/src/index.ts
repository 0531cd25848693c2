export { stopAll } from "./child-registry.ts";
export { DevkitError, type DevkitErrorCode } from "./errors.ts";
export type { EtcdMember } from "./etcd-member.ts";
export { freePort } from "./free-port.ts";
export { locateAnvil } from "./locate-anvil.ts";
export { type EtcdBinaries, locateEtcd } from "./locate-etcd.ts";
export { locatePostgres, locatePsql, type PostgresBinaries } from "./locate-postgres.ts";
export { type ServerVersions, serverVersions } from "./server-versions.ts";
export {
  type LoggedProcess,
  type ProcessExit,
  spawnLogged,
  type SpawnLoggedParameters,
} from "./spawn-logged.ts";
export {
  type AnvilAccount,
  type AnvilServer,
  startAnvil,
  type StartAnvilParameters,
} from "./start-anvil.ts";
export { type EtcdCluster, startEtcd, type StartEtcdParameters } from "./start-etcd.ts";
export {
  type PostgresServer,
  startPostgres,
  type StartPostgresParameters,
} from "./start-postgres.ts";
export { waitUntil, type WaitUntilParameters } from "./wait-until.ts";
