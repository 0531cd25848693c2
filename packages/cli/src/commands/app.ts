import { spawn } from "node:child_process";
import { constants } from "node:os";
import { type AppName, appCommand } from "@quorate/localcluster/apps";
import type { Command } from "commander";
import type { CommandContext } from "../context.ts";
import { addSubmitterCommands } from "./submitter.ts";

const APPS: Readonly<Record<string, AppName>> = {
  node: "@quorate/node",
  submitter: "@quorate/submitter",
};
const FORWARDED = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/** Whether the command line belongs to an app, which then reads its own flags and prints its own help. */
export function appInvocation(
  argv: readonly string[],
): { readonly app: AppName; readonly args: readonly string[] } | null {
  const [name = "", ...args] = argv;
  // The one command beside the app that bears its name.
  if (name === "submitter" && args[0] === "doctor") return null;
  const app = Object.hasOwn(APPS, name) ? APPS[name] : undefined;
  return app === undefined ? null : { app, args };
}

/** For the list of commands only, but for what stands beside an app: these two never come to commander. */
export function addAppCommands(program: Command, context: CommandContext): void {
  program
    .command("node")
    .argument("[flags...]")
    .description("run a trustee's node (quorate node --config FILE; --help shows its flags)");
  const submitter = program
    .command("submitter")
    .argument("[flags...]")
    .description(
      "run the submitter (quorate submitter --config FILE; --help shows its flags), or check it: submitter doctor",
    );
  addSubmitterCommands(submitter, context);
}

/** Runs an app as a child on this terminal; resolves to the exit code a shell would report. */
export function runAttached(app: AppName, args: readonly string[]): Promise<number> {
  return runNodeAttached([...appCommand(app), ...args]);
}

/** The same for any program of this Node's. @param args Node's own, the program, and the program's */
export function runNodeAttached(args: readonly string[]): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, args, { stdio: "inherit" });
    const forward = (signal: NodeJS.Signals): void => {
      // Ctrl-C at a terminal reaches the child by itself; twice would look impatient.
      if (signal === "SIGINT" && process.stdin.isTTY) return;
      child.kill(signal);
    };
    for (const signal of FORWARDED) process.on(signal, forward);
    const settled = (): void => {
      for (const signal of FORWARDED) process.off(signal, forward);
    };
    child.once("error", (error) => {
      settled();
      reject(error);
    });
    child.once("exit", (code, signal) => {
      settled();
      resolve(code ?? 128 + (signal === null ? 0 : constants.signals[signal]));
    });
  });
}
