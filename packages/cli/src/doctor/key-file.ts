import { constants } from "node:fs";
import { access, readFile, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { hexToBytes } from "@quorate/core";
import { check, type DoctorCheck, type Probe } from "./check.ts";

/** Bits that let somebody else than the owner read, write or run a file. */
const OTHERS = 0o077;

/** Whether a file with a secret is there, readable by this user and closed to all others. Nothing of it is shown. */
export async function checkSecretFile(name: string, path: string): Promise<DoctorCheck> {
  let mode: number;
  try {
    ({ mode } = await stat(path));
    await access(path, constants.R_OK);
  } catch (error) {
    const code = codeOf(error);
    if (code === "ENOENT")
      return check(name, "fail", `${path} does not exist`, "put the key there, or name its place");
    return check(
      name,
      "fail",
      `${path} can't be read (${code})`,
      "run this as the user that the process runs as; that user must own the file",
    );
  }
  const octal = (mode & 0o777).toString(8).padStart(4, "0");
  if ((mode & OTHERS) !== 0)
    return check(
      name,
      "fail",
      `${path} has permissions ${octal}: others than its owner can use it`,
      `chmod 600 ${path}; if others may have read it, change the key`,
    );
  return check(name, "ok", `${path}, permissions ${octal}`);
}

/** A node's seed; a problem never holds any of it. */
export async function readSeedFile(path: string): Promise<Probe<Uint8Array>> {
  try {
    const text = (await readFile(path, "utf8")).trim();
    if (/^[0-9a-fA-F]{64}$/.test(text)) return { ok: true, value: hexToBytes(text) };
    return { ok: false, problem: `${path} must hold 64 hexadecimal digits (not shown)` };
  } catch (error) {
    return { ok: false, problem: `${path} can't be read (${codeOf(error)})` };
  }
}

/** Whether a journal can be written, or made where there is none yet. */
export async function checkJournal(name: string, path: string): Promise<DoctorCheck> {
  const missing = await access(path, constants.R_OK | constants.W_OK).then(
    () => null,
    (error: unknown) => codeOf(error),
  );
  if (missing === null) return check(name, "ok", path);
  const advice = "the user that the node runs as must be able to write there";
  if (missing !== "ENOENT")
    return check(name, "fail", `${path} can't be written (${missing})`, advice);
  const folder = dirname(path);
  const closed = await access(folder, constants.W_OK).then(
    () => null,
    (error: unknown) => codeOf(error),
  );
  if (closed === null) return check(name, "ok", `${path} will be made`);
  const why = closed === "ENOENT" ? "does not exist" : `can't be written (${closed})`;
  return check(name, "fail", `${folder} ${why}`, advice);
}

function codeOf(error: unknown): string {
  return error instanceof Error && "code" in error ? String(error.code) : "unknown";
}
