import { basename, join, resolve } from "node:path";
import {
  BackupError,
  type EtcdMemberAddress,
  etcdRestoreCommand,
  freshToken,
  goodBackup,
  type Manifest,
  makeBackup,
  type RestoreReport,
  restoreEtcdMember,
  restorePostgres,
  verifyBackup,
} from "@quorate/backup";
import { type ClusterId, parseClusterId } from "@quorate/core";
import { locateEtcd } from "@quorate/devkit";
import { StoreError } from "@quorate/ports";
import {
  describeProblems,
  loadSettings,
  SUBMITTER_SETTINGS,
  submitterSchema,
} from "@quorate/settings";
import { schemaOf } from "@quorate/store-postgres";
import { createLogger, systemClock } from "@quorate/telemetry";
import { CliError, EXIT, usageError, usageErrors } from "../failure.ts";
import { table } from "../render/table.ts";
import { jsonDocument, type Terminal } from "../terminal.ts";
import { VERSION } from "../version.ts";

export interface BackupOptions {
  readonly out?: string;
  readonly config?: string;
  readonly etcd?: readonly string[];
  readonly postgres?: string;
  readonly clusterId?: string;
  readonly schema?: string;
  readonly json?: true;
}

export interface RestoreOptions {
  readonly from: string;
  readonly postgres?: string;
  readonly schema?: string;
  readonly replace?: true;
  readonly clusterId?: string;
  readonly etcdDataDir?: string;
  readonly etcdName: string;
  readonly etcdPeerUrl: string;
  readonly etcdMembers?: readonly EtcdMemberAddress[];
  readonly etcdToken?: string;
  readonly json?: true;
}

/** What a backup or a restore needs of the world. */
function world() {
  return {
    clock: systemClock(),
    logger: createLogger({ level: "error", pretty: false, destination: "stderr" }),
  };
}

/** Runs a task that Ctrl-C ends in good order: a backup leaves nothing, a restore puts back what was there. */
async function untilInterrupted<T>(task: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const stop = new AbortController();
  const onSignal = (): void => stop.abort(new CliError("interrupted, nothing was changed"));
  for (const name of ["SIGINT", "SIGTERM"] as const) process.on(name, onSignal);
  try {
    return await task(stop.signal);
  } catch (error) {
    throw withProblems(error);
  } finally {
    for (const name of ["SIGINT", "SIGTERM"] as const) process.off(name, onSignal);
  }
}

function withProblems(error: unknown): unknown {
  if (!(error instanceof BackupError) || error.problems.length === 0) return error;
  const list = error.problems.map((problem) => `  ${problem}`).join("\n");
  return new CliError(`${error.message}:\n${list}`, { cause: error });
}

/** Makes a backup. */
export async function backupAction(options: BackupOptions, terminal: Terminal): Promise<number> {
  const { out, ...source } = sourceOf(options);
  let recorded = true;
  const manifest = await untilInterrupted((signal) =>
    makeBackup(
      {
        ...source,
        directory: out,
        tool: VERSION,
        signal,
        onProgress: (message) => terminal.note(message),
        onUnrecorded: (error) => {
          recorded = false;
          terminal.note(unrecorded(error));
        },
      },
      world(),
    ),
  );
  if (options.json === true)
    terminal.data(jsonDocument({ directory: resolve(out), recorded, manifest }));
  else terminal.data(renderManifest(out, manifest));
  return EXIT.ok;
}

/** The backup is good all the same, so the command succeeds; who relies on the alert has to know why it rings. */
function unrecorded(error: unknown): string {
  const why = error instanceof Error ? error.message : String(error);
  const advice =
    error instanceof StoreError && error.code === "SCHEMA"
      ? "the schema is older than this release; a submitter that starts brings it up to date"
      : "the role needs INSERT on backup_made";
  return `warning: the backup is whole, but PostgreSQL did not keep that it was made, and LastBackupTooOld goes by that: ${why} (${advice})`;
}

