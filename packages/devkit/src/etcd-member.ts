import { join } from "node:path";

import type { EtcdMemberPlan, EtcdPlan } from "./etcd-plan.ts";
import { isEtcdAnswering, isEtcdHealthy } from "./etcd-status.ts";
import { environmentWithout } from "./run-program.ts";
import { type LoggedProcess, spawnLogged } from "./spawn-logged.ts";
import { waitReady } from "./wait-ready.ts";

const READY_TIMEOUT_MS = 30_000;

type Cancellable = { readonly signal?: AbortSignal | undefined };

/** One etcd server process. */
export type EtcdMember = {
  readonly name: string;
  /** Of the running process; of the last one when it is stopped. */
  readonly pid: number;
  readonly clientUrl: string;
  readonly peerUrl: string;
  readonly logFile: string;
  /** Ends it in good order. Idempotent. */
  stop(options?: Cancellable): Promise<void>;
  /** SIGKILL, as a crash would look. Idempotent. */
  kill(options?: Cancellable): Promise<void>;
  /** SIGSTOP: connections stay open, nothing answers. */
  pause(options?: Cancellable): Promise<void>;
  resume(options?: Cancellable): Promise<void>;
  /**
   * Starts it again on the same address and data, after stopping it if it runs.
   * Resolves when it sees a leader; when fewer than a majority run, when its peers can reach it.
   */
  restart(options?: Cancellable): Promise<void>;
};

/** A member as its cluster sees it. */
export type ManagedEtcdMember = EtcdMember & {
  readonly isRunning: () => boolean;
};

export type LaunchMemberParameters = {
  readonly etcd: string;
  readonly dataDir: string;
  readonly plan: EtcdPlan;
  readonly member: EtcdMemberPlan;
  readonly quotaBytes: number;
  /** Asked at restart: are enough members up, this one included, to elect a leader? */
  readonly majorityRuns: () => boolean;
};

/** Starts one member's process. It is not ready yet: `awaitHealthy` says when. */
export async function launchMember(
  parameters: LaunchMemberParameters,
): Promise<{ member: ManagedEtcdMember; awaitHealthy: (options: Cancellable) => Promise<void> }> {
  const { member: plan, majorityRuns } = parameters;
  const logFile = join(parameters.dataDir, `${plan.name}.log`);
  const clientUrl = `http://127.0.0.1:${plan.clientPort}`;
  const peerUrl = `http://127.0.0.1:${plan.peerPort}`;
  const spawnMember = (): Promise<LoggedProcess> =>
    spawnLogged({
      name: plan.name,
      command: parameters.etcd,
      args: memberArgs(parameters),
      logFile,
      // Debian's etcd refuses to start on arm64 without this word from its user.
      env: environmentWithout("ETCD_", { ETCD_UNSUPPORTED_ARCH: process.arch }),
    });
  let running = await spawnMember();
  let paused = false;

  const ready = ({ signal }: Cancellable, needsLeader: boolean): Promise<void> =>
    waitReady(
      running,
      (options) =>
        // Without a leader etcd does not open its client port, only the one for its peers.
        needsLeader ? isEtcdHealthy(clientUrl, options) : isEtcdAnswering(peerUrl, options),
      { name: plan.name, timeoutMs: READY_TIMEOUT_MS, signal },
    );
  const member: ManagedEtcdMember = {
    name: plan.name,
    clientUrl,
    peerUrl,
    logFile,
    get pid() {
      return running.pid;
    },
    isRunning: () => running.exit() === null && !paused,
    stop: (options) => running.stop(options),
    kill: (options) => running.kill(options),
    pause: async (options) => {
      paused = true;
      await running.pause(options);
    },
    resume: async (options) => {
      await running.resume(options);
      paused = false;
    },
    restart: async (options = {}) => {
      await running.stop(options);
      paused = false;
      running = await spawnMember();
      await ready(options, majorityRuns());
    },
  };
  return { member, awaitHealthy: (options) => ready(options, true) };
}

function memberArgs({
  dataDir,
  plan,
  member,
  quotaBytes,
}: LaunchMemberParameters): readonly string[] {
  const client = `http://127.0.0.1:${member.clientPort}`;
  const peer = `http://127.0.0.1:${member.peerPort}`;
  const cluster = plan.members.map(({ name, peerPort }) => `${name}=http://127.0.0.1:${peerPort}`);
  // --max-txn-ops stays at its default of 128: production clusters have it too.
  return [
    ["--name", member.name],
    ["--data-dir", join(dataDir, member.name)],
    ["--listen-client-urls", client],
    ["--advertise-client-urls", client],
    ["--listen-peer-urls", peer],
    ["--initial-advertise-peer-urls", peer],
    ["--initial-cluster", cluster.join(",")],
    ["--initial-cluster-token", plan.token],
    ["--initial-cluster-state", "new"],
    ["--heartbeat-interval", "100"],
    ["--election-timeout", "1000"],
    ["--quota-backend-bytes", String(quotaBytes)],
    // Compaction is the system's own task; etcd must not drop history behind its back.
    ["--auto-compaction-retention", "0"],
  ].flat();
}
