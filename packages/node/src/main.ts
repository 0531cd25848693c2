import { NODE_SETTINGS, nodeSchema, readCommandLine, runApp } from "@quorate/settings";
import { composeNode } from "./compose.ts";
import { VERSION } from "./version.ts";

async function main(): Promise<number> {
  const line = readCommandLine(
    {
      name: "quorate node",
      description: "Runs one trustee's node.",
      version: VERSION,
      schema: nodeSchema,
      settings: NODE_SETTINGS,
    },
    process.argv.slice(2),
    process.env,
  );
  if (line.kind === "exit") return line.code;
  try {
    const app = composeNode(line.settings, line.file, VERSION);
    return await runApp("quorate node", app, app.logger, line.settings.shutdownMs);
  } catch (error) {
    // Before anything was opened: a key file, mostly.
    process.stderr.write(
      `quorate node: ${error instanceof Error ? error.message : String(error)}\n`,
    );
    return 1;
  }
}

process.exitCode = await main();
// Handles of libraries that close lazily must not keep a stopped node alive.
process.exit();
