import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { capture, mustRun } from "./exec.mjs";
import { SetupError } from "./log.mjs";
import { CACHE, ROOT } from "./paths.mjs";
import { installEnv } from "./pnpm.mjs";

const STAMP = join(CACHE, "installed.sha256");
const RUNTIME_MAJOR = 24;

/** Whether node_modules is what the lock file and the manifests ask for. */
export function packagesAreCurrent() {
  return (
    existsSync(join(ROOT, "node_modules", ".modules.yaml")) &&
    existsSync(STAMP) &&
    readFileSync(STAMP, "utf8") === installHash()
  );
}

/** Installs exactly what the lock file names. */
export async function installPackages(pnpm) {
  rmSync(STAMP, { force: true });
  // --prod=false: an inherited production setting must not leave out the tools.
  const args = [...pnpm.prefix, "install", "--frozen-lockfile", "--prod=false"];
  await mustRun(pnpm.command, args, { env: installEnv });
  mkdirSync(CACHE, { recursive: true });
  writeFileSync(STAMP, installHash());
}

/** Path of the Node that runs the project: the installed one, or this one if it is new enough. */
export async function findRuntime() {
  const installed = join(ROOT, "node_modules", "node", "bin", "node");
  const { code, output } = await capture(installed, ["--version"]);
  if (code === 0 && majorOf(output) >= RUNTIME_MAJOR) return installed;
  if (majorOf(process.version) >= RUNTIME_MAJOR) return process.execPath;
  throw new SetupError(
    `Node ${RUNTIME_MAJOR} from the packages does not run here (${output.trim()}).\n` +
      "On a system without glibc, such as Alpine, install Node 24 yourself and run this with it;\n" +
      "elsewhere remove node_modules and try again.",
  );
}

function majorOf(version) {
  return Number(/v(\d+)\./.exec(version)?.[1] ?? 0);
}

function installHash() {
  const hash = createHash("sha256");
  hash.update(`${process.platform} ${process.arch}\n`);
  const packages = readdirSync(join(ROOT, "packages")).toSorted();
  const manifests = packages.map((name) => join("packages", name, "package.json"));
  for (const file of ["pnpm-lock.yaml", "pnpm-workspace.yaml", "package.json", ...manifests]) {
    if (!existsSync(join(ROOT, file))) continue;
    const content = readFileSync(join(ROOT, file));
    hash.update(`${file} ${content.length}\n`).update(content);
  }
  return hash.digest("hex");
}
