import { readFile, stat } from "node:fs/promises";
import { dirname } from "node:path";

import { DevkitError } from "./errors.ts";

/** A numeric user identity. */
export type UserIdentity = { readonly uid: number; readonly gid: number };

// PostgreSQL's own account where a system package made one, else the account nobody owns.
const PREFERRED_NAMES = ["postgres", "nobody"];

/**
 * Who must run PostgreSQL, which refuses to run as root: another user when this
 * process is root, else null (this very user).
 *
 * @throws DevkitError `NO_UNPRIVILEGED_USER` when we are root and no such account exists.
 */
export async function unprivilegedUser(): Promise<UserIdentity | null> {
  if (process.getuid?.() !== 0) return null;
  const user = pickUser(await readFile("/etc/passwd", "utf8").catch(() => ""));
  if (user !== null) return user;
  throw new DevkitError(
    "NO_UNPRIVILEGED_USER",
    `PostgreSQL refuses to run as root and /etc/passwd has none of: ${PREFERRED_NAMES.join(", ")}. ` +
      "Create one (useradd --system postgres) or run as an ordinary user.",
  );
}

/** The preferred unprivileged account of a passwd file, or null. */
export function pickUser(passwd: string): UserIdentity | null {
  const accounts = passwd.split("\n").map((line) => line.split(":"));
  for (const preferred of PREFERRED_NAMES) {
    const account = accounts.find(([name]) => name === preferred);
    const uid = Number(account?.[2]);
    const gid = Number(account?.[3]);
    // On macOS nobody is -2, which no system call takes.
    if (Number.isInteger(uid) && Number.isInteger(gid) && uid > 0 && gid > 0) return { uid, gid };
  }
  return null;
}

/** Whether the user may walk from the root down to the directory and into it. */
export async function canEnter(directory: string, user: UserIdentity): Promise<boolean> {
  for (let current = directory; ; current = dirname(current)) {
    const { uid, gid, mode } = await stat(current);
    const bit = uid === user.uid ? 0o100 : gid === user.gid ? 0o010 : 0o001;
    if ((mode & bit) === 0) return false;
    if (current === dirname(current)) return true;
  }
}
