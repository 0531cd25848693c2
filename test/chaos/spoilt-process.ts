import { readCommandLine, runApp, SUBMITTER_SETTINGS, submitterSchema } from "@quorate/settings";
import { composeSubmitter, VERSION } from "@quorate/submitter";
import { wrapNamed } from "./lib/mutants.ts";

/** The submitter's own program, with its ports wrapped as CHAOS_WRAP names: a mutant, which the harness must catch, or a signer that answers late. */
async function main(): Promise<number> {
  const wrap = wrapNamed(process.env["CHAOS_WRAP"] ?? "");
  const line = readCommandLine(
    {
      name: "spoilt submitter",
      description: "A submitter with wrapped ports, for the chaos harness.",
      version: VERSION,
      schema: submitterSchema,
      settings: SUBMITTER_SETTINGS,
    },
    process.argv.slice(2),
    process.env,
  );
  if (line.kind === "exit") return line.code;
  const app = await composeSubmitter(line.settings, line.file, VERSION, { wrap });
  return await runApp("spoilt submitter", app, app.logger, line.settings.shutdownMs);
}

process.exitCode = await main();
process.exit();
