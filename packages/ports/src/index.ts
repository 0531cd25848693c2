export type { Accusation, AccusationJournal } from "./accusation-journal.ts";
export type {
  AuditBatch,
  AuditLog,
  AuditRow,
  BanRow,
  Contradiction,
  HistoryLineage,
  LiftRow,
  ReceiptRow,
  ReceiptsPage,
  ReputationRow,
  TransactionRow,
  ViolationRow,
  ViolationSummary,
  VoteRow,
} from "./audit-log.ts";
export {
  type BlockRef,
  type Chain,
  ChainError,
  type ChainReceipt,
  type ChainRecord,
  type ChainSigner,
  type EndpointReport,
  type Fees,
  type FinalityMode,
  type Hex,
  type ReadOptions,
  type RecordEvent,
  type RecordedEvent,
  type RecordItem,
  type SendOutcome,
  type SignedTransaction,
  SignerError,
  type UnsignedTransaction,
} from "./chain.ts";
export type { Clock } from "./clock.ts";
export { StoreError } from "./errors.ts";
export { FaultLoss, type FaultPoint, noFault } from "./fault-point.ts";
export type {
  Gossip,
  GossipEnvelope,
  GossipMessage,
  GossipRefusal,
  GossipRefusalListener,
  GossipRefusalReason,
  GossipStatus,
  GossipValidator,
  GossipVerdict,
  PeerConnection,
} from "./gossip.ts";
export type { AbortOptions, Lifecycle } from "./lifecycle.ts";
export type { LogFields, Logger } from "./logger.ts";
export type {
  Counter,
  Gauge,
  Histogram,
  Labels,
  MetricOptions,
  MetricsFactory,
} from "./metrics.ts";
export type { Random } from "./random.ts";
export type { PurgeablePage, RetentionStore } from "./retention.ts";
export type { Ed25519, VoteSigner } from "./signer.ts";
export type { StepLog } from "./step-log.ts";
export type {
  Attempt,
  EnqueueOutcome,
  FencedOutcome,
  FinalizedItem,
  ImportReport,
  NewSubmission,
  ReleaseOutcome,
  Sender,
  SenderLease,
  SenderState,
  Slot,
  SlotTransition,
  Submission,
  SubmissionDetail,
  SubmissionStore,
  SubmissionsPage,
  TakeRefusal,
} from "./submission-store.ts";
export type {
  BanEntry,
  Change,
  ChangeSet,
  ClusterConfig,
  CommitOutcome,
  Election,
  OpenTransaction,
  Presence,
  PurgeLevel,
  PurgeOutcome,
  PurgeRequest,
  StandaloneViolation,
  TallyMaintenance,
  TallyStorage,
  TallyStore,
  TxCommit,
  VersionedSnapshot,
  ViolationsPage,
} from "./tally-store.ts";
export {
  noTracer,
  SPAN_NAMES,
  type Span,
  type SpanAttributes,
  type SpanName,
  type StartSpanOptions,
  type Tracer,
} from "./tracer.ts";
export type { JournalEntry, VoteJournal } from "./vote-journal.ts";
