export { composeSubmitter, type SubmitterApp } from "./compose.ts";
export { openSigner, type SubmitterSigner } from "./signer.ts";
export { VERSION } from "./version.ts";
