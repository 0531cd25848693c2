import { join } from "node:path";
import {
  type AnvilServer,
  type EtcdCluster,
  type PostgresServer,
  startAnvil,
  startEtcd,
  startPostgres,
} from "@quorate/devkit";
import type { AbortOptions } from "@quorate/ports";

export interface StartLocalServersParameters {
  /** Data and logs of all three. */
  readonly directory: string;
  readonly etcdMembers: 1 | 3;
  /** Anvil mines a block in this interval. Default 1. */
  readonly blockTimeSeconds?: number;
  /** Told as each one is up. */
  readonly onStarted?: (what: string) => void;
  /** Cancels the start-up only. */
  readonly signal?: AbortSignal | undefined;
}

/** The servers that clusters on this machine share. */
export interface LocalServers {
  readonly etcd: EtcdCluster;
  readonly postgres: PostgresServer;
  readonly anvil: AnvilServer;
  /** Anvil, then PostgreSQL, then etcd, each in good order. Idempotent; goes on after a failure and then rejects with it. */
  stop(options?: AbortOptions): Promise<void>;
}

/**
 * Starts real etcd, PostgreSQL and Anvil side by side.
 * @throws DevkitError when one can't be found or started; the others are then stopped again.
 */
export async function startLocalServers(
  parameters: StartLocalServersParameters,
): Promise<LocalServers> {
  const { directory, etcdMembers, signal, onStarted, blockTimeSeconds = 1 } = parameters;
  const givenUp = new AbortController();
  const either = signal === undefined ? givenUp.signal : AbortSignal.any([signal, givenUp.signal]);
  const starting = [
    startEtcd({ dataDir: join(directory, "etcd"), members: etcdMembers, signal: either }),
    startPostgres({ dataDir: join(directory, "postgres"), signal: either }),
    startAnvil({ blockTimeSeconds, logFile: join(directory, "anvil.log"), signal: either }),
  ] as const;
  const [etcd, postgres, anvil] = starting;
  const say = (what: string) => (): void => onStarted?.(what);
  void etcd.then(say(etcdMembers === 1 ? "etcd" : `etcd (${etcdMembers} members)`), () => {});
  void postgres.then(say("PostgreSQL"), () => {});
  void anvil.then(say("Anvil"), () => {});
  try {
    const servers = { etcd: await etcd, postgres: await postgres, anvil: await anvil };
    return { ...servers, stop: (options) => stopInOrder(servers, options) };
  } catch (error) {
    givenUp.abort(error);
    for (const settled of await Promise.allSettled(starting))
      if (settled.status === "fulfilled") await settled.value.stop().catch(() => {});
    signal?.throwIfAborted();
    throw error;
  }
}

async function stopInOrder(
  servers: Pick<LocalServers, "etcd" | "postgres" | "anvil">,
  options: AbortOptions = {},
): Promise<void> {
  const failures: unknown[] = [];
  for (const server of [servers.anvil, servers.postgres, servers.etcd])
    await server.stop(options).catch((error: unknown) => failures.push(error));
  if (failures.length > 0) throw failures[0];
}
