import { once } from "node:events";
import { Agent, type IncomingMessage, request } from "node:http";
import { connect } from "node:net";
import type { LogFields, Logger } from "@quorate/ports";
import { afterEach, expect, test } from "vitest";
import { createMetrics } from "./metrics.ts";
import {
  createOpsServer,
  type OpsServer,
  type OpsServerOptions,
  readyWhenAllPass,
} from "./ops-server.ts";

const DEADLINE_MS = 5_000;
const servers: OpsServer[] = [];
afterEach(async () => {
  for (const server of servers.splice(0)) {
    await server.stop({ signal: AbortSignal.timeout(DEADLINE_MS) }).catch(() => undefined);
  }
});

interface Line {
  readonly message: string;
  readonly fields: LogFields | undefined;
}

function capture(lines: Line[]): Logger {
  const write = (message: string, fields?: LogFields): void => {
    lines.push({ message, fields });
  };
  const logger: Logger = {
    error: write,
    warn: write,
    info: write,
    debug: write,
    child: () => logger,
  };
  return logger;
}

function makeServer(options: Partial<OpsServerOptions> = {}): OpsServer {
  const server = createOpsServer({
    host: "127.0.0.1",
    port: 0,
    metrics: createMetrics(),
    logger: capture([]),
    health: () => ({ status: "ok", uptimeSeconds: 1.5, version: "0.1.0" }),
    ready: () => ({ ready: true, checks: [] }),
    bodyLimitBytes: 64,
    ...options,
  });
  server.app.post("/echo", async (incoming) => incoming.body);
  servers.push(server);
  return server;
}

function portOf(server: OpsServer): number {
  const address = server.address();
  if (address === undefined) throw new Error("the server does not listen");
  return address.port;
}

async function textOf(response: IncomingMessage): Promise<string> {
  let text = "";
  for await (const chunk of response) text += String(chunk);
  return text;
}

/** Sends a GET whose handler the test holds open until `release`. */
async function inFlight(server: OpsServer) {
  const entered = Promise.withResolvers<void>();
  const gate = Promise.withResolvers<string>();
  server.app.get("/slow", async () => {
    entered.resolve();
    return { answer: await gate.promise };
  });
  await server.start();
  const agent = new Agent({ keepAlive: true });
  const outgoing = request({ host: "127.0.0.1", port: portOf(server), path: "/slow", agent });
  const answered = once(outgoing, "response").then(async ([response]) => await textOf(response));
  outgoing.end();
  await entered.promise;
  return { release: () => gate.resolve("done"), answered, agent };
}

test("health answers 200 while the process serves, even when it is not ready", async () => {
  const { app } = makeServer({ ready: () => ({ ready: false, reasons: ["x"], checks: [] }) });
  const response = await app.inject("/health");
  expect(response.statusCode).toBe(200);
  expect(response.json()).toEqual({ status: "ok", uptimeSeconds: 1.5, version: "0.1.0" });
});

test("ready answers 200 with its checks", async () => {
  const checks = [{ name: "etcd", ok: true, detail: "3 ms" }];
  const response = await makeServer({ ready: () => ({ ready: true, checks }) }).app.inject(
    "/ready",
  );
  expect(response.statusCode).toBe(200);
  expect(response.json()).toEqual({ ready: true, checks });
});

test("not ready answers 503 with the reasons and checks", async () => {
  const report = {
    ready: false,
    reasons: ["etcd is not reachable"],
    checks: [{ name: "etcd", ok: false, detail: "timeout" }],
  } as const;
  const response = await makeServer({ ready: () => report }).app.inject("/ready");
  expect(response.statusCode).toBe(503);
  expect(response.json()).toEqual(report);
});

test("a readiness check that throws means not ready, and is logged", async () => {
  const lines: Line[] = [];
  const failing = (): never => {
    throw new Error("inner detail");
  };
  const { app } = makeServer({ ready: failing, logger: capture(lines) });
  const response = await app.inject("/ready");
  expect(response.statusCode).toBe(503);
  expect(response.json()).toMatchObject({ ready: false, checks: [] });
  expect(response.body).not.toContain("inner detail");
  expect(lines).toHaveLength(1);
});

