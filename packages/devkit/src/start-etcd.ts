import { mkdir, rm } from "node:fs/promises";
import { join, resolve } from "node:path";

import { DevkitError } from "./errors.ts";
import { type EtcdMember, launchMember, type ManagedEtcdMember } from "./etcd-member.ts";
import { type EtcdPlan, newEtcdPlan, readEtcdPlan, writeEtcdPlan } from "./etcd-plan.ts";
import { electedIndex, readEtcdStatus } from "./etcd-status.ts";
import { locateEtcd } from "./locate-etcd.ts";
import { waitUntil } from "./wait-until.ts";

// etcd's own default, stated because storage limits are computed from it.
const QUOTA_BYTES_DEFAULT = 2 * 1024 ** 3;
const PORT_ATTEMPTS_MAX = 5;
const LEADER_TIMEOUT_MS = 15_000;

type Cancellable = { readonly signal?: AbortSignal | undefined };

export type StartEtcdParameters = {
  /** Data, logs and the chosen ports; a cluster that already lives there is started again. */
  readonly dataDir: string;
  readonly members: 1 | 3;
  readonly quotaBytes?: number;
  /** Cancels the start-up only. */
  readonly signal?: AbortSignal | undefined;
};

export type EtcdCluster = {
  readonly version: string;
  /** Client URLs, in the order of `members`. */
  readonly endpoints: readonly string[];
  readonly members: readonly EtcdMember[];
  /** Index of the member a majority follows; waits for an election under way, at most 15 s. */
  leaderIndex(options?: Cancellable): Promise<number>;
  /** Stops all members in good order. Idempotent. */
  stop(options?: Cancellable): Promise<void>;
};

/**
 * Starts a real etcd of one or three members on 127.0.0.1 and waits until each sees a leader.
 *
 * Durability is real (fsync on). Ports are free ones; when another process wins
 * the race for one, new ports are tried.
 *
 * @throws DevkitError `ETCD_NOT_FOUND`, `DATA_DIR_MISMATCH`, `PORT_TAKEN`, `SERVER_EXITED`, `WAIT_TIMEOUT`.
 */
export async function startEtcd({
  dataDir: requestedDir,
  members,
  quotaBytes = QUOTA_BYTES_DEFAULT,
  signal,
}: StartEtcdParameters): Promise<EtcdCluster> {
  const dataDir = resolve(requestedDir);
  const { etcd, version } = await locateEtcd({ signal });
  await mkdir(dataDir, { recursive: true });
  const stored = await readEtcdPlan({ dataDir, members });
  let plan = stored ?? (await newEtcdPlan({ members, signal }));
  for (let attempt = 1; ; attempt++) {
    await writeEtcdPlan(dataDir, plan);
    try {
      return clusterOf(await launchAll({ etcd, dataDir, plan, quotaBytes, signal }), version);
    } catch (error) {
      if (!(error instanceof DevkitError) || error.code !== "PORT_TAKEN") throw error;
      // The members of an existing cluster of three know one another by port.
      if ((stored !== null && members > 1) || attempt === PORT_ATTEMPTS_MAX) throw error;
      plan = { ...(await newEtcdPlan({ members, signal })), token: plan.token };
      if (stored === null) await removeMemberData(dataDir, plan);
    }
  }
}

async function launchAll({
  plan,
  signal,
  ...rest
}: Cancellable & {
  etcd: string;
  dataDir: string;
  plan: EtcdPlan;
  quotaBytes: number;
}): Promise<readonly ManagedEtcdMember[]> {
  const members: ManagedEtcdMember[] = [];
  const majorityRuns = (): boolean =>
    members.filter((member) => member.isRunning()).length > members.length / 2;
  // The first failure of one member ends the others' wait too.
  const givenUp = new AbortController();
  const either = signal === undefined ? givenUp.signal : AbortSignal.any([signal, givenUp.signal]);
  try {
    const waits: Array<Promise<void>> = [];
    for (const planned of plan.members) {
      const launched = await launchMember({ ...rest, plan, member: planned, majorityRuns });
      members.push(launched.member);
      waits.push(launched.awaitHealthy({ signal: either }));
      // Promise.all below reports the failure; until then it must not count as unhandled.
      waits.at(-1)?.catch(() => {});
    }
    await Promise.all(waits);
    return members;
  } catch (error) {
    givenUp.abort(error);
    await Promise.all(members.map((member) => member.kill()));
    throw error;
  }
}

function clusterOf(members: readonly ManagedEtcdMember[], version: string): EtcdCluster {
  return {
    version,
    endpoints: members.map(({ clientUrl }) => clientUrl),
    members,
    leaderIndex: async ({ signal } = {}) => {
      let leader: number | null = null;
      await waitUntil(
        async (options) => {
          const statuses = members.map(({ clientUrl }) => readEtcdStatus(clientUrl, options));
          leader = electedIndex(await Promise.all(statuses));
          return leader !== null;
        },
        { timeoutMs: LEADER_TIMEOUT_MS, what: "etcd to elect a leader", signal },
      );
      if (leader === null) throw new Error("unreachable: the wait ends only with a leader");
      return leader;
    },
    stop: async ({ signal } = {}) => {
      // One after another: a leader told to go together with its followers tries
      // for seven seconds to hand over to one of them.
      for (const member of members) await member.stop({ signal });
    },
  };
}

async function removeMemberData(dataDir: string, plan: EtcdPlan): Promise<void> {
  for (const { name } of plan.members) {
    await rm(join(dataDir, name), { recursive: true, force: true });
  }
}
