import { readFile } from "node:fs/promises";
import {
  equalBytes,
  hexToBytes,
  makeTrusteeSet,
  type ParseError,
  parseClusterId,
  parseEpoch,
  parseEvmAddress,
  parseNodeId,
  parsePeerId,
  type Result,
  type Trustee,
  type TrusteeSet,
} from "@quorate/core";
import type { AbortOptions } from "@quorate/ports";
import { LocalClusterError } from "./errors.ts";

/**
 * Reads the trustee set out of a cluster file.
 * @throws LocalClusterError CLUSTER_FILE_INVALID naming everything that is wrong with it
 */
export async function readClusterFile(
  path: string,
  { signal }: AbortOptions = {},
): Promise<TrusteeSet> {
  const text = await readFile(path, { encoding: "utf8", signal }).catch((error: unknown) => {
    signal?.throwIfAborted();
    const missing = error instanceof Error && "code" in error && error.code === "ENOENT";
    throw invalid(path, [missing ? "there is no such file" : String(error)]);
  });
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw invalid(path, [`it is not valid JSON: ${error instanceof Error ? error.message : ""}`]);
  }
  const parsed = parseClusterFile(json);
  if (!parsed.ok) throw invalid(path, parsed.error);
  return parsed.value;
}

/** The trustee set of a cluster file's content, or all that is wrong with it. */
export function parseClusterFile(json: unknown): Result<TrusteeSet, readonly string[]> {
  const problems: string[] = [];
  const take = <T>(result: Result<T, ParseError>, where: string): T | null => {
    if (result.ok) return result.value;
    problems.push(`${where}: ${result.error.message}`);
    return null;
  };
  const file = recordOf(json);
  const clusterId = take(parseClusterId(file["clusterId"]), "clusterId");
  const epoch = take(parseEpoch(file["epoch"]), "epoch");
  const threshold = file["threshold"];
  if (typeof threshold !== "number") problems.push("threshold: must be a number");
  const entries = file["trustees"];
  if (!Array.isArray(entries)) problems.push("trustees: must be a list");
  const trustees = (Array.isArray(entries) ? entries : []).flatMap((entry: unknown, i) => {
    const fields = recordOf(entry);
    const where = (name: string): string => `trustees.${i}.${name}`;
    const nodeId = take(parseNodeId(fields["nodeId"]), where("nodeId"));
    const peerId = take(parsePeerId(fields["peerId"]), where("peerId"));
    const evmAddress = take(parseEvmAddress(fields["evmAddress"]), where("evmAddress"));
    const publicKey = publicKeyOf(fields["publicKey"]);
    if (publicKey === null) problems.push(`${where("publicKey")}: must be 64 hexadecimal digits`);
    if (nodeId === null || peerId === null || evmAddress === null || publicKey === null) return [];
    return [{ nodeId, peerId, publicKey, evmAddress } satisfies Trustee];
  });
  if (
    problems.length > 0 ||
    clusterId === null ||
    epoch === null ||
    typeof threshold !== "number"
  ) {
    return { ok: false, error: problems };
  }
  return makeTrusteeSet({ clusterId, epoch, threshold, trustees });
}

/** Whether two sets name the same members with the same threshold in the same epoch. */
export function sameTrusteeSet(a: TrusteeSet, b: TrusteeSet): boolean {
  if (a.clusterId !== b.clusterId || a.epoch !== b.epoch || a.threshold !== b.threshold)
    return false;
  if (a.trustees.length !== b.trustees.length) return false;
  return a.trustees.every((one) => {
    const other = b.byNodeId.get(one.nodeId);
    return (
      other !== undefined &&
      other.peerId === one.peerId &&
      other.evmAddress === one.evmAddress &&
      equalBytes(other.publicKey, one.publicKey)
    );
  });
}

function publicKeyOf(value: unknown): Uint8Array | null {
  return typeof value === "string" && /^[0-9a-fA-F]{64}$/.test(value) ? hexToBytes(value) : null;
}

function recordOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? { ...value } : {};
}

function invalid(path: string, problems: readonly string[]): LocalClusterError {
  return new LocalClusterError(
    "CLUSTER_FILE_INVALID",
    `cluster file ${path} can't be used: ${problems.join("; ")}`,
  );
}
