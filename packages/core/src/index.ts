export {
  bytesToHex,
  concatBytes,
  equalBytes,
  fromBase58,
  fromBase64,
  hash,
  hexToBytes,
  toBase58,
  toBase64,
  utf8,
} from "./bytes.ts";
export {
  type Backing,
  backing,
  type ClaimDecision,
  decideClaim,
  decideConfirm,
} from "./claim.ts";
export {
  type DecideContext,
  type DecideInput,
  type DecideStep,
  type Decision,
  decide,
  type VoteOutcome,
} from "./decide.ts";
export {
  doubleVotingEvidence,
  type EnvelopeJson,
  type Evidence,
  envelopeSigningBytes,
  evidenceHash,
  type Finding,
  namedVote,
  onlySet,
  type TrusteeSets,
  verifyEvidence,
} from "./evidence.ts";
export {
  type EvidenceFileInput,
  type EvidenceId,
  type EvidenceVerdict,
  evidenceIdText,
  evidenceTxId,
  makeEvidenceFile,
  parseEvidenceId,
  verifyEvidenceFile,
} from "./evidence-file.ts";
export { type EvidenceFile, trusteeSetFingerprint } from "./evidence-file-shape.ts";
export { bumpFees, type FeeOffer, highestOffer } from "./fees.ts";
export { DIFFERS_REASON, HISTORY_REASON, mayThawItself, RESTORED_REASON } from "./freeze-reason.ts";
export {
  type ClusterId,
  type Epoch,
  type EvmAddress,
  type NodeId,
  type ParseError,
  type PeerId,
  parseClusterId,
  parseEpoch,
  parseEvmAddress,
  parseNodeId,
  parsePeerId,
  parseTxId,
  parseValue,
  type TxId,
  type Value,
} from "./ids.ts";
export { LIMITS } from "./limits.ts";
export { leafHash, merklePaths, merkleRoot, merkleTree, rootFromPath } from "./merkle.ts";
export {
  DEFAULT_PROTOCOL_CONFIG,
  type DissentPolicy,
  type ProtocolConfig,
  type PunishmentProfile,
} from "./protocol-config.ts";
export {
  isAuthorVerified,
  REFUSAL_REASONS,
  type Receipt,
  type ReceiptFields,
  type ReceiptJson,
  type RefusalReason,
  receiptFromJson,
  receiptSigningBytes,
  receiptToJson,
  refusedMessageHash,
  signReceipt,
  verifyReceipt,
} from "./receipt.ts";
export {
  isBelowBound,
  REPUTATION,
  type ReputationEvent,
  type ReputationState,
  reputationAfter,
  SPOTLESS,
  scoreAt,
} from "./reputation.ts";
export { AssertionError, assert, assertNever, err, ok, type Result, unwrap } from "./result.ts";
export {
  checkRetention,
  compactionTarget,
  DEFAULT_RETENTION,
  decisionOf,
  isArchived,
  type RetentionOptions,
  type RetentionProblem,
} from "./retention.ts";
export {
  type Digits,
  type FinalSlotState,
  type SignedNote,
  STEP_FORMAT,
  type Step,
  type StepAttempt,
  type StepBan,
  type StepDecision,
  type StepItem,
  type StepLine,
  type StepOp,
  type StepOutcome,
  type StepRecord,
  type StepSight,
  type StepSlot,
  type StepStart,
  type StepViolation,
  type StepVote,
  writeStepLine,
} from "./step.ts";
export { readStepLine } from "./step-reader.ts";
export {
  type AttemptKind,
  isLiveSlot,
  SLOT_MOVES,
  type SlotState,
  SUBMISSION_MOVES,
  type SubmissionState,
  slotMayMove,
  submissionMayMove,
} from "./submission-fsm.ts";
export {
  type AbortReason,
  type Ban,
  type BanLift,
  countVotes,
  emptySnapshot,
  type FinalDecision,
  guardedPeers,
  type StreakChange,
  type TxRecord,
  type TxSnapshot,
  type TxWrites,
  type Violation,
} from "./tally.ts";
export {
  decodeFrameTraces,
  encodeFrameTraces,
  parseTraceparent,
  type TraceContext,
  traceparentOf,
  traceShareOf,
} from "./trace-context.ts";
export {
  addTrustee,
  changeThreshold,
  removeTrustee,
  type TrusteeChange,
} from "./trustee-change.ts";
export {
  type FaultBounds,
  faultBounds,
  makeTrusteeSet,
  peerIdBytesOf,
  peerIdOf,
  publicKeyOf,
  type Trustee,
  type TrusteeSet,
  thresholdProblems,
} from "./trustee-set.ts";
export {
  type BanReason,
  type EvidenceGrade,
  gradeOf,
  VIOLATION_TYPES,
  type ViolationType,
} from "./violation.ts";
export {
  decodeFrame,
  decodeVote,
  encodeFrame,
  encodeVote,
  extensionBytesOf,
  FRAME_OVERHEAD_BYTES,
  frameBytesOf,
  type OpenedFrame,
  openFrame,
  rootSigningBytes,
  type SignedVote,
  signFrame,
  type VerifiedVote,
  type Verify,
  type Vote,
  type VoteError,
  type VoteFrame,
  type VoteProof,
  type VoteRefusal,
  verifyFrame,
  verifyOpenedFrame,
  verifyVote,
} from "./vote.ts";
export {
  isSettled,
  stateOf,
  statusOf,
  TX_STATUSES,
  type TxStatus,
  transition,
  VOTE_EVENTS,
  VOTE_STATES,
  type VoteEvent,
  type VoteState,
} from "./vote-fsm.ts";
export { isoTime, type VoteJson, voteFromJson, voteToJson } from "./vote-json.ts";
