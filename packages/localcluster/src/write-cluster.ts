import { randomBytes } from "node:crypto";
import { mkdir, readdir, rename, rm, writeFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import type { AbortOptions } from "@quorate/ports";
import type { ClusterPlan } from "./cluster-plan.ts";
import { LocalClusterError } from "./errors.ts";

/**
 * Writes a planned cluster, or a planned node, into a directory that does not exist or is empty. All of it or
 * nothing: it is built beside its place and renamed into it.
 * @throws LocalClusterError DIRECTORY_NOT_EMPTY
 */
export async function writeCluster(
  plan: Pick<ClusterPlan, "files">,
  directory: string,
  { signal }: AbortOptions = {},
): Promise<void> {
  const target = resolve(directory);
  await refuseNonEmpty(target);
  const parent = dirname(target);
  await mkdir(parent, { recursive: true });
  const unfinished = `${target}.new-${randomBytes(4).toString("hex")}`;
  try {
    for (const file of plan.files) {
      signal?.throwIfAborted();
      const path = join(unfinished, ...file.path.split("/"));
      await mkdir(dirname(path), { recursive: true });
      await writeFile(path, file.content, { flag: "wx", mode: file.secret ? 0o600 : 0o644 });
    }
    await rename(unfinished, target).catch((error: unknown) => {
      // Somebody filled it since it was looked at.
      throw ["ENOTEMPTY", "EEXIST"].includes(codeOf(error) ?? "") ? notEmpty(target) : error;
    });
  } catch (error) {
    await rm(unfinished, { recursive: true, force: true });
    throw error;
  }
}

async function refuseNonEmpty(target: string): Promise<void> {
  const entries = await readdir(target).catch((error: unknown) => {
    if (codeOf(error) === "ENOENT") return [];
    throw error;
  });
  if (entries.length > 0) throw notEmpty(target);
}

function notEmpty(target: string): LocalClusterError {
  return new LocalClusterError(
    "DIRECTORY_NOT_EMPTY",
    `${target} is not empty; a cluster's keys are never written over. Name another directory or remove it yourself`,
  );
}

function codeOf(error: unknown): string | null {
  return error instanceof Error && "code" in error ? String(error.code) : null;
}
