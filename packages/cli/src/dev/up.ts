import { spawn } from "node:child_process";
import { mkdir, open } from "node:fs/promises";
import { join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { thresholdProblems } from "@quorate/core";
import { COMMAND } from "../command-name.ts";
import { CliError, EXIT, usageErrors } from "../failure.ts";
import { jsonDocument, type Terminal } from "../terminal.ts";
import { isAlive } from "./process-ref.ts";
import { type DevState, readState, runningState } from "./state.ts";
import { renderSummary } from "./summary.ts";
import { supervise } from "./supervise.ts";

export interface DevUpOptions {
  readonly trustees: number;
  readonly threshold: number;
  readonly etcd: 1 | 3;
  readonly dir: string;
  readonly detach?: true;
  readonly supervised?: true;
  readonly json?: true;
}

const READY_TIMEOUT_MS = 180_000;
const POLL_MS = 100;

/** Starts a local cluster, here or behind a supervisor process. */
export async function devUp(options: DevUpOptions, terminal: Terminal): Promise<number> {
  const problems = thresholdProblems(options.trustees, options.threshold);
  if (problems.length > 0) throw usageErrors(problems);
  const directory = resolve(options.dir);
  const running = await runningState(directory);
  if (running !== null)
    throw new CliError(
      `a cluster runs in ${directory} already (${running.phase}, supervisor ${running.supervisor.pid}); stop it with: ${COMMAND} dev down --dir ${options.dir}`,
    );
  if (options.detach === true) return await detach(options, directory, terminal);
  return await supervise(
    { ...options, directory },
    {
      terminal,
      onReady: (summary) => {
        if (options.json === true) terminal.data(jsonDocument(summary));
        else terminal.data(renderSummary(summary, terminal.dataStyle));
        if (options.supervised !== true)
          terminal.note(terminal.style.dim("\nrunning; Ctrl-C stops everything"));
      },
    },
  );
}

async function detach(
  options: DevUpOptions,
  directory: string,
  terminal: Terminal,
): Promise<number> {
  await mkdir(directory, { recursive: true });
  const logFile = join(directory, "supervisor.log");
  const log = await open(logFile, "w");
  const child = spawn(
    process.execPath,
    [...process.execArgv, mainFile(), "dev", "up", "--supervised", ...flagsOf(options, directory)],
    { detached: true, stdio: ["ignore", log.fd, log.fd] },
  );
  const ended = new Promise<void>((settle) => {
    child.once("exit", () => settle());
    child.once("error", () => settle());
  });
  await log.close();
  terminal.note(`starting ${options.trustees} trustees and their servers (log: ${logFile})…`);
  const state = await awaitReady(directory, child.pid ?? -1, ended);
  child.unref();
  if (state?.phase !== "ready" || state.summary === null)
    throw new CliError(
      state?.error ?? `the cluster did not start; its supervisor's last words are in ${logFile}`,
    );
  if (options.json === true)
    terminal.data(jsonDocument({ ...state.summary, supervisorPid: state.supervisor.pid }));
  else terminal.data(renderSummary(state.summary, terminal.dataStyle));
  terminal.note(terminal.style.dim(`\nstop it with: ${COMMAND} dev down --dir ${options.dir}`));
  return EXIT.ok;
}

/** The state once it is ready or has failed; null when the supervisor ended without a word. */
async function awaitReady(
  directory: string,
  pid: number,
  ended: Promise<void>,
): Promise<DevState | null> {
  let gone = false;
  void ended.then(() => {
    gone = true;
  });
  const deadlineMs = performance.now() + READY_TIMEOUT_MS;
  while (performance.now() < deadlineMs) {
    // Asked before the file is read: what it wrote last is then in what we read.
    const wasGone = gone;
    const state = await readState(directory);
    const own = state?.supervisor.pid === pid ? state : null;
    if (own?.phase === "ready" || own?.phase === "failed" || wasGone) return own;
    await sleep(POLL_MS);
  }
  const late = await readState(directory);
  if (late?.supervisor.pid === pid && (await isAlive(late.supervisor)))
    process.kill(pid, "SIGTERM");
  throw new CliError(
    `the cluster was not ready after ${READY_TIMEOUT_MS / 1_000} s; it is stopped`,
  );
}

function flagsOf(options: DevUpOptions, directory: string): readonly string[] {
  return [
    ["--trustees", String(options.trustees)],
    ["--threshold", String(options.threshold)],
    ["--etcd", String(options.etcd)],
    ["--dir", directory],
  ].flat();
}

/** The command's entry beside this folder, whether source or built. */
function mainFile(): string {
  const name = import.meta.url.endsWith(".ts") ? "main.ts" : "main.js";
  return join(import.meta.dirname, "..", name);
}
