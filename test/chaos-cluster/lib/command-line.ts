import { type Command, CommanderError } from "commander";

const USAGE_ERROR = 2;

/** Runs a program's command line: what it does not know is exit code 2, and never the 1 that means "something was found". */
export async function runCommandLine(program: Command): Promise<void> {
  try {
    await program.exitOverride().parseAsync();
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    // Commander has said what is wrong, or printed the help that was asked for.
    process.exitCode = error.exitCode === 0 ? 0 : USAGE_ERROR;
  }
}
