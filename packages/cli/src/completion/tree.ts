import type { Command } from "commander";

/** One flag as a shell completes it. */
export interface FlagWord {
  /** `--json`, and `-n` where it has a short one. */
  readonly words: readonly string[];
  readonly help: string;
  readonly takesValue: boolean;
  readonly choices: readonly string[];
}

/** One command and what can follow it. */
export interface CommandWord {
  /** From the program on, with slashes: `/cluster/create`; empty for the program itself. */
  readonly path: string;
  readonly name: string;
  readonly help: string;
  readonly flags: readonly FlagWord[];
  readonly children: readonly CommandWord[];
}

/** A setting that an app takes as a flag. */
export interface AppFlag {
  readonly flag?: string;
  readonly help: string;
}

/** The words of a whole command line. @param apps the flags of what reads its own command line, by path */
export function commandWords(
  command: Command,
  apps: Readonly<Record<string, readonly AppFlag[]>>,
  path = "",
): CommandWord {
  const own = command.createHelp().visibleOptions(command);
  const flags = own.map(
    ({ long, short, description, required, optional, argChoices }): FlagWord => ({
      words: [long, short].filter((word) => word !== undefined && word !== null),
      help: description,
      takesValue: required || optional,
      choices: argChoices ?? [],
    }),
  );
  return {
    path,
    name: command.name(),
    help: command.description(),
    flags: [...flags, ...(apps[path] ?? []).flatMap(appFlag)],
    children: command
      .createHelp()
      .visibleCommands(command)
      .map((child) => commandWords(child, apps, `${path}/${child.name()}`)),
  };
}

function appFlag({ flag, help }: AppFlag): readonly FlagWord[] {
  return flag === undefined ? [] : [{ words: [`--${flag}`], help, takesValue: true, choices: [] }];
}

/** A command and all below it. */
export function flatten(word: CommandWord): readonly CommandWord[] {
  return [word, ...word.children.flatMap(flatten)];
}
