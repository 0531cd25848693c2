import { spawn } from "node:child_process";

/** How a program ended and what it said. */
export interface Ended {
  /** 127 when it could not be started, 124 when it was ended for taking too long. */
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface ProgramOptions {
  readonly cwd?: string;
  readonly env?: NodeJS.ProcessEnv;
  readonly input?: string;
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal | undefined;
}

/** What one program's output may take in memory, in characters: builds talk much, and their end tells most. */
const OUTPUT_MAX = 2_000_000;
const TAIL_LINES = 25;

/** Runs a program to its end. Its failure is a value; only an abort is thrown. */
export function run(
  command: string,
  args: readonly string[],
  options: ProgramOptions = {},
): Promise<Ended> {
  const { cwd, env = process.env, input, timeoutMs = 60_000, signal } = options;
  return new Promise((resolve, reject) => {
    if (signal?.aborted === true) return reject(signal.reason);
    const child = spawn(command, args, {
      env,
      stdio: ["pipe", "pipe", "pipe"],
      ...(cwd === undefined ? {} : { cwd }),
    });
    let stdout = "";
    let stderr = "";
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      child.kill("SIGKILL");
    }, timeoutMs);
    const onAbort = (): void => void child.kill("SIGTERM");
    signal?.addEventListener("abort", onAbort, { once: true });
    const settle = (code: number): void => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", onAbort);
      if (signal?.aborted === true) reject(signal.reason);
      else resolve({ code, stdout, stderr });
    };
    child.stdout.on("data", (chunk) => (stdout = `${stdout}${String(chunk)}`.slice(-OUTPUT_MAX)));
    child.stderr.on("data", (chunk) => (stderr = `${stderr}${String(chunk)}`.slice(-OUTPUT_MAX)));
    child.on("error", (error) => {
      stderr = error.message;
      settle(127);
    });
    child.on("close", (code) => {
      if (late) stderr += `\nended after ${timeoutMs / 1_000} s`;
      settle(late ? 124 : (code ?? 1));
    });
    // A program that does not read its input may be gone before it is written.
    child.stdin.on("error", () => {});
    child.stdin.end(input ?? "");
  });
}

/** Runs a program that has to work. @throws Error with its last lines */
export async function must(
  command: string,
  args: readonly string[],
  options: ProgramOptions = {},
): Promise<string> {
  const { code, stdout, stderr } = await run(command, args, options);
  if (code === 0) return stdout;
  const said = `${stderr.trim() === "" ? stdout : stderr}`.trimEnd().split("\n").slice(-TAIL_LINES);
  throw new Error(`${[command, ...args].join(" ")} ended with ${code}:\n  ${said.join("\n  ")}`);
}
