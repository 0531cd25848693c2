import { spawn } from "node:child_process";
import { closeSync, mkdirSync, openSync } from "node:fs";
import { open, readFile } from "node:fs/promises";
import { dirname } from "node:path";

import { trackChild, untrackChild } from "./child-registry.ts";
import { DevkitError } from "./errors.ts";
import { waitUntil } from "./wait-until.ts";

const GRACE_MS = 10_000;
const PAUSE_TIMEOUT_MS = 5_000;
const TAIL_LINES = 20;
const TAIL_BYTES_MAX = 64 * 1024;

type Cancellable = { readonly signal?: AbortSignal | undefined };

/** How a process ended: with an exit code, or by a signal. */
export type ProcessExit = { readonly code: number | null; readonly signal: string | null };

export type SpawnLoggedParameters = {
  /** Used in error messages only. */
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  /** Standard output and error are appended here. */
  readonly logFile: string;
  readonly cwd?: string;
  readonly env?: NodeJS.ProcessEnv;
  /** Identity to drop to; needs root. */
  readonly user?: { readonly uid: number; readonly gid: number } | null;
  /** The signal that asks this program to end in good order. */
  readonly stopSignal?: NodeJS.Signals;
};

/** A child process whose output goes to a file and which never outlives this process. */
export type LoggedProcess = {
  readonly pid: number;
  /** Settles when the process has ended; never rejects. */
  readonly exited: Promise<ProcessExit>;
  /** How it ended, or null while it runs. */
  readonly exit: () => ProcessExit | null;
  /** The last lines of what this very process wrote. */
  readonly logTail: () => Promise<string>;
  /** Asks it to end, and kills it when it has not after ten seconds. Idempotent. */
  readonly stop: (options?: Cancellable) => Promise<void>;
  /** SIGKILL, as a crash would look. Idempotent. */
  readonly kill: (options?: Cancellable) => Promise<void>;
  /** SIGSTOP: it keeps its sockets but does nothing. Resolves once it stands still. */
  readonly pause: (options?: Cancellable) => Promise<void>;
  /** SIGCONT. */
  readonly resume: (options?: Cancellable) => Promise<void>;
};

/**
 * Starts a program with its output in a file.
 *
 * @throws DevkitError `COMMAND_FAILED` when the program cannot be started at all.
 */
export async function spawnLogged(parameters: SpawnLoggedParameters): Promise<LoggedProcess> {
  const { name, command, args, logFile, cwd, env, user, stopSignal = "SIGTERM" } = parameters;
  mkdirSync(dirname(logFile), { recursive: true });
  const log = openSync(logFile, "a");
  const handle = await open(logFile, "r");
  const logStart = (await handle.stat()).size;
  await handle.close();

  const child = spawn(command, args, {
    stdio: ["ignore", log, log],
    detached: true,
    ...(cwd === undefined ? {} : { cwd }),
    ...(env === undefined ? {} : { env }),
    ...(user === undefined || user === null ? {} : { uid: user.uid, gid: user.gid }),
  });
  closeSync(log);
  const exited = new Promise<ProcessExit>((resolve) => {
    child.once("exit", (code, signal) => resolve({ code, signal }));
  });
  const failed = new Promise<Error>((resolve) => child.once("error", resolve));
  if (child.pid === undefined) {
    throw new DevkitError("COMMAND_FAILED", `cannot start ${name}: ${command}`, {
      cause: await failed,
    });
  }
  const control = processControl({ pid: child.pid, exited, name, stopSignal });
  const running: LoggedProcess = {
    pid: child.pid,
    exited,
    ...control,
    logTail: () => readTail(logFile, logStart),
  };
  trackChild(running);
  return running;
}

function processControl({
  pid,
  exited,
  name,
  stopSignal,
}: {
  pid: number;
  exited: Promise<ProcessExit>;
  name: string;
  stopSignal: NodeJS.Signals;
}): Pick<LoggedProcess, "exit" | "stop" | "kill" | "pause" | "resume"> {
  let ended: ProcessExit | null = null;
  void exited.then((exit) => {
    ended = exit;
    untrackChild(pid);
  });
  const send = (posixSignal: NodeJS.Signals): void => {
    // Once it has ended, its pid may belong to somebody else.
    if (ended === null) process.kill(pid, posixSignal);
  };
  const gone = (timeoutMs: number, signal?: AbortSignal): Promise<void> =>
    waitUntil(() => ended !== null, { timeoutMs, what: `${name} to end`, signal });
  const kill = async ({ signal }: Cancellable = {}): Promise<void> => {
    send("SIGKILL");
    await gone(GRACE_MS, signal);
  };
  return {
    exit: () => ended,
    kill,
    stop: async ({ signal } = {}) => {
      send(stopSignal);
      // A paused process would sleep through the request.
      send("SIGCONT");
      try {
        await gone(GRACE_MS, signal);
      } catch (error) {
        signal?.throwIfAborted();
        if (!(error instanceof DevkitError)) throw error;
        await kill({ signal });
      }
    },
    pause: async ({ signal } = {}) => {
      send("SIGSTOP");
      await waitUntil(() => standsStill(pid), {
        timeoutMs: PAUSE_TIMEOUT_MS,
        what: `${name} to pause`,
        signal,
      });
    },
    resume: async () => send("SIGCONT"),
  };
}

/** On Linux the kernel says so; elsewhere SIGSTOP is taken at its word. */
async function standsStill(pid: number): Promise<boolean> {
  if (process.platform !== "linux") return true;
  const stat = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => "");
  // "pid (name) state …": the name may itself contain spaces and brackets.
  return stat.slice(stat.lastIndexOf(")") + 2).startsWith("T");
}

async function readTail(logFile: string, start: number): Promise<string> {
  const handle = await open(logFile, "r");
  try {
    const { size } = await handle.stat();
    const from = Math.max(start, size - TAIL_BYTES_MAX);
    const { buffer, bytesRead } = await handle.read({
      buffer: Buffer.alloc(Math.max(size - from, 0)),
      position: from,
    });
    const text = buffer.toString("utf8", 0, bytesRead);
    return text.trimEnd().split("\n").slice(-TAIL_LINES).join("\n");
  } finally {
    await handle.close();
  }
}
