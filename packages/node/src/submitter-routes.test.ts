import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { addStaticPage, createMetrics, createOpsServer, type OpsServer } from "@quorate/telemetry";
import { memoryLogger } from "@quorate/testkit";
import { afterEach, beforeEach, expect, it } from "vitest";
import { addSubmitterRoutes, type SubmitterLink } from "./submitter-routes.ts";

let answer: (request: IncomingMessage, response: ServerResponse) => void;
let asked: string[];
let nowMs: number;
const submitter = createServer((request, response) => {
  asked.push(`${request.url} ${request.headers.authorization ?? "-"}`);
  answer(request, response);
});
let server: OpsServer;

beforeEach(async () => {
  asked = [];
  nowMs = 0;
  answer = ({ url }, response) => response.end(JSON.stringify({ reputations: [{ url }] }));
  await new Promise<void>((done) => submitter.listen(0, "127.0.0.1", done));
});
afterEach(async () => {
  await server.stop();
  submitter.closeAllConnections();
  await new Promise((done) => submitter.close(done));
});

function serve(link: Partial<SubmitterLink> = {}): OpsServer {
  const { port } = submitter.address() as AddressInfo;
  server = createOpsServer({
    host: "127.0.0.1",
    port: 0,
    metrics: createMetrics({}),
    logger: memoryLogger(),
    health: () => ({ status: "ok", uptimeSeconds: 1, version: "0" }),
    ready: () => ({ ready: true, checks: [] }),
    bodyLimitBytes: 100,
    tokens: null,
  });
  const url = `http://127.0.0.1:${port}`;
  server.addRoutes((app) => {
    addSubmitterRoutes(app, {
      submitter: { url, token: "qrt_x", explorerUrl: null, ...link },
      nowMs: () => nowMs,
    });
    addStaticPage(app, [{ path: "/", contentType: "text/html", body: "<p>page</p>" }]);
  });
  return server;
}

it("passes on what the submitter says, with the token, and asks it once a second however many pages ask", async () => {
  const { app } = serve();
  const ask = async () => (await app.inject("/v1/submitter")).json<Record<string, unknown>>();
  expect(await ask()).toMatchObject({
    configured: true,
    problem: null,
    reputations: [{ url: "/v1/reputations" }],
  });
  await ask();
  expect(asked.sort()).toEqual([
    "/v1/reputations Bearer qrt_x",
    "/v1/sender Bearer qrt_x",
    "/v1/status Bearer qrt_x",
    "/v1/submissions?limit=50 Bearer qrt_x",
  ]);
  nowMs = 1_500;
  await ask();
  expect(asked).toHaveLength(8);
});

it("says that the submitter refuses or does not answer, and is led nowhere else with the token", async () => {
  const { app } = serve();
  const problem = async () => {
    nowMs += 10_000;
    return (await app.inject("/v1/submitter")).json<{ problem: string }>().problem;
  };
  answer = (_request, response) => response.writeHead(401).end("{}");
  expect(await problem()).toContain("needs a token");
  answer = ({ url }, response) =>
    url === "/elsewhere"
      ? response.end("{}")
      : response.writeHead(302, { location: "/elsewhere" }).end();
  expect(await problem()).toContain("does not answer");
  expect(asked.filter((line) => line.startsWith("/elsewhere"))).toEqual([]);
  answer = (_request, response) => response.end("x".repeat(2_000_000));
  expect(await problem()).toContain("does not answer");
});

it("asks for a submission by its id only, and tells unknown from unavailable", async () => {
  const { app } = serve();
  const ask = async (id: string) => {
    const response = await app.inject(`/v1/submitter/submissions/${id}`);
    return [response.statusCode, response.json<{ error?: { code: string } }>().error?.code];
  };
  answer = (_request, response) => response.writeHead(404).end('{"error":{"code":"TX_UNKNOWN"}}');
  expect(await ask("tx-1")).toEqual([404, "TX_UNKNOWN"]);
  answer = (_request, response) => response.writeHead(500).end("{}");
  expect(await ask("tx-1")).toEqual([503, "SUBMITTER_UNAVAILABLE"]);
  asked = [];
  expect((await ask("..%2Fsender"))[0]).toBe(400);
  expect(asked).toEqual([]);
});

it("without a submitter it says so", async () => {
  const { app } = serve({ url: null });
  expect((await app.inject("/v1/submitter")).json()).toMatchObject({
    configured: false,
    problem: null,
  });
  expect((await app.inject("/v1/submitter/submissions/tx-1")).statusCode).toBe(404);
});

it("the page's own files are open, and what they show is not", async () => {
  const { app } = serve();
  const remoteAddress = "192.0.2.7";
  const page = await app.inject({ url: "/", remoteAddress });
  expect([page.statusCode, page.body]).toEqual([200, "<p>page</p>"]);
  expect(page.headers["content-security-policy"]).toMatch(
    /^default-src 'none'; script-src 'self';/,
  );
  expect(page.headers["x-content-type-options"]).toBe("nosniff");
  expect((await app.inject({ url: "/v1/submitter", remoteAddress })).statusCode).toBe(401);
});
