import type { AbortOptions } from "@quorate/ports";
import { LocalClusterError } from "./errors.ts";

/** One key as etcd holds it. */
export interface RawEntry {
  readonly key: string;
  readonly value: string;
}

/**
 * Everything under a prefix, as `etcdctl get --prefix` would print it: read from etcd's own JSON
 * gateway, past our adapter, so that a checker can hold one against the other.
 * @throws LocalClusterError ETCD_READ_FAILED
 */
export async function readEtcdPrefix(
  endpoint: string,
  prefix: string,
  { signal }: AbortOptions = {},
): Promise<readonly RawEntry[]> {
  const start = Buffer.from(prefix, "utf8");
  // The first key that does not begin with the prefix: its last byte is one higher.
  const end = Buffer.from(start);
  end[end.length - 1] = (end[end.length - 1] ?? 0) + 1;
  const response = await fetch(`${endpoint}/v3/kv/range`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ key: start.toString("base64"), range_end: end.toString("base64") }),
    signal: signal ?? null,
  });
  const body: unknown = await response.json();
  if (!response.ok || typeof body !== "object" || body === null)
    throw new LocalClusterError(
      "ETCD_READ_FAILED",
      `etcd at ${endpoint} answered ${response.status} to a read of ${prefix}`,
      { retryable: true },
    );
  const kvs: unknown = "kvs" in body ? body.kvs : [];
  return Array.isArray(kvs) ? kvs.map(entryOf) : [];
}

function entryOf(kv: unknown): RawEntry {
  const text = (name: "key" | "value"): string => {
    const encoded: unknown =
      typeof kv === "object" && kv !== null ? Reflect.get(kv, name) : undefined;
    // An empty value is left out of the JSON.
    return typeof encoded === "string" ? Buffer.from(encoded, "base64").toString("utf8") : "";
  };
  return { key: text("key"), value: text("value") };
}
