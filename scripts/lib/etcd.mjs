import { existsSync } from "node:fs";
import { delimiter, join } from "node:path";

import { fetchFromDebian } from "./debian.mjs";
import { capture } from "./exec.mjs";
import { SetupError } from "./log.mjs";
import { ETCD_CACHE_BIN } from "./paths.mjs";

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
  const reason = await fetchFromDebian({
    packages: PACKAGES,
    name: "etcd",
    check: async (bin) => {
      const { output } = await capture(join(bin, "etcd"), ["--version"]);
      return VERSION_TEXT.test(output) ? null : `is too old or broken: ${output.trim()}`;
    },
  });
  if (reason !== null) throw new SetupError(helpText(reason));
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
