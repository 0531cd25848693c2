import { readCommandLine, runApp, SUBMITTER_SETTINGS, submitterSchema } from "@quorate/settings";
import { composeSubmitter, VERSION } from "@quorate/submitter";
import { findMutant } from "./lib/mutants.ts";

/** The submitter's own program, wrong in the one way that CHAOS_MUTANT names: the harness must notice. */
async function main(): Promise<number> {
  const { wrap, wrong } = findMutant(process.env["CHAOS_MUTANT"] ?? "");
  const line = readCommandLine(
    {
      name: "mutant submitter",
      description: `A submitter for tests that ${wrong}.`,
      version: VERSION,
      schema: submitterSchema,
      settings: SUBMITTER_SETTINGS,
    },
    process.argv.slice(2),
    process.env,
  );
  if (line.kind === "exit") return line.code;
  const app = await composeSubmitter(line.settings, line.file, VERSION, { wrap });
  return await runApp("mutant submitter", app, app.logger, line.settings.shutdownMs);
}

process.exitCode = await main();
process.exit();
