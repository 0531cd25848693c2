import { mkdirSync, readdirSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";

import { capture } from "./exec.mjs";
import { CACHE } from "./paths.mjs";

/**
 * Unpacks packages of Debian into the project's cache, in a folder called `name`: no root, nothing
 * installed system-wide. `check` is given the folder of the programs and says what is wrong with them, or null.
 *
 * Resolves to null when it worked, else to why not.
 */
export async function fetchFromDebian({ packages, name, check }) {
  if (!(await hasApt())) return "this system has no apt-get";
  const work = join(CACHE, `${name}-download`);
  const target = join(CACHE, name);
  const lists = join(work, "lists");
  const unpacked = join(work, "unpacked");
  rmSync(work, { recursive: true, force: true });
  mkdirSync(join(lists, "partial"), { recursive: true });
  try {
    const reason = await download({ packages, work, lists });
    if (reason !== null) return reason;
    for (const file of readdirSync(work).filter((entry) => entry.endsWith(".deb"))) {
      const { code, output } = await capture("dpkg", ["-x", join(work, file), unpacked]);
      if (code !== 0) return `dpkg -x ${file}: ${output.trim()}`;
    }
    const wrong = await check(join(unpacked, "usr", "bin"));
    if (wrong !== null) return `the system's ${name} ${wrong}`;
    rmSync(target, { recursive: true, force: true });
    renameSync(unpacked, target);
    return null;
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

async function hasApt() {
  const found = await Promise.all(
    ["apt-get", "dpkg"].map((command) => capture(command, ["--version"])),
  );
  return found.every(({ code }) => code === 0);
}

/** Null when all packages are in `work`, else why not. */
async function download({ packages, work, lists }) {
  // As root, apt would drop to a user that cannot write here, and complain.
  const sandbox = process.getuid?.() === 0 ? ["-o", "APT::Sandbox::User=root"] : [];
  const known = await capture("apt-get", [...sandbox, "download", ...packages], { cwd: work });
  if (known.code === 0) return null;
  // A fresh machine has no package lists, an old one stale lists. Fetching them
  // into a directory of our own needs no root and leaves the system's alone.
  const own = [...sandbox, "-o", `Dir::State::Lists=${lists}`, "-o", `Dir::Cache=${work}`];
  const update = await capture("apt-get", [...own, "update"], { cwd: work });
  if (update.code !== 0) return lastLine(update.output);
  const fresh = await capture("apt-get", [...own, "download", ...packages], { cwd: work });
  return fresh.code === 0 ? null : lastLine(fresh.output);
}

function lastLine(output) {
  return output.trim().split("\n").at(-1) ?? "";
}
