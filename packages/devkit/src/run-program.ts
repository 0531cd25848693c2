import { execFile } from "node:child_process";
import { constants } from "node:fs";
import { access } from "node:fs/promises";
import { delimiter, join } from "node:path";

import { DevkitError } from "./errors.ts";

const OUTPUT_BYTES_MAX = 4 * 1024 * 1024;

/**
 * Runs a short-lived program to its end and returns its standard output.
 *
 * @throws DevkitError `COMMAND_FAILED` with the program's own error output.
 */
export function runProgram(
  command: string,
  args: readonly string[],
  {
    user,
    cwd,
    signal,
  }: {
    user?: { uid: number; gid: number } | null | undefined;
    cwd?: string;
    signal?: AbortSignal | undefined;
  } = {},
): Promise<string> {
  return new Promise((resolve, reject) => {
    execFile(
      command,
      args,
      {
        encoding: "utf8",
        maxBuffer: OUTPUT_BYTES_MAX,
        ...(cwd === undefined ? {} : { cwd }),
        ...(signal === undefined ? {} : { signal }),
        ...(user === undefined || user === null ? {} : { uid: user.uid, gid: user.gid }),
      },
      (error, stdout, stderr) => {
        if (error === null) return resolve(stdout);
        if (signal?.aborted === true) return reject(signal.reason);
        const said = stderr.trim() === "" ? error.message : stderr.trim();
        reject(
          new DevkitError("COMMAND_FAILED", `${command} ${args.join(" ")}\n${said}`, {
            cause: error,
          }),
        );
      },
    );
  });
}

/** Whether this process may execute the file. */
export async function isExecutable(file: string): Promise<boolean> {
  return access(file, constants.X_OK).then(
    () => true,
    () => false,
  );
}

/** The first executable of that name on PATH, or null. */
export async function findOnPath(
  name: string,
  path: string | undefined = process.env["PATH"],
): Promise<string | null> {
  for (const directory of (path ?? "").split(delimiter)) {
    if (directory !== "" && (await isExecutable(join(directory, name))))
      return join(directory, name);
  }
  return null;
}

/** The environment without the variables a server would read as settings. */
export function environmentWithout(
  prefix: string,
  extra: NodeJS.ProcessEnv = {},
): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(([name]) => !name.startsWith(prefix));
  return { ...Object.fromEntries(kept), ...extra };
}
