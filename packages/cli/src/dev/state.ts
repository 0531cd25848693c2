import { mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { CliError } from "../failure.ts";
import { isAlive, type ProcessRef } from "./process-ref.ts";

/** One process of the local cluster. */
export interface DevComponent {
  readonly name: string;
  readonly kind: "etcd" | "postgres" | "anvil" | "node" | "submitter";
  readonly url: string;
  readonly process: ProcessRef;
  readonly logFile: string;
}

/** What `dev up` prints and `dev status` repeats. */
export interface DevSummary {
  readonly clusterId: string;
  readonly directory: string;
  readonly threshold: number;
  readonly nodes: readonly {
    readonly nodeId: string;
    readonly url: string;
    readonly pid: number | null;
    readonly logFile: string;
  }[];
  readonly submitter: {
    readonly url: string;
    readonly pid: number | null;
    readonly logFile: string;
  };
  readonly etcd: { readonly endpoints: readonly string[]; readonly etcdctl: string | null };
  readonly postgres: {
    readonly url: string;
    readonly schema: string;
    readonly psql: string | null;
  };
  readonly chain: {
    readonly rpcUrl: string;
    readonly chainId: number;
    readonly contractAddress: string;
    readonly submitterAddress: string;
  };
}

/** The state file of a local cluster: who runs it, and what belongs to it. */
export interface DevState {
  readonly version: 1;
  readonly phase: "starting" | "ready" | "stopping" | "stopped" | "failed";
  readonly error: string | null;
  readonly supervisor: ProcessRef;
  readonly components: readonly DevComponent[];
  readonly summary: DevSummary | null;
}

/** Where the state file of a directory is. */
export function stateFileOf(directory: string): string {
  return join(directory, "state.json");
}

/** Reads the state; null when nothing was ever started there. @throws CliError when it is no state file */
export async function readState(directory: string): Promise<DevState | null> {
  const file = stateFileOf(directory);
  const text = await readFile(file, "utf8").catch((error: unknown) => {
    const code = error instanceof Error && "code" in error ? error.code : null;
    if (code === "ENOENT" || code === "ENOTDIR") return null;
    throw error;
  });
  if (text === null) return null;
  let json: unknown = null;
  try {
    json = JSON.parse(text);
  } catch {
    // Not ours, or cut short; said below.
  }
  if (isState(json)) return json;
  throw new CliError(
    `${file} is not a state file of this version; remove it if nothing runs there`,
  );
}

/** Replaces the state file, whole or not at all. */
export async function writeState(directory: string, state: DevState): Promise<void> {
  const file = stateFileOf(directory);
  await mkdir(dirname(file), { recursive: true });
  // It holds the local database's password.
  await writeFile(`${file}.new`, `${JSON.stringify(state, null, 2)}\n`, { mode: 0o600 });
  await rename(`${file}.new`, file);
}

/** The state of a cluster that runs there now; null when none does. */
export async function runningState(directory: string): Promise<DevState | null> {
  const state = await readState(directory);
  return state !== null && (await isAlive(state.supervisor)) ? state : null;
}

function isState(json: unknown): json is DevState {
  if (typeof json !== "object" || json === null) return false;
  const supervisor: unknown = Reflect.get(json, "supervisor");
  return (
    Reflect.get(json, "version") === 1 &&
    typeof Reflect.get(json, "phase") === "string" &&
    Array.isArray(Reflect.get(json, "components")) &&
    typeof supervisor === "object" &&
    supervisor !== null &&
    typeof Reflect.get(supervisor, "pid") === "number" &&
    typeof Reflect.get(supervisor, "startedAt") === "string"
  );
}
