export {
  bytesToHex,
  concatBytes,
  equalBytes,
  fromBase64,
  hash,
  hexToBytes,
  toBase58,
  toBase64,
  utf8,
} from "./bytes.ts";
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
export { AssertionError, assert, assertNever, err, ok, type Result, unwrap } from "./result.ts";
export {
  type AttemptKind,
  SLOT_MOVES,
  type SlotState,
  SUBMISSION_MOVES,
  type SubmissionState,
  slotMayMove,
  submissionMayMove,
} from "./submission-fsm.ts";
export type { EvidenceGrade, ViolationType } from "./violation.ts";
