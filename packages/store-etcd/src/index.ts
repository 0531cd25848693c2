export { type EtcdSnapshot, type EtcdSnapshotParameters, withEtcdSnapshot } from "./backup.ts";
export type { EtcdSecurity } from "./etcd-hosts.ts";
export { type EtcdMetrics, etcdMetrics } from "./etcd-metrics.ts";
export {
  createEtcdTallyStore,
  type EtcdTallyStore,
  type EtcdTallyStoreDependencies,
  type EtcdTallyStoreOptions,
} from "./etcd-tally-store.ts";
