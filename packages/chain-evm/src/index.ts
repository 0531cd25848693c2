export {
  type DeployedRecorder,
  deployRecorder,
  type DeployRecorderOptions,
} from "./deploy.ts";
export { createEvmChain, type EvmChainDependencies, type EvmChainOptions } from "./evm-chain.ts";
export type { FeePolicy } from "./fees.ts";
export { createLocalSigner, KeyError, loadKeyFile } from "./local-signer.ts";
export {
  readRecordedEvents,
  type ReadRecordedEventsOptions,
  type RecordedEvent,
} from "./read-events.ts";
export { RECORD_DOMAIN, recordKeyOf } from "./record-key.ts";
export {
  recorderAbi,
  recorderBuild,
  recorderBytecode,
  recorderRuntimeBytecode,
} from "./recorder.generated.ts";
