export { type CommandContext, createContext } from "./context.ts";
export { CliError, EXIT } from "./failure.ts";
export { buildProgram, run } from "./program.ts";
export { processTerminal, type Terminal } from "./terminal.ts";
export { VERSION } from "./version.ts";
