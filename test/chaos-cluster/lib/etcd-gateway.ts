import { setTimeout as sleep } from "node:timers/promises";

// etcd by its own JSON gateway and plain fetch, past the product's client: what is checked must not be read by what is checked.

const READ_TIMEOUT_MS = 5_000;
const ROUNDS_MAX = 20;
const PAUSE_MS = 250;

const record = (value: unknown): Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null ? { ...value } : {};
const base64 = (text: string): string => Buffer.from(text, "utf8").toString("base64");
const textOf = (value: unknown): string =>
  typeof value === "string" ? Buffer.from(value, "base64").toString("utf8") : "";

/** The gateway writes 64-bit numbers as text, and leaves 0 out. */
const numberOf = (value: unknown): bigint => BigInt(typeof value === "string" ? value : 0);

/** The first key that no longer begins with the prefix. */
function endOf(prefix: string): string {
  const bytes = Buffer.from(prefix, "utf8");
  bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) + 1;
  return bytes.toString("base64");
}

/** Every key under a prefix and its value, from the first member that answers. The read is linearizable. */
export async function readPrefix(
  endpoints: readonly string[],
  prefix: string,
): Promise<ReadonlyMap<string, string>> {
  const request = JSON.stringify({ key: base64(prefix), range_end: endOf(prefix) });
  let problem: unknown;
  for (let round = 0; round < ROUNDS_MAX; round++) {
    for (const endpoint of endpoints)
      try {
        const response = await fetch(`${endpoint}/v3/kv/range`, {
          method: "POST",
          headers: { "content-type": "application/json" },
          body: request,
          signal: AbortSignal.timeout(READ_TIMEOUT_MS),
        });
        const body = record(await response.json());
        if (!response.ok) throw new Error(`etcd answered ${response.status}`);
        const kvs: unknown = body["kvs"] ?? [];
        if (!Array.isArray(kvs)) throw new Error("etcd answered no keys");
        return new Map(
          kvs.map((kv) => [
            textOf(record(kv)["key"]).slice(prefix.length),
            textOf(record(kv)["value"]),
          ]),
        );
      } catch (error) {
        problem = error;
      }
    await sleep(PAUSE_MS);
  }
  throw new Error(`no etcd member answers a read of ${prefix}`, { cause: problem });
}

/** One change as etcd tells it. */
export interface Change {
  readonly key: string;
  /** Null when it was deleted. */
  readonly value: string | null;
  readonly revision: bigint;
}

/**
 * Follows everything under a prefix from now on, in order and without gap: it goes on at another member, from the revision
 * after the last one seen, when one goes away. Resolves when the watch stands; ends with the signal.
 */
export async function watchPrefix(
  endpoints: readonly string[],
  prefix: string,
  onChange: (change: Change) => void,
  signal: AbortSignal,
): Promise<{ readonly ended: Promise<void> }> {
  let next: bigint | null = null;
  const standing = Promise.withResolvers<void>();
  const once = async (endpoint: string): Promise<void> => {
    const create = {
      key: base64(prefix),
      range_end: endOf(prefix),
      ...(next === null ? {} : { start_revision: next.toString() }),
    };
    const response = await fetch(`${endpoint}/v3/watch`, {
      method: "POST",
      body: JSON.stringify({ create_request: create }),
      signal,
    });
    if (response.body === null || !response.ok) throw new Error("etcd gives no watch");
    let rest = "";
    const decoder = new TextDecoder();
    for await (const chunk of response.body) {
      rest += decoder.decode(chunk, { stream: true });
      const lines = rest.split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) {
        const result = record(record(JSON.parse(line))["result"]);
        const revision = numberOf(record(result["header"])["revision"]);
        if (result["canceled"] === true) throw new Error("etcd ended the watch");
        const events: unknown = result["events"] ?? [];
        if (Array.isArray(events))
          for (const event of events) {
            const kv = record(record(event)["kv"]);
            const at = numberOf(kv["mod_revision"]);
            const key = textOf(kv["key"]).slice(prefix.length);
            const gone = record(event)["type"] === "DELETE";
            if (next === null || at >= next)
              onChange({ key, value: gone ? null : textOf(kv["value"]), revision: at });
          }
        if (next === null || revision >= next) next = revision + 1n;
        standing.resolve();
      }
    }
  };
  const follow = async (): Promise<void> => {
    for (let turn = 0; !signal.aborted; turn++) {
      // It may break off at any time; the next member goes on where it ended.
      await once(endpoints[turn % endpoints.length] ?? "").catch(() => {});
      if (!signal.aborted) await sleep(50, undefined, { signal }).catch(() => {});
    }
    standing.resolve();
  };
  const ended = follow();
  await standing.promise;
  return { ended };
}
