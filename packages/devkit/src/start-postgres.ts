import { mkdir, readFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { DevkitError } from "./errors.ts";
import { freePort } from "./free-port.ts";
import { locatePostgres, locatePsql } from "./locate-postgres.ts";
import {
  createDatabase,
  databaseDir,
  LOCAL_PASSWORD,
  LOCAL_USER,
  postgresVersion,
  usableBinDir,
} from "./postgres-home.ts";
import { environmentWithout } from "./run-program.ts";
import { type LoggedProcess, spawnLogged } from "./spawn-logged.ts";
import { unprivilegedUser, type UserIdentity } from "./unprivileged-user.ts";
import { waitReady } from "./wait-ready.ts";

const READY_TIMEOUT_MS = 30_000;
const START_ATTEMPTS_MAX = 100;
const RETRY_PAUSE_MS = 50;

type Cancellable = { readonly signal?: AbortSignal | undefined };

export type StartPostgresParameters = {
  /** Database, log; a database that already lives there is started again. */
  readonly dataDir: string;
  /** Fixed port; default a free one. */
  readonly port?: number;
  /** Cancels the start-up only. */
  readonly signal?: AbortSignal | undefined;
};

export type PostgresServer = {
  /** With user and password, naming the database `postgres`. */
  readonly url: string;
  readonly port: number;
  /** Of the running postmaster; of the last one when it is stopped. */
  readonly pid: number;
  /** As in "18.4". */
  readonly version: string;
  /** The command-line client, or null: the npm package brings none. */
  readonly psql: string | null;
  readonly logFile: string;
  /** Where the database files are; outside `dataDir` when its user cannot reach that. */
  readonly databaseDir: string;
  /** Fast shutdown: open transactions are rolled back. Idempotent. */
  stop(options?: Cancellable): Promise<void>;
  /** SIGKILL of the postmaster, as a crash would look; the next start recovers from the log. Idempotent. */
  kill(options?: Cancellable): Promise<void>;
  /** SIGSTOP of the postmaster: new connections hang, open ones go on. */
  pause(options?: Cancellable): Promise<void>;
  resume(options?: Cancellable): Promise<void>;
  /** Starts it again on the same port and data, after stopping it if it runs. */
  restart(options?: Cancellable): Promise<void>;
};

/**
 * Starts a real PostgreSQL on 127.0.0.1 and waits until it accepts connections.
 *
 * Durability is real (fsync on). Started by root, it runs as an unprivileged user.
 *
 * @throws DevkitError `POSTGRES_NOT_FOUND`, `NO_UNPRIVILEGED_USER`, `COMMAND_FAILED` (initdb),
 * `PORT_TAKEN`, `SERVER_EXITED`, `WAIT_TIMEOUT`.
 */
export async function startPostgres(parameters: StartPostgresParameters): Promise<PostgresServer> {
  const { signal } = parameters;
  const dataDir = resolve(parameters.dataDir);
  await mkdir(dataDir, { recursive: true });
  const user = await unprivilegedUser();
  const binDir = await usableBinDir(await locatePostgres({ signal }), { user, signal });
  const files = await databaseDir(dataDir, { user, signal });
  await createDatabase(files, { binDir, user, signal });

  const logFile = join(dataDir, "postgres.log");
  const launch = { binDir, files, user, logFile };
  let port = parameters.port ?? (await freePort({ signal }));
  let running: LoggedProcess;
  for (let attempt = 1; ; attempt++) {
    try {
      running = await launchUntilReady({ ...launch, port, signal });
      break;
    } catch (error) {
      if (!isRetryable(error, "PORT_TAKEN") || parameters.port !== undefined || attempt === 5) {
        throw error;
      }
      port = await freePort({ signal });
    }
  }
  return {
    url: `postgres://${LOCAL_USER}:${LOCAL_PASSWORD}@127.0.0.1:${port}/postgres`,
    port,
    get pid() {
      return running.pid;
    },
    version: await postgresVersion(binDir, { signal }),
    psql: await locatePsql(),
    logFile,
    databaseDir: files,
    stop: (options) => running.stop(options),
    kill: (options) => running.kill(options),
    pause: (options) => running.pause(options),
    resume: (options) => running.resume(options),
    restart: async (options = {}) => {
      await running.stop(options);
      running = await launchUntilReady({ ...launch, port, ...options });
    },
  };
}

type LaunchParameters = Cancellable & {
  readonly binDir: string;
  readonly files: string;
  readonly user: UserIdentity | null;
  readonly logFile: string;
  readonly port: number;
};

/**
 * Starts the server; waits out a killed predecessor, whose sessions notice
 * their postmaster's death a moment later and hold its shared memory until then.
 */
async function launchUntilReady(parameters: LaunchParameters): Promise<LoggedProcess> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await launchOnce(parameters);
    } catch (error) {
      if (!isRetryable(error, "SERVER_EXITED") || attempt === START_ATTEMPTS_MAX) throw error;
      await sleep(RETRY_PAUSE_MS, undefined, { signal: parameters.signal });
    }
  }
}

async function launchOnce(parameters: LaunchParameters): Promise<LoggedProcess> {
  const { binDir, files, user, logFile, port, signal } = parameters;
  const server = await spawnLogged({
    name: "postgres",
    command: join(binDir, "postgres"),
    args: ["-D", files, ...serverSettings(port).flatMap((setting) => ["-c", setting])],
    logFile,
    // A working directory the unprivileged user can enter.
    cwd: "/",
    env: environmentWithout("PG"),
    user,
    // SIGTERM would wait for every client to leave.
    stopSignal: "SIGINT",
  });
  try {
    await waitReady(server, () => acceptsConnections(files, server.pid), {
      name: "postgres",
      timeoutMs: READY_TIMEOUT_MS,
      signal,
    });
    return server;
  } catch (error) {
    await server.kill();
    throw error;
  }
}

function serverSettings(port: number): readonly string[] {
  return [
    "listen_addresses=127.0.0.1",
    `port=${port}`,
    // TCP only: a socket path under a deep directory exceeds the kernel's 107 bytes.
    "unix_socket_directories=",
    "fsync=on",
    "synchronous_commit=on",
    "full_page_writes=on",
    "shared_buffers=32MB",
    "max_connections=200",
    "timezone=UTC",
    "log_timezone=UTC",
    "lc_messages=C",
    "logging_collector=off",
    "log_destination=stderr",
  ];
}

/** Reads the state the postmaster itself keeps for `pg_ctl`: its pid first, "ready" in line 8. */
async function acceptsConnections(files: string, pid: number): Promise<boolean> {
  const text = await readFile(join(files, "postmaster.pid"), "utf8").catch(() => "");
  return isPostmasterReady(text, pid);
}

/** Whether a `postmaster.pid` file says that this very process accepts connections. */
export function isPostmasterReady(postmasterPid: string, pid: number): boolean {
  const lines = postmasterPid.split("\n");
  return lines[0] === String(pid) && lines[7]?.trim() === "ready";
}

function isRetryable(error: unknown, code: DevkitError["code"]): boolean {
  return error instanceof DevkitError && error.code === code && error.retryable;
}
