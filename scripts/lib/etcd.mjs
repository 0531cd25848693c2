import { existsSync, mkdirSync, readdirSync, renameSync, rmSync } from "node:fs";
import { delimiter, join } from "node:path";

import { capture } from "./exec.mjs";
import { SetupError } from "./log.mjs";
import { CACHE, ETCD_CACHE_BIN } from "./paths.mjs";

const PACKAGES = ["etcd-server", "etcd-client"];
const VERSION_TEXT = /etcd Version:\s*3\.([4-9]|\d\d)\./;

/** Whether an etcd the project can use is here: QUORATE_ETCD, PATH, or the project's cache. */
export async function etcdIsPresent() {
  const override = process.env.QUORATE_ETCD;
  if (override) return runsEtcd(override);
  const cached = join(ETCD_CACHE_BIN, "etcd");
  if (existsSync(cached) && (await runsEtcd(cached))) return true;
  const onPath = (process.env.PATH ?? "")
    .split(delimiter)
    .some((directory) => directory !== "" && existsSync(join(directory, "etcd")));
  return onPath && runsEtcd("etcd");
}

async function runsEtcd(command) {
  const { code, output } = await capture(command, ["--version"]);
  return code === 0 && VERSION_TEXT.test(output);
}

/** Unpacks Debian's etcd into the project's cache: no root, nothing installed system-wide. */
export async function fetchEtcd() {
  if (process.env.QUORATE_ETCD) {
    throw new SetupError(`QUORATE_ETCD is not an etcd 3.4 or newer: ${process.env.QUORATE_ETCD}`);
  }
  const reason = (await hasApt()) ? await downloadAndUnpack() : "this system has no apt-get";
  if (reason !== null) throw new SetupError(helpText(reason));
}

async function hasApt() {
  const found = await Promise.all(
    ["apt-get", "dpkg"].map((command) => capture(command, ["--version"])),
  );
  return found.every(({ code }) => code === 0);
}

/** Null when it worked, else why not. */
async function downloadAndUnpack() {
  const work = join(CACHE, "etcd-download");
  const target = join(CACHE, "etcd");
  const lists = join(work, "lists");
  const unpacked = join(work, "unpacked");
  rmSync(work, { recursive: true, force: true });
  mkdirSync(join(lists, "partial"), { recursive: true });
  try {
    const reason = await download(work, lists);
    if (reason !== null) return reason;
    for (const file of readdirSync(work).filter((name) => name.endsWith(".deb"))) {
      const { code, output } = await capture("dpkg", ["-x", join(work, file), unpacked]);
      if (code !== 0) return `dpkg -x ${file}: ${output.trim()}`;
    }
    const { output } = await capture(join(unpacked, "usr", "bin", "etcd"), ["--version"]);
    if (!VERSION_TEXT.test(output))
      return `the system's etcd is too old or broken: ${output.trim()}`;
    rmSync(target, { recursive: true, force: true });
    renameSync(unpacked, target);
    return null;
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/** Null when both packages are in `work`, else why not. */
async function download(work, lists) {
  // As root, apt would drop to a user that cannot write here, and complain.
  const sandbox = process.getuid?.() === 0 ? ["-o", "APT::Sandbox::User=root"] : [];
  const known = await capture("apt-get", [...sandbox, "download", ...PACKAGES], { cwd: work });
  if (known.code === 0) return null;
  // A fresh machine has no package lists, an old one stale lists. Fetching them
  // into a directory of our own needs no root and leaves the system's alone.
  const own = [...sandbox, "-o", `Dir::State::Lists=${lists}`, "-o", `Dir::Cache=${work}`];
  const update = await capture("apt-get", [...own, "update"], { cwd: work });
  if (update.code !== 0) return lastLine(update.output);
  const fresh = await capture("apt-get", [...own, "download", ...PACKAGES], { cwd: work });
  return fresh.code === 0 ? null : lastLine(fresh.output);
}

function lastLine(output) {
  return output.trim().split("\n").at(-1) ?? "";
}

function helpText(reason) {
  return [
    `etcd 3.4 or newer is needed and could not be fetched (${reason}).`,
    "Install it and run this again:",
    "  Debian, Ubuntu:  sudo apt-get update && sudo apt-get install -y etcd-server etcd-client",
    "  macOS:           brew install etcd",
    "  elsewhere:       unpack a release of etcd-io/etcd and put its directory on PATH,",
    "                   or set QUORATE_ETCD=/path/to/etcd",
  ].join("\n");
}