test("metrics answers in Prometheus' format", async () => {
  const metrics = createMetrics();
  metrics.counter({ name: "votes_total", help: "Votes." }).inc({}, 3);
  const response = await makeServer({ metrics }).app.inject("/metrics");
  expect(response.statusCode).toBe(200);
  expect(response.headers["content-type"]).toBe(metrics.contentType);
  expect(response.body).toContain("\nvotes_total 3\n");
});

test("a request that is at fault is told why, in JSON and without a stack", async () => {
  const { app } = makeServer();
  const json = { "content-type": "application/json" };
  const post = (payload: string, headers: Record<string, string> = json) =>
    app.inject({ method: "POST", url: "/echo", payload, headers });
  const cases = [
    [await app.inject("/nowhere"), 404, "NOT_FOUND"],
    [await app.inject("/%zz"), 400, "INVALID_URL"],
    [await post('{"a":'), 400, "INVALID_JSON"],
    [await post(""), 400, "INVALID_JSON"],
    [await post('{"__proto__":{}}'), 400, "INVALID_JSON"],
    [await post(`"${"x".repeat(100)}"`), 413, "BODY_TOO_LARGE"],
    [await post("<a/>", { "content-type": "text/xml" }), 415, "UNSUPPORTED_MEDIA_TYPE"],
  ] as const;
  for (const [response, status, code] of cases) {
    expect(response.statusCode, response.body).toBe(status);
    expect(response.headers["content-type"]).toContain("application/json");
    expect(response.json()).toEqual({ error: { code, message: expect.stringMatching(/\w+ \w+/) } });
    expect(response.body).not.toMatch(/\bat .*\.[jt]s/);
  }
  const fits = await post('{"a":1}');
  expect(fits.json()).toEqual({ a: 1 });
});

test("an added route's failure is logged by its pattern and answers nothing but internal error", async () => {
  const lines: Line[] = [];
  const { app } = makeServer({ logger: capture(lines) });
  app.get("/broken/:id", () => {
    throw new Error("password is hush");
  });
  const response = await app.inject("/broken/abc");
  expect(response.statusCode).toBe(500);
  expect(response.json()).toEqual({ error: { code: "INTERNAL", message: "internal error" } });
  expect(lines).toMatchObject([{ message: "request failed", fields: { route: "/broken/:id" } }]);
});

test("an added route's own refusal keeps its status, code and message", async () => {
  const { app } = makeServer();
  app.get("/taken", () => {
    throw Object.assign(new Error("voted already"), { statusCode: 409, code: "VOTED" });
  });
  const schema = { querystring: { type: "object", required: ["n"] } };
  app.get("/strict", { schema }, () => "fine");
  expect((await app.inject("/taken")).json()).toEqual({
    error: { code: "VOTED", message: "voted already" },
  });
  const strict = await app.inject("/strict");
  expect(strict.statusCode).toBe(400);
  expect(strict.json()).toMatchObject({ error: { code: "INVALID_REQUEST" } });
});

test("the longest transaction id fits a path parameter, percent-encoded too", async () => {
  const { app } = makeServer();
  app.get<{ Params: { id: string } }>("/tx/:id", (incoming) => ({ id: incoming.params.id }));
  const id = ":".repeat(128);
  expect((await app.inject(`/tx/${encodeURIComponent(id)}`)).json()).toEqual({ id });
});

test("bytes that are no HTTP are answered with 400 in the same shape", async () => {
  const server = makeServer();
  await server.start();
  const socket = connect(portOf(server), "127.0.0.1");
  socket.end("nonsense\r\n\r\n");
  let text = "";
  for await (const chunk of socket) text += String(chunk);
  expect(text).toMatch(/^HTTP\/1\.1 400 /);
  expect(text).toContain('{"error":{"code":"INVALID_REQUEST"');
});

test("start is idempotent, address tells the chosen port, and stop frees it", async () => {
  const server = makeServer();
  expect(server.address()).toBeUndefined();
  await Promise.all([server.start(), server.start()]);
  const port = portOf(server);
  expect(server.address()).toEqual({ host: "127.0.0.1", port });
  await Promise.all([server.stop(), server.stop()]);
  expect(server.address()).toBeUndefined();
  await makeServer({ port }).start();
});

