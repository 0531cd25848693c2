export {
  type AddressPlan,
  BASE_PORT_DEFAULT,
  BASE_PORT_MAX,
  containerAddresses,
  loopbackAddresses,
  type NodeAddresses,
  portsFrom,
} from "./addresses.ts";
export { appCommand, type AppName, cleanEnvironment } from "./app-command.ts";
export { readReadiness } from "./app-process.ts";
export { parseClusterFile, readClusterFile, sameTrusteeSet } from "./cluster-file.ts";
export {
  type ClusterPlan,
  type ClusterRequest,
  nodeIdsOf,
  planCluster,
  type PlannedFile,
} from "./cluster-plan.ts";
export { LocalClusterError, type LocalClusterErrorCode } from "./errors.ts";
export { type RawEntry, readEtcdPrefix } from "./etcd-raw.ts";
export { initCluster, type InitOutcome } from "./init-cluster.ts";
export {
  type LocalApp,
  type LocalCluster,
  type LocalNode,
  startCluster,
  type StartClusterParameters,
} from "./local-cluster.ts";
export {
  type LocalServers,
  startLocalServers,
  type StartLocalServersParameters,
} from "./local-servers.ts";
export { type MisbehavingPeer, startMisbehavingPeer } from "./misbehaving-peer-process.ts";
export { writeCluster } from "./write-cluster.ts";
