export { composeSubmitter, type SubmitterApp } from "./compose.ts";
export { VERSION } from "./version.ts";