test("a port in use is an error that names host and port", async () => {
  const first = makeServer();
  await first.start();
  const port = portOf(first);
  const second = makeServer({ port });
  await expect(second.start()).rejects.toMatchObject({
    name: "TelemetryError",
    code: "ADDRESS_IN_USE",
    message: expect.stringContaining(`127.0.0.1:${port}`),
  });
  await second.stop();
});

test("an address that is not ours is LISTEN_FAILED", async () => {
  // TEST-NET-1 is never assigned to a machine.
  await expect(makeServer({ host: "192.0.2.1" }).start()).rejects.toMatchObject({
    code: "LISTEN_FAILED",
    message: expect.stringContaining("192.0.2.1:0"),
  });
});

test("a stopped server does not start again, and one that never started stops", async () => {
  const server = makeServer();
  await server.stop();
  await expect(server.start()).rejects.toMatchObject({ code: "STOPPED" });
});

test("a start with an aborted signal rejects with its reason and does not listen", async () => {
  const reason = new Error("never mind");
  const server = makeServer();
  await expect(server.start({ signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
  expect(server.address()).toBeUndefined();
});

test("a signal that aborts after the start leaves the server running", async () => {
  const controller = new AbortController();
  const server = makeServer();
  await server.start({ signal: controller.signal });
  controller.abort();
  const response = await fetch(`http://127.0.0.1:${portOf(server)}/health`);
  expect(response.status).toBe(200);
});

test("a request in flight finishes at stop, and its kept-alive connection does not delay it", async () => {
  const server = makeServer();
  const { release, answered, agent } = await inFlight(server);
  const closing = once(server.app.server, "close");
  const stopped = server.stop({ signal: AbortSignal.timeout(DEADLINE_MS) });
  // The listening socket is gone while the request is still held.
  await expect.poll(() => server.address()).toBeUndefined();
  release();
  expect(JSON.parse(await answered)).toEqual({ answer: "done" });
  const answeredMs = performance.now();
  await stopped;
  await closing;
  expect(performance.now() - answeredMs).toBeLessThan(1_000);
  agent.destroy();
});

test("a stop whose signal aborts cuts the requests in flight and rejects with the reason", async () => {
  const server = makeServer();
  const { release, answered, agent } = await inFlight(server);
  const cut = answered.then(
    () => "answered",
    () => "cut",
  );
  const reason = new Error("no more time");
  const controller = new AbortController();
  const stopped = server.stop({ signal: controller.signal });
  controller.abort(reason);
  await expect(stopped).rejects.toBe(reason);
  expect(await cut).toBe("cut");
  release();
  // Stopping again waits for the same end, now without anything in flight.
  await server.stop();
  expect(server.address()).toBeUndefined();
  agent.destroy();
});

test("while stopping, a new request on an open connection is refused in the common shape", async () => {
  const server = makeServer();
  const { release, answered, agent } = await inFlight(server);
  const socket = connect(portOf(server), "127.0.0.1");
  // Half a request makes the connection busy, so that the stop does not close it as idle.
  socket.write("GET /health HTTP/1.1\r\nhost: x\r\n");
  await once(socket, "connect");
  const connections = async (): Promise<number> => {
    const { promise, resolve } = Promise.withResolvers<number>();
    server.app.server.getConnections((_error, count) => resolve(count));
    return await promise;
  };
  await expect.poll(connections).toBe(2);
  const stopped = server.stop({ signal: AbortSignal.timeout(DEADLINE_MS) });
  await expect.poll(() => server.address()).toBeUndefined();
  socket.write("\r\n");
  let text = "";
  for await (const chunk of socket) text += String(chunk);
  expect(text).toMatch(/^HTTP\/1\.1 503 /);
  expect(text).toContain('"code":"STOPPING"');
  release();
  expect(JSON.parse(await answered)).toEqual({ answer: "done" });
  await stopped;
  agent.destroy();
});

test("ready means that every check passes; each that does not is named with its detail", () => {
  const good = { name: "etcd", ok: true, detail: "watching" };
  const bad = { name: "peers", ok: false, detail: "1 of 3" };
  expect(readyWhenAllPass([good])).toEqual({ ready: true, checks: [good] });
  expect(readyWhenAllPass([good, bad])).toEqual({
    ready: false,
    reasons: ["peers: 1 of 3"],
    checks: [good, bad],
  });
});