/** From the configuration, with what flags say otherwise. */
function sourceOf(options: BackupOptions) {
  const { out, config, schema } = options;
  const settings = config === undefined ? null : readConfig(config);
  const clusterId =
    options.clusterId === undefined ? settings?.clusterId : clusterIdFrom(options.clusterId);
  const etcdHosts = options.etcd ?? settings?.etcd.hosts;
  const postgresUrl = options.postgres ?? settings?.postgres.url;
  const missing = [
    ...(out === undefined ? ["--out is missing: the directory to make"] : []),
    ...(clusterId === undefined ? ["--config or --cluster-id is missing"] : []),
    ...(etcdHosts === undefined || etcdHosts.length === 0 ? ["--config or --etcd is missing"] : []),
    ...(postgresUrl === undefined ? ["--config or --postgres is missing"] : []),
  ];
  if (
    missing.length > 0 ||
    out === undefined ||
    clusterId === undefined ||
    etcdHosts === undefined ||
    postgresUrl === undefined
  )
    throw usageErrors(missing);
  checkPostgresUrl(postgresUrl);
  const named = schema ?? settings?.postgres.schema;
  return { out, clusterId, etcdHosts, postgresUrl, schema: named ?? schemaOf(clusterId) };
}

function readConfig(file: string) {
  const { env } = process;
  const request = { schema: submitterSchema, settings: SUBMITTER_SETTINGS, file, env };
  const settings = loadSettings({ ...request, flags: {}, set: [] });
  if (!settings.ok) throw usageError(describeProblems(settings.error));
  return settings.value;
}

function clusterIdFrom(text: string): ClusterId {
  const clusterId = parseClusterId(text);
  if (!clusterId.ok) throw usageError(`--cluster-id: ${clusterId.error.message}`);
  return clusterId.value;
}

function checkPostgresUrl(url: string): void {
  if (URL.canParse(url) && /^postgres(?:ql)?:$/.test(new URL(url).protocol)) return;
  throw usageError("--postgres must be a URL such as postgres://user:password@host:5432/database");
}

function renderManifest(directory: string, manifest: Manifest): string {
  const { etcd, postgres, clusterId, createdAt } = manifest;
  const rows = postgres.tables.reduce((sum, each) => sum + each.rows, 0);
  const bytes = postgres.tables.reduce((sum, each) => sum + each.bytes, etcd.bytes);
  return table(
    ["", ""],
    [
      ["backup", directory],
      ["cluster", clusterId],
      ["taken", createdAt],
      ["etcd", `revision ${etcd.revisionAtLeast} or later of cluster ${etcd.lineage}`],
      [
        "PostgreSQL",
        `${rows} rows in ${postgres.tables.length} tables, schema at ${postgres.migrations.at(-1) ?? "nothing"}`,
      ],
      ["projected", `to revision ${postgres.projectorPosition ?? "none"}`],
      ...postgres.senders.map(({ chainId, address, nextNonce, epoch }) => [
        "sender",
        `${address} on chain ${chainId}: next nonce ${nextNonce}, epoch ${epoch}`,
      ]),
      ["size", `${bytes} bytes`],
    ],
    (text) => text,
  );
}

/** Checks a backup. Exit code 1 when it is not good. */
export async function verifyAction(
  directory: string,
  { json }: { readonly json?: true },
  terminal: Terminal,
): Promise<number> {
  const { manifest, problems } = await untilInterrupted((signal) =>
    verifyBackup(resolve(directory), { signal }),
  );
  const ok = problems.length === 0;
  if (json === true) terminal.data(jsonDocument({ ok, problems, manifest }));
  else if (ok && manifest !== null) terminal.data(renderManifest(directory, manifest));
  for (const problem of problems) terminal.note(terminal.style.bad(problem));
  terminal.note(ok ? terminal.style.good("the backup is good") : "the backup is NOT good");
  return ok ? EXIT.ok : EXIT.failed;
}

