export {
  type AddressPlan,
  BASE_PORT_DEFAULT,
  BASE_PORT_MAX,
  containerAddresses,
  loopbackAddresses,
  type NodeAddresses,
  portsFrom,
} from "./addresses.ts";
export { type AppName, appCommand, cleanEnvironment } from "./app-command.ts";
export { readReadiness } from "./app-process.ts";
export { parseClusterFile, readClusterFile, sameTrusteeSet } from "./cluster-file.ts";
export {
  type ClusterPlan,
  type ClusterRequest,
  type JoinRequest,
  nodeIdsOf,
  type PlannedFile,
  planCluster,
  planJoin,
} from "./cluster-plan.ts";
export { withClusterStore } from "./cluster-store.ts";
export { LocalClusterError, type LocalClusterErrorCode } from "./errors.ts";
export { type RawEntry, readEtcdPrefix } from "./etcd-raw.ts";
export { type InitOutcome, initCluster } from "./init-cluster.ts";
export {
  type AddedNode,
  type LocalApp,
  type LocalCluster,
  type LocalNode,
  type StartClusterParameters,
  startCluster,
} from "./local-cluster.ts";
export {
  type LocalServers,
  type StartLocalServersParameters,
  startLocalServers,
} from "./local-servers.ts";
export { type MisbehavingPeer, startMisbehavingPeer } from "./misbehaving-peer-process.ts";
export { writeCluster } from "./write-cluster.ts";
