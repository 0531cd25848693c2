import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, expect, test } from "vitest";
import { createNodeClient } from "./node-client.ts";

let server: Server | null = null;

afterEach(() => {
  server?.closeAllConnections();
  server?.close();
  server = null;
});

/** A server that gives every request the same answer and keeps what it was asked. */
async function answering(status: number, body: string): Promise<{ url: string; asked: string[] }> {
  const asked: string[] = [];
  const started = createServer((request, response) => {
    let sent = "";
    request.on("data", (chunk: Buffer) => {
      sent += chunk.toString();
    });
    request.on("end", () => {
      asked.push(`${request.method} ${request.url} ${sent}`.trim());
      response.writeHead(status, { "content-type": "application/json" }).end(body);
    });
  });
  server = started;
  started.listen(0, "127.0.0.1");
  await once(started, "listening");
  const { port } = started.address() as AddressInfo;
  return { url: `http://127.0.0.1:${port}`, asked };
}

test("a vote is sent as decimal text, and what the node says comes back", async () => {
  const receipt = {
    txId: "tx",
    nodeId: "n",
    value: "7",
    outcome: "RECORDED",
    status: "COLLECTING",
  };
  const { url, asked } = await answering(200, JSON.stringify(receipt));
  expect(await createNodeClient(`${url}/`).vote("tx", "7")).toEqual(receipt);
  expect(asked).toEqual(['POST /v1/votes {"txId":"tx","value":"7"}']);
});

test("a refusal keeps the node's code, message and HTTP status", async () => {
  const { url } = await answering(409, '{"error":{"code":"ALREADY_VOTED","message":"voted 1"}}');
  await expect(createNodeClient(url).vote("tx", "7")).rejects.toMatchObject({
    name: "NodeApiError",
    code: "ALREADY_VOTED",
    message: "voted 1",
    httpStatus: 409,
    retryable: false,
  });
});

test("a transaction nobody voted on is null, not an error", async () => {
  const { url, asked } = await answering(404, '{"error":{"code":"TX_UNKNOWN","message":"no"}}');
  const client = createNodeClient(url);
  expect(await client.transaction("a:b")).toBeNull();
  expect(await client.transaction("tx", { until: ["CONFIRMED"], timeoutMs: 10.4 })).toBeNull();
  expect(asked).toEqual([
    "GET /v1/transactions/a%3Ab",
    "GET /v1/transactions/tx?wait=CONFIRMED&timeoutMs=10",
  ]);
});

test("evidence and bans are asked for under their ids, and nothing in an id leaves its place", async () => {
  const { url, asked } = await answering(
    200,
    '{"evidence":[],"next":null,"bans":[],"id":"x","finding":null}\n',
  );
  const client = createNodeClient(url);
  expect(await client.evidence()).toMatchObject({ evidence: [] });
  await client.evidence({ after: "a/b=", limit: 5, tx: undefined, node: "n&m" });
  const id = `tx:1/12D3KooW${"a".repeat(44)}/DOUBLE_VOTING`;
  await client.evidenceOf(id);
  const text = await client.evidenceFile(id);
  expect(text).toBe('{"evidence":[],"next":null,"bans":[],"id":"x","finding":null}\n');
  await client.bans();
  await client.bans({ withLifts: true });
  for (const other of ["../status", `../12D3KooW${"a".repeat(44)}/DOUBLE_VOTING`, `${id}/x`])
    await expect(client.evidenceFile(other), other).rejects.toThrow(TypeError);
  expect(asked).toEqual([
    "GET /v1/evidence?",
    "GET /v1/evidence?after=a%2Fb%3D&limit=5&node=n%26m",
    `GET /v1/evidence/tx%3A1/12D3KooW${"a".repeat(44)}/DOUBLE_VOTING`,
    `GET /v1/evidence/tx%3A1/12D3KooW${"a".repeat(44)}/DOUBLE_VOTING/file`,
    "GET /v1/bans",
    "GET /v1/bans?lifts=true",
  ]);
});

test("a ban's end is asked for with its reason, and a refusal keeps its code", async () => {
  const { url, asked } = await answering(
    409,
    '{"error":{"code":"BAN_PERMANENT","message":"it is proven"}}',
  );
  const lift = createNodeClient(url).liftBan("node-1", { reason: "why", operator: "ada" });
  await expect(lift).rejects.toMatchObject({ code: "BAN_PERMANENT", message: "it is proven" });
  expect(asked).toEqual(['POST /v1/bans/node-1/lift {"reason":"why","operator":"ada"}']);
});

test.each([
  [200, "<html>"],
  [200, "{}"],
  [500, "oops"],
  [404, '{"message":"Not Found"}'],
])("whatever else answers (%i %s) is said not to be a node", async (status, body) => {
  const { url } = await answering(status, body);
  await expect(createNodeClient(url).status()).rejects.toMatchObject({ code: "NOT_A_NODE" });
});

test("a closed port is named, with the reason", async () => {
  const { url } = await answering(200, "{}");
  server?.close();
  server?.closeAllConnections();
  server = null;
  await expect(createNodeClient(url).status()).rejects.toMatchObject({
    code: "UNREACHABLE",
    message: `no node answers at ${url}: the connection is refused`,
    retryable: true,
  });
});

test("receipts are asked for as they are wanted", async () => {
  const list = { receipts: [], complete: true };
  const { url, asked } = await answering(200, JSON.stringify(list));
  const client = createNodeClient(url);
  expect(await client.receipts()).toEqual(list);
  await client.receipts({ limit: 5, tx: "a:b", reason: "quota", node: "trustee-1" });
  expect(asked).toEqual([
    "GET /v1/receipts?",
    "GET /v1/receipts?limit=5&tx=a%3Ab&reason=quota&node=trustee-1",
  ]);
});

test("the receipt of a refused vote comes with the error, if it can be one", async () => {
  const peerId = `12D3KooW${"a".repeat(44)}`;
  const receipt = {
    clusterId: "c",
    nodeId: "trustee-1",
    peerId,
    sequence: 1,
    runStartedAtMs: 1,
    issuedAtMs: 2,
    reason: "already_voted",
    count: 1,
    firstAtMs: 2,
    lastAtMs: 2,
    messageHash: `${"A".repeat(43)}=`,
    txId: "tx",
    voter: "trustee-1",
    author: peerId,
    forwarder: null,
    signature: `${"A".repeat(86)}==`,
  };
  const refused = { code: "ALREADY_VOTED", message: "voted 1" };
  const first = await answering(409, JSON.stringify({ error: { ...refused, receipt } }));
  await expect(createNodeClient(first.url).vote("tx", "7")).rejects.toMatchObject({ receipt });
  server?.close();
  for (const none of [null, undefined, {}, { ...receipt, count: 0 }]) {
    const { url } = await answering(409, JSON.stringify({ error: { ...refused, receipt: none } }));
    await expect(createNodeClient(url).vote("tx", "7")).rejects.toMatchObject({ receipt: null });
    server?.close();
  }
});
