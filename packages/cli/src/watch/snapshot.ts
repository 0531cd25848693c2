import type { NodeClient, NodeStatus } from "@quorate/localcluster/client";
import type { SenderView, SubmitterClient } from "../commands/submissions-client.ts";

/** One transaction of the list. */
export interface WatchedTransaction {
  readonly txId: string;
  readonly status: string;
  readonly value: string | null;
  readonly votes: number;
}

/** A part's word, or why there is none. */
export type Asked<T> = { readonly value: T } | { readonly problem: string };

/** What is shown at one moment. */
export interface WatchSnapshot {
  readonly atMs: number;
  readonly nodeUrl: string;
  readonly node: Asked<NodeStatus>;
  /** Newest first; null where the node does not tell. */
  readonly transactions: readonly WatchedTransaction[] | null;
  readonly submitterUrl: string;
  readonly submitter: Asked<SenderView>;
}

const TIMEOUT_MS = 5_000;
const TRANSACTIONS_MAX = 30;

/** Asks both once. Never rejects for one that is away: that is what is shown then. */
export async function takeSnapshot(
  nodeClient: Pick<NodeClient, "url" | "status">,
  submitterClient: Pick<SubmitterClient, "url" | "sender">,
  nowMs: () => number,
  token?: string,
): Promise<WatchSnapshot> {
  const signal = (): AbortSignal => AbortSignal.timeout(TIMEOUT_MS);
  const [node, transactions, submitter] = await Promise.all([
    asked(() => nodeClient.status({ signal: signal() })),
    recent(nodeClient.url, token, signal()),
    asked(() => submitterClient.sender({ signal: signal() })),
  ]);
  return {
    atMs: nowMs(),
    nodeUrl: nodeClient.url,
    node,
    transactions,
    submitterUrl: submitterClient.url,
    submitter,
  };
}

async function asked<T>(ask: () => Promise<T>): Promise<Asked<T>> {
  try {
    return { value: await ask() };
  } catch (error) {
    return { problem: error instanceof Error ? error.message : String(error) };
  }
}

/** Null from a node that has no such list, or does not answer. */
async function recent(
  nodeUrl: string,
  token: string | undefined,
  signal: AbortSignal,
): Promise<readonly WatchedTransaction[] | null> {
  try {
    const response = await fetch(`${nodeUrl}/v1/transactions?limit=${TRANSACTIONS_MAX}`, {
      signal,
      headers: token === undefined ? {} : { authorization: `Bearer ${token}` },
    });
    const body: unknown = await response.json();
    const list: unknown = fieldOf(body, "transactions");
    if (!response.ok || !Array.isArray(list)) return null;
    return list.flatMap((entry: unknown): readonly WatchedTransaction[] => {
      const [txId, status, value, votes] = ["txId", "status", "value", "votes"].map((name) =>
        fieldOf(entry, name),
      );
      if (typeof txId !== "string" || typeof status !== "string") return [];
      return [
        {
          txId,
          status,
          value: typeof value === "string" ? value : null,
          votes: Array.isArray(votes) ? votes.length : 0,
        },
      ];
    });
  } catch {
    return null;
  }
}

function fieldOf(value: unknown, name: string): unknown {
  return typeof value === "object" && value !== null ? Reflect.get(value, name) : undefined;
}
