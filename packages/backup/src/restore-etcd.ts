import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { stat } from "node:fs/promises";
import { basename, join, resolve } from "node:path";

import type { ClusterId } from "@quorate/core";
import type { AbortOptions } from "@quorate/ports";
import { BackupError } from "./errors.ts";
import { ETCD_FILE } from "./manifest.ts";

/** One member of the etcd cluster that is to be. */
export interface EtcdMemberAddress {
  readonly name: string;
  /** What the other members reach it at. */
  readonly peerUrl: string;
}

export interface EtcdRestorePlan {
  /** All members restore with the same one; it makes the restored cluster another than the one before. */
  readonly token: string;
  /** The whole new cluster, in order. */
  readonly members: readonly EtcdMemberAddress[];
}

/** A token that no cluster had before. */
export function freshToken(clusterId: ClusterId): string {
  return `quorate-${clusterId}-${randomBytes(8).toString("hex")}`;
}

/** The arguments with which one member's data directory is made out of the snapshot. @param tool `etcdctl` or `etcdutl` */
export function etcdRestoreArguments(
  tool: string,
  { token, members }: EtcdRestorePlan,
  member: EtcdMemberAddress,
  paths: { readonly snapshot: string; readonly dataDir: string },
): readonly string[] {
  return [
    "snapshot",
    "restore",
    paths.snapshot,
    "--name",
    member.name,
    "--data-dir",
    paths.dataDir,
    "--initial-cluster",
    members.map(({ name, peerUrl }) => `${name}=${peerUrl}`).join(","),
    "--initial-cluster-token",
    token,
    "--initial-advertise-peer-urls",
    member.peerUrl,
    // Where it can, the new history does not even share revisions with the old one.
    ...(isEtcdutl(tool) ? ["--bump-revision", "1000000000", "--mark-compacted"] : []),
  ];
}

/** As a line for a shell. */
export function etcdRestoreCommand(
  tool: string,
  plan: EtcdRestorePlan,
  member: EtcdMemberAddress,
  paths: { readonly snapshot: string; readonly dataDir: string },
): string {
  const words = [tool, ...etcdRestoreArguments(tool, plan, member, paths)].map(shellWord);
  return isEtcdutl(tool) ? words.join(" ") : `ETCDCTL_API=3 ${words.join(" ")}`;
}

/**
 * Makes a member's data directory out of a backup that was checked. The directory must not exist.
 * @throws BackupError EXISTS, ETCD_TOOL
 */
export async function restoreEtcdMember(
  parameters: AbortOptions & {
    readonly directory: string;
    /** Path of `etcdctl` (3.4, 3.5) or `etcdutl` (3.5 and later). */
    readonly tool: string;
    readonly plan: EtcdRestorePlan;
    readonly member: EtcdMemberAddress;
    readonly dataDir: string;
  },
): Promise<void> {
  const { tool, plan, member, signal } = parameters;
  const dataDir = resolve(parameters.dataDir);
  const present = await stat(dataDir).catch(() => null);
  if (present !== null)
    throw new BackupError("EXISTS", `${dataDir} is there already; move it away first`);
  const snapshot = join(parameters.directory, ETCD_FILE);
  const args = etcdRestoreArguments(tool, plan, member, { snapshot, dataDir });
  const { code, output } = await runTool(tool, args, signal);
  if (code === 0) return;
  throw new BackupError("ETCD_TOOL", `${basename(tool)} ended with ${code}: ${output}`);
}

const OUTPUT_CHARS_MAX = 2_000;

function runTool(
  tool: string,
  args: readonly string[],
  signal: AbortSignal | undefined,
): Promise<{ readonly code: number | null; readonly output: string }> {
  return new Promise((resolved, reject) => {
    const child = spawn(tool, args, {
      stdio: ["ignore", "pipe", "pipe"],
      // Settings for a client of the running cluster have no say in this.
      env: { PATH: process.env["PATH"], HOME: process.env["HOME"], ETCDCTL_API: "3" },
      ...(signal === undefined ? {} : { signal }),
    });
    let output = "";
    const take = (chunk: Buffer): void => {
      output = `${output}${chunk.toString("utf8")}`.slice(-OUTPUT_CHARS_MAX);
    };
    child.stdout.on("data", take);
    child.stderr.on("data", take);
    child.once("error", (error) => {
      if (signal?.aborted === true) reject(signal.reason);
      else
        reject(
          new BackupError("ETCD_TOOL", `${tool} can't be run: ${error.message}`, { cause: error }),
        );
    });
    child.once("close", (code) => resolved({ code, output: output.trim() }));
  });
}

function isEtcdutl(tool: string): boolean {
  return basename(tool).startsWith("etcdutl");
}

function shellWord(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}
