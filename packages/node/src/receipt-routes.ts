import {
  onlySet,
  parseNodeId,
  parsePeerId,
  parseTxId,
  REFUSAL_REASONS,
  type Receipt,
  type RefusalReason,
  type Result,
  receiptToJson,
  type TrusteeSet,
  type TrusteeSets,
  type TxId,
  type Verify,
  verifyReceipt,
} from "@quorate/core";
import { RECEIPT_BOUNDS, type ReceiptBook } from "@quorate/engine";
import { type Ed25519, StoreError, type TallyStore } from "@quorate/ports";
import { COSTLY, errorBody, type OpsServer } from "@quorate/telemetry";

/** Receipts of one answer, unless asked for fewer or more. */
const LIMIT_DEFAULT = 100;
/** Receipts of one answer at most: each is verified, and 500 signatures are some 20 ms. */
const LIMIT_MAX = 500;
/** Receipts looked through when only some are wanted, 3 MB. */
const SCANNED_MAX = 5_000;
/** The longest a read of etcd may take, in ms. */
const READ_TIMEOUT_MS = 5_000;

export interface ReceiptContext {
  readonly node: {
    readonly receipts: Pick<ReceiptBook, "recent">;
    /** In force as far as this node knows. */
    readonly set: TrusteeSet;
  };
  readonly store: Pick<TallyStore, "readReceipts" | "readConfig">;
  readonly ed25519: Ed25519;
}

/**
 * `GET /v1/receipts?limit&tx&reason&node`: what was refused in the last hour by all nodes, newest first. `complete`
 * is false when there may be more: etcd does not answer, or not all of it was looked through.
 */
export function addReceiptRoutes(app: OpsServer["app"], context: ReceiptContext): void {
  app.get("/v1/receipts", COSTLY, async (request, reply) => {
    const query = readQuery(request.query as Record<string, unknown>);
    if (!query.ok) return reply.code(400).send(errorBody("QUERY_INVALID", query.error));
    return answer(context, query.value);
  });
}

interface Query {
  readonly limit: number;
  readonly txId: TxId | null;
  readonly reason: RefusalReason | null;
  /** Who refused: a node id or a peer id. */
  readonly node: string | null;
}

function readQuery(query: Readonly<Record<string, unknown>>): Result<Query, string> {
  const bad = (error: string): Result<Query, string> => ({ ok: false, error });
  const { limit = String(LIMIT_DEFAULT), tx, reason, node } = query;
  if (typeof limit !== "string" || !/^[1-9][0-9]{0,2}$/.test(limit) || Number(limit) > LIMIT_MAX)
    return bad(`limit must be a whole number from 1 to ${LIMIT_MAX}`);
  const txId = tx === undefined ? null : parseTxId(tx);
  if (txId?.ok === false) return bad(txId.error.message);
  const known = REFUSAL_REASONS.find((r) => r === reason) ?? null;
  if (reason !== undefined && known === null)
    return bad(`reason must be one of ${REFUSAL_REASONS.join(", ")}`);
  const named = node === undefined ? null : nodeName(node);
  if (node !== undefined && named === null) return bad("node must be a node id or a peer id");
  return {
    ok: true,
    value: { limit: Number(limit), txId: txId?.value ?? null, reason: known, node: named },
  };
}

function nodeName(input: unknown): string | null {
  const nodeId = parseNodeId(input);
  if (nodeId.ok) return nodeId.value;
  const peerId = parsePeerId(input);
  return peerId.ok ? peerId.value : null;
}

async function answer(context: ReceiptContext, query: Query): Promise<object> {
  const { node, ed25519 } = context;
  const verify: Verify = (key, message, signature) => ed25519.verify(key, message, signature);
  const filtered = query.txId !== null || query.reason !== null || query.node !== null;
  const stored = await readStored(context, filtered ? SCANNED_MAX : query.limit);
  const own = node.receipts.recent(RECEIPT_BOUNDS.recentMax);
  const receipts = merge(own, stored.receipts)
    .filter((receipt) => isWanted(receipt, query))
    .slice(0, query.limit)
    .map((receipt) => ({
      ...receiptToJson(receipt),
      verified: verifyReceipt(receipt, stored.sets, verify).ok,
    }));
  const all = !filtered || stored.receipts.length < SCANNED_MAX;
  return { receipts, complete: stored.answered && (all || receipts.length === query.limit) };
}

/** While etcd is away this node still tells its own. */
async function readStored(
  { store, node }: ReceiptContext,
  limit: number,
): Promise<{
  readonly answered: boolean;
  readonly receipts: readonly Receipt[];
  readonly sets: TrusteeSets;
}> {
  const signal = AbortSignal.timeout(READ_TIMEOUT_MS);
  try {
    const [receipts, { sets }] = await Promise.all([
      store.readReceipts(limit, { signal }),
      store.readConfig({ signal }),
    ]);
    return { answered: true, receipts, sets };
  } catch (error) {
    const away = signal.aborted || (error instanceof StoreError && error.retryable);
    if (!away) throw error;
    return { answered: false, receipts: [], sets: onlySet(node.set) };
  }
}

/** Both lists, newest first. Two that differ in anything are two: a forged one must not hide the real one. */
function merge(own: readonly Receipt[], stored: readonly Receipt[]): readonly Receipt[] {
  const byContent = new Map<string, Receipt>();
  for (const receipt of [...own, ...stored])
    byContent.set(JSON.stringify(receiptToJson(receipt)), receipt);
  return [...byContent.values()].sort(
    (a, b) => b.issuedAtMs - a.issuedAtMs || b.sequence - a.sequence,
  );
}

function isWanted(receipt: Receipt, { txId, reason, node }: Query): boolean {
  return (
    (txId === null || receipt.txId === txId) &&
    (reason === null || receipt.reason === reason) &&
    (node === null || receipt.nodeId === node || receipt.peerId === node)
  );
}
