import { type ClusterId, parseClusterId } from "@quorate/core";
import { readClusterFile } from "@quorate/localcluster";
import { usageError } from "../failure.ts";

/** Whether `--cluster` names a file: an id has neither slash nor dot. */
export function isFile(text: string): boolean {
  return /[/\\.]/.test(text);
}

/** A cluster's id, or the file that names it. Of the file's trustees nothing is used: they may be of an old epoch. */
export async function clusterIdOf(text: string): Promise<ClusterId> {
  if (isFile(text)) return (await readClusterFile(text)).clusterId;
  const clusterId = parseClusterId(text);
  if (!clusterId.ok) throw usageError(`--cluster: ${clusterId.error.message}`);
  return clusterId.value;
}
