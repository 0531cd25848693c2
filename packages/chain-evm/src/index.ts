export {
  type DeployedRecorder,
  type DeployRecorderOptions,
  deployRecorder,
} from "./deploy.ts";
export type { EndpointTrouble } from "./endpoint-pool.ts";
export { createEvmChain, type EvmChainDependencies, type EvmChainOptions } from "./evm-chain.ts";
export type { FeePolicy } from "./fees.ts";
export { KeyError } from "./key-error.ts";
export { loadKeyFile, readSecretFile } from "./key-file.ts";
export { decryptKeystore, encryptKeystore, loadKeystore } from "./keystore.ts";
export { createLocalSigner } from "./local-signer.ts";
export { type OpenedSigner, openSigner, type SignerSource } from "./open-signer.ts";
export { type ReadRecordedEventsOptions, readRecordedEvents } from "./read-events.ts";
export { RECORD_DOMAIN, recordKeyOf } from "./record-key.ts";
export {
  recorderAbi,
  recorderBuild,
  recorderBytecode,
  recorderRuntimeBytecode,
} from "./recorder.generated.ts";
export {
  createRemoteSigner,
  type RemoteSigner,
  type RemoteSignerOptions,
} from "./remote-signer.ts";
