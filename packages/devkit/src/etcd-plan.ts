import { randomBytes } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { DevkitError } from "./errors.ts";
import { freePort } from "./free-port.ts";

/** Where one member listens. */
export type EtcdMemberPlan = {
  readonly name: string;
  readonly clientPort: number;
  readonly peerPort: number;
};

/** What a cluster must keep over restarts: etcd stores its peer addresses in its own log. */
export type EtcdPlan = {
  readonly token: string;
  readonly members: readonly EtcdMemberPlan[];
};

const PLAN_FILE = "cluster.json";

/** Chooses names and free ports for a new cluster. */
export async function newEtcdPlan({
  members,
  signal,
}: {
  members: number;
  signal?: AbortSignal | undefined;
}): Promise<EtcdPlan> {
  const planned: EtcdMemberPlan[] = [];
  for (let index = 0; index < members; index++) {
    planned.push({
      name: `etcd-${index + 1}`,
      clientPort: await freePort({ signal }),
      peerPort: await freePort({ signal }),
    });
  }
  return { token: `quorate-${randomBytes(6).toString("hex")}`, members: planned };
}

/**
 * Reads the plan of a cluster that already lives in the directory, or null.
 *
 * @throws DevkitError `DATA_DIR_MISMATCH` when it is unreadable or has another number of members.
 */
export async function readEtcdPlan({
  dataDir,
  members,
}: {
  dataDir: string;
  members: number;
}): Promise<EtcdPlan | null> {
  const file = join(dataDir, PLAN_FILE);
  const text = await readFile(file, "utf8").catch(() => null);
  if (text === null) return null;
  const plan = parseEtcdPlan(text);
  if (plan === null) {
    throw new DevkitError("DATA_DIR_MISMATCH", `${file} does not describe an etcd cluster`);
  }
  if (plan.members.length !== members) {
    throw new DevkitError(
      "DATA_DIR_MISMATCH",
      `${dataDir} holds an etcd cluster of ${plan.members.length}, ${members} asked for`,
    );
  }
  return plan;
}

/** Records the plan beside the data it belongs to. */
export async function writeEtcdPlan(dataDir: string, plan: EtcdPlan): Promise<void> {
  await writeFile(join(dataDir, PLAN_FILE), `${JSON.stringify(plan, null, 2)}\n`);
}

/** Parses a stored plan; null when it is not one. */
export function parseEtcdPlan(text: string): EtcdPlan | null {
  const value = parseJson(text);
  if (!isRecord(value) || typeof value["token"] !== "string") return null;
  if (!Array.isArray(value["members"])) return null;
  const members: EtcdMemberPlan[] = [];
  for (const entry of value["members"]) {
    if (!isRecord(entry)) return null;
    const { name, clientPort, peerPort } = entry;
    if (typeof name !== "string" || !/^[a-z0-9-]+$/.test(name)) return null;
    if (!isPort(clientPort) || !isPort(peerPort)) return null;
    members.push({ name, clientPort, peerPort });
  }
  return members.length === 0 ? null : { token: value["token"], members };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isPort(value: unknown): value is number {
  return Number.isInteger(value) && typeof value === "number" && value > 0 && value < 65_536;
}
