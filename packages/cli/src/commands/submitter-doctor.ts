import { createEvmChain, openSigner } from "@quorate/chain-evm";
import type { Logger } from "@quorate/ports";
import {
  describeProblems,
  loadSettings,
  SUBMITTER_SETTINGS,
  type SubmitterSettings,
  signerSourceOf,
  submitterSchema,
} from "@quorate/settings";
import { createEtcdTallyStore } from "@quorate/store-etcd";
import { createPool, createSubmissionStore, schemaOf, schemaState } from "@quorate/store-postgres";
import { systemClock } from "@quorate/telemetry";
import { EXIT, usageError } from "../failure.ts";
import { table } from "../render/table.ts";
import { jsonDocument, type Style, type Terminal } from "../terminal.ts";
import type { DoctorCheck } from "./submitter-doctor-checks.ts";
import { type Diagnosis, type DoctorWorld, diagnose } from "./submitter-doctor-look.ts";

export interface DoctorOptions {
  readonly config?: string;
  readonly set: readonly string[];
  readonly json?: true;
}

/** Looks at all a submitter needs, from its configuration alone. Exit code 1 when something failed. */
export async function doctorAction(options: DoctorOptions, terminal: Terminal): Promise<number> {
  const { config, set, json } = options;
  const file = config ?? process.env["QUORATE_CONFIG"] ?? null;
  const settings = loadSettings({
    schema: submitterSchema,
    settings: SUBMITTER_SETTINGS,
    file,
    env: process.env,
    flags: {},
    set,
  });
  if (!settings.ok) throw usageError(describeProblems(settings.error));
  const diagnosis = await withWorld(settings.value, file, diagnose);
  terminal.data(json === true ? jsonDocument(diagnosis) : render(diagnosis, terminal.dataStyle));
  return diagnosis.ok ? EXIT.ok : EXIT.failed;
}

function render({ ok, checks }: Diagnosis, style: Style): string {
  const paint = { ok: style.good, warn: style.warn, fail: style.bad };
  const rows = table(
    ["CHECK", "", "DETAIL"],
    checks.flatMap(({ name, level, detail, advice }) => [
      [name, paint[level](level), detail],
      ...(advice === null ? [] : [["", "", style.dim(`→ ${advice}`)]]),
    ]),
    style.dim,
  );
  const count = (level: DoctorCheck["level"]): number =>
    checks.filter((check) => check.level === level).length;
  const sum = `${count("ok")} ok, ${count("warn")} to look at, ${count("fail")} failed`;
  return `${rows}\n\n${ok ? style.good(sum) : style.bad(sum)}`;
}

/** The real parts, for the time of one task. Nothing is started that writes. */
async function withWorld<T>(
  settings: SubmitterSettings,
  file: string | null,
  task: (world: DoctorWorld) => Promise<T>,
): Promise<T> {
  const { clusterId, chain: chainSettings } = settings;
  const clock = systemClock();
  const dependencies = { clock, logger: SILENT };
  const chainOf = (rpcUrls: readonly string[]) =>
    createEvmChain(
      {
        rpcUrls,
        chainId: chainSettings.chainId,
        contractAddress: chainSettings.contractAddress,
        clusterId,
        timeoutMs: Math.min(chainSettings.timeoutMs, RPC_TIMEOUT_MS),
      },
      dependencies,
    );
  const etcd = createEtcdTallyStore({ ...settings.etcd, clusterId }, dependencies);
  const schemaName = settings.postgres.schema ?? schemaOf(clusterId);
  const pool = createPool({
    url: settings.postgres.url,
    schema: schemaName,
    applicationName: "quorate-doctor",
    connectionsMax: 4,
    logger: SILENT,
  });
  const chain = chainOf(chainSettings.rpcUrls);
  const endpoints = chainSettings.rpcUrls.map((url) => chainOf([url]));
  try {
    return await task({
      clusterId,
      schemaName,
      finality: chainSettings.finality,
      batchMax: settings.sender.batchMax,
      address: async () => {
        const { signer, check } = await openSigner(signerSourceOf(settings, file), dependencies);
        await check();
        return signer.address;
      },
      etcd: {
        readConfig: async (options) => {
          await etcd.start(options);
          return await etcd.readConfig(options);
        },
        leader: (name, options) => etcd.leader(name, options),
      },
      schema: () => schemaState(pool),
      submissions: createSubmissionStore(pool),
      chain,
      endpoints,
      clock,
    });
  } finally {
    await Promise.allSettled([
      etcd.stop(),
      pool.end(),
      ...[chain, ...endpoints].map((c) => c.stop()),
    ]);
  }
}

/** What is wrong is said in the checks; a log beside them would say it twice. */
const SILENT: Logger = {
  error: () => {},
  warn: () => {},
  info: () => {},
  debug: () => {},
  child: () => SILENT,
};

/** A person waits: an endpoint that takes longer is as good as away. */
const RPC_TIMEOUT_MS = 5_000;
