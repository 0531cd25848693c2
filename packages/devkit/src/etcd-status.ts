const REQUEST_TIMEOUT_MS = 1_000;

/** What one member says about the cluster. Ids are decimal strings (u64). */
export type EtcdStatus = {
  readonly memberId: string;
  readonly leaderId: string;
  readonly raftTerm: bigint;
};

type Cancellable = { readonly signal?: AbortSignal | undefined };

/** Whether the member answers and sees a leader. Never rejects. */
export async function isEtcdHealthy(
  clientUrl: string,
  { signal }: Cancellable = {},
): Promise<boolean> {
  const body = await fetchJson(`${clientUrl}/health`, { signal });
  return isRecord(body) && (body["health"] === "true" || body["health"] === true);
}

/** Whether the member answers its peers, with or without a leader. Never rejects. */
export async function isEtcdAnswering(
  peerUrl: string,
  { signal }: Cancellable = {},
): Promise<boolean> {
  const body = await fetchJson(`${peerUrl}/version`, { signal });
  return isRecord(body) && typeof body["etcdserver"] === "string";
}

/** The member's view of the cluster, or null when it does not answer within a second. */
export async function readEtcdStatus(
  clientUrl: string,
  { signal }: Cancellable = {},
): Promise<EtcdStatus | null> {
  const body = await fetchJson(`${clientUrl}/v3/maintenance/status`, { signal, body: "{}" });
  return parseEtcdStatus(body);
}

/** Reads a status answer; null when it is something else. */
export function parseEtcdStatus(body: unknown): EtcdStatus | null {
  if (!isRecord(body) || !isRecord(body["header"])) return null;
  const memberId = body["header"]["member_id"];
  // A member without a leader leaves both fields out.
  const leaderId = body["leader"] ?? "0";
  const raftTerm = body["raftTerm"] ?? "0";
  if (typeof memberId !== "string" || typeof leaderId !== "string") return null;
  if (typeof raftTerm !== "string" || !/^\d+$/.test(raftTerm)) return null;
  return { memberId, leaderId, raftTerm: BigInt(raftTerm) };
}

/**
 * Which member leads, judged from what the members say (null = no answer), or null when unknown.
 *
 * A majority of the *cluster* must name the same leader in the same term: a
 * leader that was paused still believes in itself for a moment after it wakes.
 */
export function electedIndex(statuses: ReadonlyArray<EtcdStatus | null>): number | null {
  const majority = Math.floor(statuses.length / 2) + 1;
  for (const [index, candidate] of statuses.entries()) {
    if (candidate === null || candidate.leaderId !== candidate.memberId) continue;
    const followers = statuses.filter(
      (status) => status?.leaderId === candidate.memberId && status.raftTerm === candidate.raftTerm,
    );
    if (followers.length >= majority) return index;
  }
  return null;
}

async function fetchJson(
  url: string,
  { signal, body }: Cancellable & { body?: string },
): Promise<unknown> {
  const timeout = AbortSignal.timeout(REQUEST_TIMEOUT_MS);
  try {
    const response = await fetch(url, {
      method: body === undefined ? "GET" : "POST",
      signal: signal === undefined ? timeout : AbortSignal.any([signal, timeout]),
      ...(body === undefined ? {} : { body }),
    });
    return await response.json();
  } catch {
    // Not up yet, paused, or not JSON: all mean "no answer".
    return null;
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
