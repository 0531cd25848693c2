import { enableCompileCache } from "node:module";
import { join } from "node:path";

// From source, where compiled code would else be made anew at each call.
if (import.meta.url.endsWith(".ts"))
  enableCompileCache(join(import.meta.dirname, "..", "..", "..", ".cache", "compile"));

const { run } = await import("./program.ts");
const { processTerminal } = await import("./terminal.ts");

process.exitCode = await run(process.argv.slice(2), processTerminal());
