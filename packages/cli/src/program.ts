import { Command, CommanderError } from "commander";
import { TOKEN_FILE_ENV } from "./clients.ts";
import { addAppCommands, appInvocation, runAttached } from "./commands/app.ts";
import { addBackupCommands } from "./commands/backup.ts";
import { addBanCommands } from "./commands/bans.ts";
import { addClusterCommands } from "./commands/cluster.ts";
import { addCompletionCommand } from "./commands/completion.ts";
import { addDemoCommand } from "./commands/demo.ts";
import { addDevCommands } from "./commands/dev.ts";
import { addDoctorCommand } from "./commands/doctor.ts";
import { addEvidenceCommands } from "./commands/evidence.ts";
import { addHealthcheckCommand } from "./commands/healthcheck.ts";
import { addQueryCommands } from "./commands/query.ts";
import { addReceiptsCommand } from "./commands/receipts.ts";
import { addSubmissionsCommands } from "./commands/submissions.ts";
import { addTokenCommand } from "./commands/token.ts";
import { addTrusteeCommands } from "./commands/trustee.ts";
import { addVoteCommand } from "./commands/vote.ts";
import { addWatchCommand } from "./commands/watch.ts";
import { type CommandContext, createContext } from "./context.ts";
import { describeError, EXIT, exitCodeOf } from "./failure.ts";
import type { Terminal } from "./terminal.ts";
import { VERSION } from "./version.ts";

/** The whole command. */
export function buildProgram(context: CommandContext): Command {
  const { terminal } = context;
  const program = new Command("quorate")
    .description("Threshold votes of trustees, decided in etcd and written to an EVM chain once.")
    .version(VERSION)
    .option("--debug", "show the stack of an error")
    .option("--token-file <file>", `file with the token to ask with [${TOKEN_FILE_ENV}]`)
    .hook("preAction", (command) => {
      const { tokenFile } = command.opts<{ tokenFile?: string }>();
      if (tokenFile !== undefined) process.env[TOKEN_FILE_ENV] = tokenFile;
    })
    .configureOutput({
      writeOut: (text) => terminal.data(text.trimEnd()),
      writeErr: (text) => terminal.note(text.trimEnd()),
    })
    .showSuggestionAfterError()
    .showHelpAfterError("(add --help for the usage)")
    .exitOverride()
    .addHelpText(
      "after",
      `
Examples:
  quorate dev up --detach            a whole cluster on this machine
  quorate vote tx-1 42               vote through its first node
  quorate tx tx-1                    what became of it
  quorate demo                       seven scenarios, honest and Byzantine
  quorate cluster create --trustees 5 --threshold 4 --out my-cluster

Data goes to stdout, everything else to stderr. Exit code 0: done, 1: failed, 2: wrong usage.`,
    );
  addDevCommands(program, context);
  addDemoCommand(program, context);
  addVoteCommand(program, context);
  addQueryCommands(program, context);
  addWatchCommand(program, context);
  addDoctorCommand(program, context);
  addHealthcheckCommand(program, context);
  addReceiptsCommand(program, context);
  addEvidenceCommands(program, context);
  addBanCommands(program, context);
  addClusterCommands(program, context);
  addTrusteeCommands(program, context);
  addBackupCommands(program, context);
  addSubmissionsCommands(program, context);
  addTokenCommand(program, context);
  addAppCommands(program, context);
  addCompletionCommand(program, context);
  return program;
}

/** Runs one command line; resolves to the exit code and prints what went wrong. */
export async function run(argv: readonly string[], terminal: Terminal): Promise<number> {
  const debug = argv.includes("--debug");
  try {
    const invocation = appInvocation(argv);
    if (invocation !== null) return await runAttached(invocation.app, invocation.args);
    return await runCommand(argv, terminal);
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage;
    terminal.note(`${terminal.style.bad("quorate:")} ${describeError(error, { debug })}`);
    return exitCodeOf(error);
  }
}

async function runCommand(argv: readonly string[], terminal: Terminal): Promise<number> {
  const { context, exitCode } = createContext(terminal);
  await buildProgram(context).parseAsync([...argv], { from: "user" });
  return exitCode();
}
