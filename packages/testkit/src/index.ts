export {
  deliveries,
  dnsLabels,
  HONEST_VALUE,
  type NodePlan,
  txIdTexts,
  u64s,
  type VotingPlan,
  votingPlans,
} from "./arbitraries.ts";
export {
  nodeAt,
  signedEnvelope,
  signedFrame,
  tamper,
  type TestCluster,
  type TestClusterOptions,
  type TestNode,
  testCluster,
  txIdOf,
  unsignedVote,
  valueOf,
  type VoteSpec,
  vote,
  votes,
} from "./builders.ts";
export { auditLogContract, type AuditLogWorld } from "./contracts/audit-log.contract.ts";
export { chainContract, type ChainWorld } from "./contracts/chain.contract.ts";
export { gossipContract, type GossipWorld } from "./contracts/gossip.contract.ts";
export {
  submissionStoreContract,
  type SubmissionStoreWorld,
} from "./contracts/submission-store.contract.ts";
export {
  castVotes,
  TallyFixture,
  type TallyWorld,
  tallyStoreContract,
  testClusterId,
} from "./contracts/tally-store.contract.ts";
export {
  type AuditRecords,
  createMemoryAuditLog,
  type MemoryAuditLog,
  type MemoryAuditLogOptions,
  type Recorded,
  type ReputationRecord,
} from "./memory-audit-log.ts";
export {
  type ChainFault,
  type ChainOperation,
  MemoryChain,
  type MemoryChainOptions,
  memoryChainSigner,
} from "./memory-chain.ts";
export {
  type GossipDelivery,
  type GossipFault,
  MemoryGossip,
  MemoryNetwork,
  type MemoryNetworkOptions,
} from "./memory-gossip.ts";
export { type LogRecord, type MemoryLogger, memoryLogger } from "./memory-logger.ts";
export { type MemoryMetrics, memoryMetrics } from "./memory-metrics.ts";
export {
  createMemorySubmissionStore,
  type MemorySubmissionStore,
  type MemorySubmissionStoreOptions,
} from "./memory-submission-store.ts";
export { SharedTally } from "./memory-tally-shared.ts";
export {
  MemoryTallyStore,
  type MemoryTallyStoreOptions,
  type TallyFault,
  type TallyOperation,
} from "./memory-tally-store.ts";
export { nodeEd25519, nodeVoteSigner } from "./node-ed25519.ts";
export { prng, type SeededRandom } from "./prng.ts";
export { SimClock, type SimClockOptions } from "./sim-clock.ts";
export { applyWrites, TallyFold } from "./tally-fold.ts";
