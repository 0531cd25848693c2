import { readFile } from "node:fs/promises";
import type { Clock } from "@quorate/ports";
import {
  type LoadRequest,
  loadSettings,
  NODE_SETTINGS,
  nodeSchema,
  type Problem,
  SUBMITTER_SETTINGS,
  submitterSchema,
} from "@quorate/settings";
import { systemClock } from "@quorate/telemetry";
import { check, type Diagnosis, diagnosisOf } from "../doctor/check.ts";
import { diagnoseNode } from "../doctor/node-look.ts";
import { diagnoseSubmitter } from "../doctor/submitter-look.ts";
import { withSubmitterWorld } from "../doctor/submitter-world.ts";
import { withTally } from "../doctor/tally.ts";
import { EXIT, usageError } from "../failure.ts";
import { renderDiagnosis } from "../render/diagnosis.ts";
import { jsonDocument, type Terminal } from "../terminal.ts";
import { VERSION } from "../version.ts";

export interface DoctorOptions {
  readonly config?: string;
  readonly set: readonly string[];
  readonly json?: true;
}

type Kind = "node" | "submitter";

/**
 * Looks at all a process needs, from its configuration alone. Exit code 1 when something failed.
 * @param parts what a test plants: another clock, or another release
 */
export async function doctorAction(
  options: DoctorOptions,
  terminal: Terminal,
  parts: { readonly clock?: Clock; readonly version?: string; readonly kind?: Kind } = {},
): Promise<number> {
  const { config, set, json } = options;
  const file = config ?? process.env["QUORATE_CONFIG"] ?? null;
  if (file === null && set.length === 0 && process.env["QUORATE_CLUSTER_ID"] === undefined)
    throw usageError("give the configuration to check: --config FILE");
  const { clock = systemClock(), version = VERSION } = parts;
  const kind = parts.kind ?? (await kindOf(file));
  const diagnosis =
    kind === "node"
      ? await forNode(file, set, clock, version)
      : await forSubmitter(file, set, clock, version);
  terminal.data(
    json === true ? jsonDocument(diagnosis) : renderDiagnosis(diagnosis, terminal.dataStyle),
  );
  return diagnosis.ok ? EXIT.ok : EXIT.failed;
}

const request = (file: string | null, set: readonly string[]) =>
  ({ file, env: process.env, flags: {}, set }) satisfies Partial<LoadRequest<never>>;

async function forNode(
  file: string | null,
  set: readonly string[],
  clock: Clock,
  version: string,
): Promise<Diagnosis> {
  const loaded = loadSettings({
    ...request(file, set),
    schema: nodeSchema,
    settings: NODE_SETTINGS,
  });
  if (!loaded.ok) return misconfigured(loaded.error);
  const settings = loaded.value;
  return await withTally(settings, clock, (tally) => {
    const { clusterId, etcd } = settings;
    const world = { clusterId, etcdHosts: etcd.hosts, tally, clock, version };
    return diagnoseNode(world, settings, file);
  });
}

async function forSubmitter(
  file: string | null,
  set: readonly string[],
  clock: Clock,
  version: string,
): Promise<Diagnosis> {
  const loaded = loadSettings({
    ...request(file, set),
    schema: submitterSchema,
    settings: SUBMITTER_SETTINGS,
  });
  if (!loaded.ok) return misconfigured(loaded.error);
  return await withSubmitterWorld(loaded.value, file, clock, (world) =>
    diagnoseSubmitter(world, loaded.value, file, version),
  );
}

function misconfigured(problems: readonly Problem[]): Diagnosis {
  return diagnosisOf(
    problems.map(({ path, message, source }) =>
      check("config", "fail", `${path}: ${message}`, `see ${source}`),
    ),
  );
}

/** A configuration says by its settings whose it is; what can't be read is said by whoever loads it. */
async function kindOf(file: string | null): Promise<Kind> {
  const env = process.env;
  if (env["QUORATE_POSTGRES_URL"] !== undefined || env["QUORATE_CHAIN_CHAIN_ID"] !== undefined)
    return "submitter";
  if (file === null) return "node";
  try {
    const tree: unknown = JSON.parse(await readFile(file, "utf8"));
    const has = (key: string): boolean =>
      typeof tree === "object" && tree !== null && Object.hasOwn(tree, key);
    if (has("nodeId") || has("network")) return "node";
    return has("chain") || has("postgres") || has("sender") || has("signer") ? "submitter" : "node";
  } catch {
    return "node";
  }
}
