export { Admission, type AdmissionDependencies, type AdmissionReason } from "./admission.ts";
export {
  type NodeMetrics,
  nodeMetrics,
  type SubmitterMetrics,
  submitterMetrics,
} from "./catalogue.ts";
export { DeadlineMonitor, type DeadlineOptions } from "./deadline-monitor.ts";
export {
  FAULT_OPERATIONS,
  FAULT_POINTS,
  type SubmitterPorts,
  withFaultPoints,
} from "./faulty-ports.ts";
export { FencedError } from "./fenced-error.ts";
export {
  type CollectorDependencies,
  type CollectorOptions,
  GarbageCollector,
  type GcReport,
} from "./garbage-collector.ts";
export { type GarbageMetrics, garbageMetrics } from "./garbage-metrics.ts";
export { HistoryCheck, type HistoryReport } from "./history-check.ts";
export type { Observer } from "./membership.ts";
export { Projector, type ProjectorDependencies } from "./projector.ts";
export {
  ReceiptBook,
  type ReceiptBookDependencies,
  type ReceiptBookOptions,
} from "./receipt-book.ts";
export { RECEIPT_BOUNDS } from "./receipt-budget.ts";
export { type ReceiptMetrics, receiptMetrics } from "./receipt-metrics.ts";
export { withStepLog } from "./recorded-ports.ts";
export { recordedMaintenance, recordedTally } from "./recorded-tally.ts";
export type { Refusal } from "./refusal.ts";
export { rendezvousRank } from "./rendezvous.ts";
export { ReputationKeeper, type ReputationKeeperDependencies } from "./reputation-keeper.ts";
export { type ClaimsOptions, SubmissionClaims } from "./submission-claims.ts";
export { type SenderOptions, SubmissionSender } from "./submission-sender.ts";
export {
  SubmitterGauges,
  type SubmitterGaugesDependencies,
  type SubmitterWatchMetrics,
  submitterWatchMetrics,
} from "./submitter-gauges.ts";
export {
  type SubmitterDependencies,
  type SubmitterOptions,
  SubmitterService,
} from "./submitter-service.ts";
export { TallyView } from "./tally-view.ts";
export {
  type ChangeOutcome,
  changeTrustees,
  drainTrustee,
  type LeavingTrustee,
} from "./trustee-changes.ts";
export { type TrusteeMetrics, trusteeMetrics } from "./trustee-metrics.ts";
export {
  type Check,
  TrusteeNode,
  type TrusteeNodeDependencies,
  type TrusteeNodeOptions,
} from "./trustee-node.ts";
export { VotePipeline } from "./vote-pipeline.ts";
export type {
  PipelineDependencies,
  PipelineOptions,
  RecordOutcome,
} from "./vote-pipeline-options.ts";
export { type CastOutcome, type PublisherOptions, VotePublisher } from "./vote-publisher.ts";
export { VoteSpans, type VoteSpansDependencies } from "./vote-spans.ts";
