export { composeNode, type NodeApp } from "./compose.ts";
export { VERSION } from "./version.ts";
