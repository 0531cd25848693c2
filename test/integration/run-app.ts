import { spawn } from "node:child_process";
import { type AppName, appCommand, cleanEnvironment } from "@quorate/localcluster";

export interface AppRun {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

const RUN_MS_MAX = 30_000;

/** Runs an app to its end and keeps what it prints. One that does not end is killed, and has no exit code. */
export function runToEnd(
  app: AppName,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<AppRun> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [...appCommand(app), ...args], {
      env: { ...cleanEnvironment(), ...env },
      stdio: ["ignore", "pipe", "pipe"],
      timeout: RUN_MS_MAX,
      killSignal: "SIGKILL",
    });
    const text = { stdout: "", stderr: "" };
    child.stdout.on("data", (chunk: Buffer) => {
      text.stdout += chunk.toString();
    });
    child.stderr.on("data", (chunk: Buffer) => {
      text.stderr += chunk.toString();
    });
    child.once("error", reject);
    child.once("close", (code) => resolve({ code, ...text }));
  });
}
