import { dirname, join } from "node:path";

import { DevkitError } from "./errors.ts";
import { CACHE_DIR } from "./repo-paths.ts";
import { findOnPath, isExecutable, runProgram } from "./run-program.ts";

/** An etcd this machine can run. */
export type EtcdBinaries = {
  readonly etcd: string;
  /** The client beside it or on PATH; null when the machine has none. */
  readonly etcdctl: string | null;
  /** As in "3.4.23". */
  readonly version: string;
};

// 3.3 serves its JSON gateway under another path and lacks nested transactions.
const MINOR_MIN = 4;

/**
 * Finds etcd: `QUORATE_ETCD`, then PATH, then the project's own cache.
 *
 * @throws DevkitError `ETCD_NOT_FOUND`, whose message says how to install it.
 */
export async function locateEtcd({
  signal,
  env = process.env,
  cacheDir = CACHE_DIR,
}: {
  signal?: AbortSignal | undefined;
  env?: NodeJS.ProcessEnv;
  cacheDir?: string;
} = {}): Promise<EtcdBinaries> {
  const override = env["QUORATE_ETCD"];
  const cached = join(cacheDir, "etcd", "usr", "bin", "etcd");
  const candidates =
    override === undefined || override === ""
      ? [await findOnPath("etcd", env["PATH"]), cached]
      : [override];
  const refused: string[] = [];
  for (const etcd of candidates) {
    if (etcd === null || !(await isExecutable(etcd))) continue;
    const version = parseEtcdVersion(await runProgram(etcd, ["--version"], { signal }));
    if (version === null || !isSupported(version)) {
      refused.push(`${etcd} is version ${version ?? "unknown"}, at least 3.${MINOR_MIN} is needed`);
      continue;
    }
    const beside = join(dirname(etcd), "etcdctl");
    const etcdctl = (await isExecutable(beside))
      ? beside
      : await findOnPath("etcdctl", env["PATH"]);
    return { etcd, etcdctl, version };
  }
  if (override !== undefined && override !== "") refused.push(`QUORATE_ETCD is ${override}`);
  throw new DevkitError("ETCD_NOT_FOUND", notFoundMessage(refused));
}

/** Reads "3.4.23" out of what `etcd --version` prints, or null. */
export function parseEtcdVersion(output: string): string | null {
  return /etcd Version:\s*(\d+\.\d+\.\d+\S*)/i.exec(output)?.[1] ?? null;
}

function isSupported(version: string): boolean {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  return major > 3 || (major === 3 && minor >= MINOR_MIN);
}

function notFoundMessage(refused: readonly string[]): string {
  return [
    "etcd was not found on this machine.",
    ...refused.map((reason) => `  (${reason})`),
    "Install it with one of:",
    "  npm run setup                                  Debian, Ubuntu: into .cache/etcd, no root needed",
    "  sudo apt-get install -y etcd-server etcd-client",
    "  brew install etcd                              macOS",
    "or set QUORATE_ETCD to the path of an etcd binary.",
  ].join("\n");
}
