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
  type TestCluster,
  type TestClusterOptions,
  type TestNode,
  tamper,
  testCluster,
  txIdOf,
  unsignedVote,
  type VoteSpec,
  valueOf,
  vote,
  votes,
} from "./builders.ts";
export { type AuditLogWorld, auditLogContract } from "./contracts/audit-log.contract.ts";
export { type ChainWorld, chainContract } from "./contracts/chain.contract.ts";
export { type GossipWorld, gossipContract } from "./contracts/gossip.contract.ts";
export { type RetentionWorld, retentionContract } from "./contracts/retention.contract.ts";
export type { SubmissionStoreWorld } from "./contracts/submission-fixture.ts";
export { submissionStoreContract } from "./contracts/submission-store.contract.ts";
export {
  castVotes,
  TallyFixture,
  type TallyWorld,
  testClusterId,
} from "./contracts/tally-fixture.ts";
export { tallyStoreContract } from "./contracts/tally-store.contract.ts";
export {
  type MemoryAccusationJournal,
  memoryAccusationJournal,
} from "./memory-accusation-journal.ts";
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
  type MemoryGossipOptions,
  MemoryNetwork,
  type MemoryNetworkOptions,
} from "./memory-gossip.ts";
export { type LogRecord, type MemoryLogger, memoryLogger } from "./memory-logger.ts";
export { type MemoryMetrics, memoryMetrics } from "./memory-metrics.ts";
export {
  createMemoryRetentionStore,
  type MemoryRetentionStore,
  type MemoryRetentionStoreOptions,
} from "./memory-retention-store.ts";
export {
  createMemorySubmissionStore,
  type MemorySubmissionStore,
} from "./memory-submission-store.ts";
export type {
  MemorySubmissionStoreOptions,
  OperatorLogEntry,
} from "./memory-submission-store-tables.ts";
export { SharedTally } from "./memory-tally-shared.ts";
export {
  MemoryTallyStore,
  type MemoryTallyStoreOptions,
  type TallyFault,
  type TallyGuard,
  type TallyOperation,
} from "./memory-tally-store.ts";
export { nodeEd25519, nodeVoteSigner } from "./node-ed25519.ts";
export { prng, type SeededRandom } from "./prng.ts";
export { SimClock, type SimClockOptions } from "./sim-clock.ts";
export { quietMetrics } from "./simulation/quiet-metrics.ts";
export {
  chainError,
  type Lie,
  type SimChainClientOptions,
  simChainClient,
} from "./simulation/sim-chain-client.ts";
export { databaseError, simAuditLog, simSubmissionStore } from "./simulation/sim-database.ts";
export { SimDisk, simAccusationJournal, simVoteJournal } from "./simulation/sim-disk.ts";
export { type CallFate, SimLink, type SimLinkOptions, SimServer } from "./simulation/sim-link.ts";
export { SimProcess, type SimProcessOptions } from "./simulation/sim-process.ts";
export { simEd25519, simVoteSigner } from "./simulation/sim-signatures.ts";
export { simTallyClient, type TallyClient, tallyError } from "./simulation/sim-tally-client.ts";
export { applyWrites, TallyFold } from "./tally-fold.ts";
