export { type AppCommand, type CommandLine, readCommandLine } from "./app-command.ts";
export { faultPointFrom } from "./fault-point.ts";
export {
  describeProblems,
  type LoadRequest,
  loadSettings,
  type Problem,
  pathBeside,
  type Setting,
} from "./load-settings.ts";
export { runApp } from "./run-app.ts";
export {
  type NodeSettings,
  nodeSchema,
  retentionOf,
  type SubmitterSettings,
  submitterSchema,
} from "./schemas.ts";
export { NODE_SETTINGS, SUBMITTER_SETTINGS } from "./setting-lists.ts";
export { envNameOf } from "./setting-names.ts";
export { signerSourceOf } from "./signer-source.ts";
export {
  createStepFile,
  type StepFile,
  type StepFileOptions,
  stepProtocolOf,
} from "./step-file.ts";
