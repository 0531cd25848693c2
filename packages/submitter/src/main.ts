import { readCommandLine, runApp, SUBMITTER_SETTINGS, submitterSchema } from "@quorate/settings";
import { composeSubmitter } from "./compose.ts";
import { VERSION } from "./version.ts";

async function main(): Promise<number> {
  const line = readCommandLine(
    {
      name: "quorate submitter",
      description:
        "Runs the submitter: writes decided values to the chain, and history to PostgreSQL.",
      version: VERSION,
      schema: submitterSchema,
      settings: SUBMITTER_SETTINGS,
    },
    process.argv.slice(2),
    process.env,
  );
  if (line.kind === "exit") return line.code;
  try {
    const app = await composeSubmitter(line.settings, line.file, VERSION);
    return await runApp("quorate submitter", app, app.logger, line.settings.shutdownMs);
  } catch (error) {
    // Before anything was opened: a key file, mostly.
    process.stderr.write(
      `quorate submitter: ${error instanceof Error ? error.message : String(error)}\n`,
    );
    return 1;
  }
}

process.exitCode = await main();
// Handles of libraries that close lazily must not keep a stopped submitter alive.
process.exit();
