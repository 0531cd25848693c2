import {
  type Receipt,
  type RefusalReason,
  receiptFromJson,
  refusedMessageHash,
  utf8,
} from "@quorate/core";
import { type CastOutcome, ReceiptBook } from "@quorate/engine";
import { createMetrics, createOpsServer, type OpsServer } from "@quorate/telemetry";
import {
  MemoryTallyStore,
  memoryLogger,
  memoryMetrics,
  nodeAt,
  nodeEd25519,
  SharedTally,
  SimClock,
  type TallyFault,
  testCluster,
  txIdOf,
  valueOf,
} from "@quorate/testkit";
import { beforeEach, describe, expect, it } from "vitest";
import { refusalReasonOf, refuseRequest } from "./local-refusal.ts";
import { addReceiptRoutes } from "./receipt-routes.ts";

const cluster = testCluster({ trustees: 3, threshold: 2 });
const { set } = cluster;

let clock: SimClock;
let store: MemoryTallyStore;
let fault: TallyFault | null;
let own: ReceiptBook;
let server: OpsServer;

function bookOf(index: number): ReceiptBook {
  const { nodeId, peerId, signer } = nodeAt(cluster, index);
  return new ReceiptBook(
    { clusterId: set.clusterId, nodeId, peerId },
    { store, signer, clock, logger: memoryLogger(), metrics: memoryMetrics() },
  );
}

beforeEach(async () => {
  clock = new SimClock();
  fault = null;
  store = new MemoryTallyStore(new SharedTally({ clock }), { clock }, { fault: () => fault });
  await store.initCluster(set);
  own = bookOf(0);
  server = createOpsServer({
    host: "127.0.0.1",
    port: 0,
    metrics: createMetrics({}),
    logger: memoryLogger(),
    health: () => ({ status: "ok", uptimeSeconds: 1, version: "0" }),
    ready: () => ({ ready: true, checks: [] }),
    bodyLimitBytes: 8_192,
  });
  addReceiptRoutes(server.app, { node: { receipts: own, set }, store, ed25519: nodeEd25519 });
});

/** One refusal a moment, so that the newest is known. */
async function refuse(book: ReceiptBook, reason: RefusalReason, tx: string): Promise<Receipt> {
  await clock.advance(10);
  const { peerId } = nodeAt(cluster, 2);
  const receipt = book.refuse({
    reason,
    bytes: utf8(tx),
    txId: txIdOf(tx),
    voter: null,
    author: peerId,
    forwarder: null,
  });
  if (receipt === null) throw new Error("the budget is not used up");
  return receipt;
}

interface Listed {
  readonly receipts: readonly (Receipt & { readonly verified: boolean })[];
  readonly complete: boolean;
}

async function ask(query = ""): Promise<{ status: number; json: Listed }> {
  const response = await server.app.inject({ method: "GET", url: `/v1/receipts${query}` });
  return { status: response.statusCode, json: response.json() };
}

const sequences = (listed: Listed): readonly string[] =>
  listed.receipts.map((r) => `${r.nodeId.at(-1)}:${r.sequence}`);

