import { Argument, type Command } from "commander";
import { completionScript, SHELLS, type Shell } from "../completion/scripts.ts";
import { type AppFlag, commandWords } from "../completion/tree.ts";
import type { CommandContext } from "../context.ts";
import { EXIT } from "../failure.ts";

/** What the apps take besides their settings. */
const APP_FLAGS: readonly AppFlag[] = [
  { flag: "config", help: "configuration file (JSON)" },
  { flag: "set", help: "any setting by its path; repeatable" },
];

/** `completion SHELL`: a script on stdout, made from this program's own commands. */
export function addCompletionCommand(program: Command, { terminal, done }: CommandContext): void {
  program
    .command("completion")
    .description("print a script that completes this command in a shell")
    .addArgument(new Argument("<shell>", "the shell").choices(SHELLS))
    .addHelpText(
      "after",
      `
Examples:
  quorate completion bash > /etc/bash_completion.d/quorate
  source <(quorate completion zsh)
  quorate completion fish > ~/.config/fish/completions/quorate.fish`,
    )
    .action(
      done(async (shell: Shell) => {
        // Only here: no other command needs them.
        const { NODE_SETTINGS, SUBMITTER_SETTINGS } = await import("@quorate/settings");
        const words = commandWords(program, {
          "/node": [...APP_FLAGS, ...NODE_SETTINGS],
          "/submitter": [...APP_FLAGS, ...SUBMITTER_SETTINGS],
        });
        terminal.data(completionScript(shell, words));
        return EXIT.ok;
      }),
    );
}
