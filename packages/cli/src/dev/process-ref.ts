import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { promisify } from "node:util";

const execFileAsync = promisify(execFile);

/** A process that can be told from another one that was given its number later. */
export interface ProcessRef {
  readonly pid: number;
  /** When it started, as the system says it; opaque. */
  readonly startedAt: string;
}

/** The process with this number now, or null when there is none. */
export async function processRef(pid: number): Promise<ProcessRef | null> {
  const startedAt = await startTimeOf(pid);
  return startedAt === null ? null : { pid, startedAt };
}

/** Whether this very process still runs. */
export async function isAlive(ref: ProcessRef): Promise<boolean> {
  return (await startTimeOf(ref.pid)) === ref.startedAt;
}

/** Sends a signal to this very process. @returns false when it is gone */
export async function signalProcess(ref: ProcessRef, signal: NodeJS.Signals): Promise<boolean> {
  if (!(await isAlive(ref))) return false;
  try {
    process.kill(ref.pid, signal);
    return true;
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ESRCH") return false;
    throw error;
  }
}

async function startTimeOf(pid: number): Promise<string | null> {
  if (process.platform === "linux") {
    const stat = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => null);
    return stat === null ? null : startTimeInStat(stat);
  }
  const listed = await execFileAsync("ps", ["-o", "lstart=", "-p", String(pid)]).catch(() => null);
  const text = listed?.stdout.trim() ?? "";
  return text === "" ? null : text;
}

/** Field 22 of /proc/<pid>/stat, in ticks since boot; null for a process that only waits to be reaped. */
export function startTimeInStat(stat: string): string | null {
  // "pid (name) state …": the name may itself hold spaces and brackets.
  const rest = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return rest[0] === "Z" ? null : (rest[19] ?? null);
}
