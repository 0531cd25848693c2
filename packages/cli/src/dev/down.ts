import { resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { CliError, EXIT } from "../failure.ts";
import { jsonDocument, type Terminal } from "../terminal.ts";
import { isAlive, type ProcessRef, signalProcess } from "./process-ref.ts";
import { readState } from "./state.ts";

export interface DevTarget {
  readonly dir: string;
  readonly json?: true;
}

/** A little more than the supervisor gives itself. */
const STOP_TIMEOUT_MS = 35_000;
const KILL_TIMEOUT_MS = 5_000;
const POLL_MS = 50;

/**
 * Stops a local cluster by its state file. Only processes that are still the ones it names are
 * signalled: a number may belong to somebody else by now.
 */
export async function devDown({ dir, json }: DevTarget, terminal: Terminal): Promise<number> {
  const directory = resolve(dir);
  const state = await readState(directory);
  const stopped = await stopSupervisor(state?.supervisor ?? null, terminal);
  const leftovers: string[] = [];
  for (const component of state?.components ?? []) {
    // Its supervisor was killed, or gave up on it.
    if (!(await signalProcess(component.process, "SIGKILL"))) continue;
    leftovers.push(component.name);
    await awaitEnd(component.process, KILL_TIMEOUT_MS);
  }
  if (json === true) terminal.data(jsonDocument({ directory, stopped, killed: leftovers }));
  else if (stopped) terminal.data(`stopped the cluster in ${directory}`);
  else if (leftovers.length > 0)
    terminal.data(`killed what a lost supervisor left behind: ${leftovers.join(", ")}`);
  else terminal.data(`no cluster runs in ${directory}`);
  return EXIT.ok;
}

async function stopSupervisor(supervisor: ProcessRef | null, terminal: Terminal): Promise<boolean> {
  if (supervisor === null || !(await signalProcess(supervisor, "SIGTERM"))) return false;
  terminal.note("stopping submitter, nodes, Anvil, PostgreSQL and etcd…");
  if (await awaitEnd(supervisor, STOP_TIMEOUT_MS)) return true;
  await signalProcess(supervisor, "SIGKILL");
  if (await awaitEnd(supervisor, KILL_TIMEOUT_MS)) return true;
  throw new CliError(`the supervisor (process ${supervisor.pid}) can't be ended`);
}

async function awaitEnd(ref: ProcessRef, timeoutMs: number): Promise<boolean> {
  const deadlineMs = performance.now() + timeoutMs;
  while (await isAlive(ref)) {
    if (performance.now() >= deadlineMs) return false;
    await sleep(POLL_MS);
  }
  return true;
}
