import { type ChildProcess, spawn } from "node:child_process";
import { Socket } from "node:net";

/** A running child that this process answers for. */
export type TrackedChild = {
  readonly pid: number;
  stop(options?: { signal?: AbortSignal | undefined }): Promise<void>;
};

// Process-wide by nature: what must not outlive this process is known here.
const live = new Map<number, TrackedChild>();
let watchdog: ChildProcess | null = null;
let exitHookInstalled = false;

// Children run in sessions of their own, so that Ctrl-C reaches only the
// program, which then stops them in order. The price: nothing but us ends them.
// An 'exit' hook covers an ordinary end. SIGKILL of this process is covered by
// a shell that reads our pipe: the kernel closes the pipe whatever killed us,
// and the shell then kills what was still listed.
const WATCHDOG_SCRIPT = `
live=""
while read -r op pid; do
  case "$op" in
    +) live="$live $pid" ;;
    -) rest=""
       for p in $live; do [ "$p" = "$pid" ] || rest="$rest $p"; done
       live="$rest" ;;
  esac
done
[ -z "$live" ] || kill -9 $live 2>/dev/null
`;

/** Lists a child as ours until `untrackChild`; it is killed when this process ends, however it ends. */
export function trackChild(child: TrackedChild): void {
  installExitHook();
  live.set(child.pid, child);
  tellWatchdog(`+ ${child.pid}\n`);
}

/** Takes an ended child off the list, so that its pid, once reused, is never signalled. */
export function untrackChild(pid: number): void {
  if (live.delete(pid)) tellWatchdog(`- ${pid}\n`);
}

/**
 * Stops every server this process has started and that still runs, last started first.
 *
 * Idempotent. Rejects with the first failure after all have been tried.
 */
export async function stopAll({
  signal,
}: {
  signal?: AbortSignal | undefined;
} = {}): Promise<void> {
  const failures: unknown[] = [];
  for (const child of [...live.values()].toReversed()) {
    try {
      await child.stop({ signal });
    } catch (error) {
      failures.push(error);
    }
  }
  if (failures.length > 0) throw failures[0];
}

function installExitHook(): void {
  if (exitHookInstalled) return;
  exitHookInstalled = true;
  process.on("exit", () => {
    for (const pid of live.keys()) {
      try {
        process.kill(pid, "SIGKILL");
      } catch {
        // It ended by itself in the meantime, which is what was wanted.
      }
    }
  });
}

function tellWatchdog(line: string): void {
  if (watchdog === null || watchdog.exitCode !== null || watchdog.signalCode !== null) {
    watchdog = startWatchdog();
    line = [...live.keys()].map((pid) => `+ ${pid}\n`).join("");
  }
  watchdog.stdin?.write(line);
}

function startWatchdog(): ChildProcess {
  const child = spawn("/bin/sh", ["-c", WATCHDOG_SCRIPT], {
    stdio: ["pipe", "ignore", "ignore"],
    detached: true,
    cwd: "/",
    env: {},
  });
  // Best effort: without the watchdog the exit hook still works.
  child.on("error", () => {});
  child.stdin?.on("error", () => {});
  // Neither the shell nor its pipe may keep this process alive.
  child.unref();
  if (child.stdin instanceof Socket) child.stdin.unref();
  return child;
}
