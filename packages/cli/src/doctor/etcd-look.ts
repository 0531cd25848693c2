import { check, type DoctorCheck } from "./check.ts";

/** Cluster ids named when the configured one is not there. */
const CLUSTERS_SHOWN_MAX = 10;
const ROOT = "/quorate/";
const TIMEOUT_MS = 3_000;

/**
 * The ids of the clusters that an etcd holds, read from its JSON gateway: one key each is looked
 * at, however many there are.
 */
export async function clustersIn(endpoint: string): Promise<readonly string[]> {
  const found: string[] = [];
  let from = ROOT;
  while (found.length < CLUSTERS_SHOWN_MAX) {
    const key = await firstKey(endpoint, from);
    const id = key?.slice(ROOT.length).split("/")[0];
    if (id === undefined || id === "") break;
    found.push(id);
    // "0" is the character after "/": the first key that is not this cluster's.
    from = `${ROOT}${id}0`;
  }
  return found;
}

async function firstKey(endpoint: string, from: string): Promise<string | null> {
  const base64 = (text: string): string => Buffer.from(text, "utf8").toString("base64");
  const response = await fetch(`${endpoint.replace(/\/+$/, "")}/v3/kv/range`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({
      key: base64(from),
      range_end: base64("/quorate0"),
      limit: 1,
      keys_only: true,
    }),
    signal: AbortSignal.timeout(TIMEOUT_MS),
  });
  const body: unknown = await response.json();
  const kvs: unknown = typeof body === "object" && body !== null ? Reflect.get(body, "kvs") : null;
  const [first] = Array.isArray(kvs) ? (kvs as readonly unknown[]) : [];
  const key: unknown =
    typeof first === "object" && first !== null ? Reflect.get(first, "key") : null;
  return typeof key === "string" ? Buffer.from(key, "base64").toString("utf8") : null;
}

/** @param members each configured endpoint and whether it answers */
export function checkEtcdMembers(
  members: readonly { readonly host: string; readonly problem: string | null }[],
): DoctorCheck {
  const away = members.filter(({ problem }) => problem !== null);
  const names = away.map(({ host, problem }) => `${host} (${problem})`).join(", ");
  const [, second] = members;
  if (away.length === members.length)
    return check(
      "etcd",
      "fail",
      `no endpoint answers: ${names}`,
      "see etcd.hosts; start etcd, or open the way to it",
    );
  if (away.length > 0)
    return check(
      "etcd",
      "warn",
      `not answering: ${names}`,
      "a cluster of three works with two; bring it back before another goes",
    );
  return second === undefined
    ? check("etcd", "ok", "one endpoint, which answers")
    : check("etcd", "ok", `${members.length} endpoints answer`);
}

/** The cluster's trustee set, or why it is not had. */
export function checkCluster(facts: {
  readonly clusterId: string;
  readonly set:
    | {
        readonly ok: true;
        readonly epoch: number;
        readonly threshold: number;
        readonly trustees: number;
      }
    | { readonly ok: false; readonly uninitialised: boolean; readonly problem: string };
  /** Clusters that etcd does hold; null when that could not be told. */
  readonly others: readonly string[] | null;
}): DoctorCheck {
  const { clusterId, set, others } = facts;
  if (set.ok)
    return check(
      "cluster",
      "ok",
      `${clusterId}, epoch ${set.epoch}, ${set.threshold} of ${set.trustees} trustees`,
    );
  if (!set.uninitialised || others?.includes(clusterId) === true)
    return check("cluster", "fail", set.problem, "see what is stored below /quorate/ in etcd");
  const held =
    others === null || others.length === 0
      ? "it holds no cluster yet"
      : `it holds ${others.join(", ")}`;
  return check(
    "cluster",
    "fail",
    `etcd holds no cluster called ${clusterId}; ${held}`,
    others === null || others.length === 0
      ? "write the trustee set once: quorate cluster init cluster.json --etcd URL"
      : "see clusterId in the configuration, and whether etcd.hosts leads to the right etcd",
  );
}