describe("GET /v1/receipts", () => {
  it("lists those of all nodes and this one's that are not written yet, newest first, each once", async () => {
    const other = bookOf(1);
    await refuse(other, "stale", "a");
    await refuse(own, "stale", "b");
    await Promise.all([other.stop(), store.recordReceipts(own.recent(1))]);
    await refuse(own, "quota", "c");
    const { json } = await ask();
    expect(sequences(json)).toEqual(["1:2", "1:1", "2:1"]);
    expect(json.complete).toBe(true);
    for (const { verified, ...receipt } of json.receipts) {
      expect(verified).toBe(true);
      expect(receiptFromJson(receipt).ok).toBe(true);
    }
    expect(sequences((await ask("?limit=2")).json)).toEqual(["1:2", "1:1"]);
  });

  it("shows only what is asked for", async () => {
    const other = bookOf(1);
    await refuse(other, "stale", "a");
    await refuse(other, "quota", "b");
    await other.stop();
    await refuse(own, "stale", "b");
    const listed = async (query: string) => sequences((await ask(query)).json);
    expect(await listed("?tx=b")).toEqual(["1:1", "2:2"]);
    expect(await listed("?reason=stale")).toEqual(["1:1", "2:1"]);
    expect(await listed("?reason=stale&tx=a")).toEqual(["2:1"]);
    expect(await listed("?node=node-001")).toEqual(["1:1"]);
    expect(await listed(`?node=${nodeAt(cluster, 1).peerId}`)).toEqual(["2:2", "2:1"]);
    expect(await listed("?tx=none")).toEqual([]);
    // What is wanted may be older than what is not.
    expect(await listed("?node=node-002&reason=stale&limit=1")).toEqual(["2:1"]);
  });

  it("tells a forged receipt, which never hides the real one", async () => {
    const real = await refuse(own, "stale", "a");
    const forged = { ...real, count: 1_000 };
    await store.recordReceipts([forged]);
    const { receipts } = (await ask()).json;
    expect(receipts).toHaveLength(2);
    expect(receipts).toContainEqual({ ...real, verified: true });
    expect(receipts).toContainEqual({ ...forged, verified: false });
  });

  it("tells this node's own while etcd is away, and that there may be more", async () => {
    const receipt = await refuse(own, "stale", "a");
    fault = { failBefore: true };
    expect(await ask()).toEqual({
      status: 200,
      json: { receipts: [{ ...receipt, verified: true }], complete: false },
    });
  });

  it.each([
    "limit=0",
    "limit=501",
    "limit=1e2",
    "tx=a/b",
    "reason=none",
    "node=A_",
    "tx=a&tx=b",
    "reason=stale&reason=stale",
  ])("refuses %s", async (query) => {
    expect(await ask(`?${query}`)).toMatchObject({
      status: 400,
      json: { error: { code: "QUERY_INVALID" } },
    });
  });
});

describe("a refused request to vote", () => {
  const { nodeId, peerId } = nodeAt(cluster, 0);

  it("has a receipt over its own JSON, in the name of the node that was asked", () => {
    const txId = txIdOf("tx");
    const request = { txId: "tx", value: "7" };
    const receipt = refuseRequest(own, "already_voted", request, { txId, nodeId, peerId });
    expect(receipt).toMatchObject({
      reason: "already_voted",
      txId: "tx",
      voter: nodeId,
      author: peerId,
      forwarder: null,
      messageHash: refusedMessageHash(utf8('{"txId":"tx","value":"7"}')),
    });
    const missing = refuseRequest(own, "malformed", undefined, { txId: null, nodeId, peerId });
    expect(missing).toMatchObject({
      txId: null,
      messageHash: refusedMessageHash(new Uint8Array()),
    });
  });

  it("has none of its own beyond the budget", () => {
    const who = { txId: null, nodeId, peerId };
    const all = Array.from({ length: 30 }, () => refuseRequest(own, "malformed", "x", who));
    expect(all.filter((r) => r !== null)).toHaveLength(20);
  });

  it("has a reason exactly when the vote was not taken", () => {
    const refused = (code: Extract<CastOutcome, { kind: "REFUSED" }>["code"]) =>
      refusalReasonOf({ kind: "REFUSED", code });
    expect(refusalReasonOf(null)).toBeNull();
    expect(refusalReasonOf({ kind: "RECORDED" })).toBeNull();
    expect(refusalReasonOf({ kind: "EQUIVOCATION" })).toBe("equivocation");
    expect(refusalReasonOf({ kind: "ALREADY_VOTED", value: valueOf(1) })).toBe("already_voted");
    expect(refusalReasonOf({ kind: "NOT_A_TRUSTEE" })).toBe("not_a_trustee");
    expect(refused("BANNED")).toBe("trustee_banned");
    expect(refused("STOPPED")).toBe("stopped");
  });
});
