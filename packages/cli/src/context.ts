import type { Terminal } from "./terminal.ts";

/** What every command is given. */
export interface CommandContext {
  readonly terminal: Terminal;
  /** Makes a commander action out of a function that returns an exit code. */
  readonly done: <Args extends unknown[]>(
    action: (...args: Args) => Promise<number>,
  ) => (...args: Args) => Promise<void>;
}

/** A context that keeps the exit code of the action that ran. */
export function createContext(terminal: Terminal): {
  readonly context: CommandContext;
  readonly exitCode: () => number;
} {
  let code = 0;
  return {
    context: {
      terminal,
      done:
        (action) =>
        async (...args) => {
          code = await action(...args);
        },
    },
    exitCode: () => code,
  };
}