/** Restores what is asked for: PostgreSQL, a member of etcd, or both. */
export async function restoreAction(options: RestoreOptions, terminal: Terminal): Promise<number> {
  const { from, postgres, etcdDataDir, json } = options;
  if (postgres === undefined && etcdDataDir === undefined)
    throw usageError("say what to restore: --postgres <url>, --etcd-data-dir <dir>, or both");
  if (postgres !== undefined) checkPostgresUrl(postgres);
  const clusterId = options.clusterId === undefined ? undefined : clusterIdFrom(options.clusterId);
  const directory = resolve(from);
  return await untilInterrupted(async (signal) => {
    const manifest = await goodBackup(directory, clusterId, { signal });
    terminal.note(`the backup of ${manifest.clusterId} from ${manifest.createdAt} is good`);
    const etcd =
      etcdDataDir === undefined
        ? null
        : await restoreEtcd(etcdDataDir, { options, directory, manifest, terminal, signal });
    const { schema, replace } = options;
    const restored =
      postgres === undefined
        ? null
        : await restorePostgres(
            { directory, url: postgres, schema, clusterId, replace: replace === true, signal },
            world(),
          );
    if (json === true)
      terminal.data(jsonDocument({ clusterId: manifest.clusterId, postgres: restored, etcd }));
    else if (restored !== null) terminal.data(renderRestored(restored));
    return EXIT.ok;
  });
}

function renderRestored(report: RestoreReport): string {
  return [
    `PostgreSQL: ${report.rows} rows restored into ${report.schema}`,
    ...(report.keptAs === null ? [] : [`what was there is kept as ${report.keptAs}`]),
    ...(report.migrated.length === 0 ? [] : [`migrated: ${report.migrated.join(", ")}`]),
    `${report.senders} senders are frozen: ${report.reason}`,
    "Start the submitter: it holds the chain's own record against the database, and thaws when nothing differs.",
  ].join("\n");
}

interface EtcdOutcome {
  readonly token: string;
  /** The member whose data directory was made here; null when this machine has no tool for it. */
  readonly restored: string | null;
  /** What is left to do, for each other member. */
  readonly commands: readonly string[];
}

async function restoreEtcd(
  dataDir: string,
  {
    options,
    directory,
    manifest,
    terminal,
    signal,
  }: {
    readonly options: RestoreOptions;
    readonly directory: string;
    readonly manifest: Manifest;
    readonly terminal: Terminal;
    readonly signal: AbortSignal;
  },
): Promise<EtcdOutcome> {
  const { etcdName, etcdPeerUrl, etcdMembers, etcdToken } = options;
  const members = etcdMembers ?? [{ name: etcdName, peerUrl: etcdPeerUrl }];
  const member = members.find(({ name }) => name === etcdName);
  if (member === undefined) throw usageError(`--etcd-members does not name ${etcdName}`);
  const token = etcdToken ?? freshToken(manifest.clusterId);
  const plan = { token, members };
  const tool = await etcdTool();
  if (tool !== null) await restoreEtcdMember({ directory, tool, plan, member, dataDir, signal });
  const left = tool === null ? members : members.filter((each) => each !== member);
  const commands = left.map((each) =>
    etcdRestoreCommand(tool === null ? "etcdctl" : basename(tool), plan, each, {
      snapshot: join(directory, manifest.etcd.file),
      dataDir: each === member ? dataDir : `${dataDir}-${each.name}`,
    }),
  );
  if (tool === null)
    terminal.note("neither etcdctl nor etcdutl is on this machine; run this where it is:");
  else terminal.note(`etcd: ${dataDir} was made for ${member.name}`);
  if (tool !== null && commands.length > 0)
    terminal.note("run this for the other members, each with the snapshot on its own machine:");
  for (const command of commands) terminal.note(`  ${command}`);
  terminal.note(
    `start each with --initial-cluster-state new --initial-cluster-token ${token} --initial-cluster ${members
      .map(({ name, peerUrl }) => `${name}=${peerUrl}`)
      .join(",")}`,
  );
  return { token, restored: tool === null ? null : member.name, commands };
}

/** The one beside the etcd that this machine would run; null when it has none. */
async function etcdTool(): Promise<string | null> {
  const override = process.env["QUORATE_ETCDCTL"];
  if (override !== undefined && override !== "") return override;
  return await locateEtcd().then(
    ({ etcdctl }) => etcdctl,
    () => null,
  );
}
