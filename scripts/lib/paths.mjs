import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

export const ROOT = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
/** Everything fetched or computed that can be had again. */
export const CACHE = join(ROOT, ".cache");
export const ETCD_CACHE_BIN = join(CACHE, "etcd", "usr", "bin");
export const PROMETHEUS_CACHE_BIN = join(CACHE, "prometheus", "usr", "bin");

/** The exact pnpm this project is locked with. */
export function pinnedPnpm() {
  const { packageManager } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8"));
  const version = /^pnpm@([0-9.]+)/.exec(packageManager)?.[1];
  if (version === undefined) throw new Error(`package.json pins no pnpm: ${packageManager}`);
  return version;
}
