import { once } from "node:events";
import { chmodSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Logger } from "@quorate/ports";
import { afterAll, afterEach, describe, expect, it } from "vitest";
import { TOKEN_SUBPROTOCOL, type TokenSource, tokensOf } from "./api-access.ts";
import { EVENTS_SUBPROTOCOL } from "./api-plugins.ts";
import { type ApiRole, createApiToken, parseTokenList, readTokensFile } from "./api-tokens.ts";
import { addEventRoute, createEventFeed } from "./event-feed.ts";
import { TELEMETRY_LIMITS } from "./limits.ts";
import { createMetrics } from "./metrics.ts";
import { createOpsServer, type OpsServer } from "./ops-server.ts";

const silent = (): void => undefined;
const logger: Logger = {
  error: silent,
  warn: silent,
  info: silent,
  debug: silent,
  child: () => logger,
};
const directory = mkdtempSync(join(tmpdir(), "quorate-tokens-"));
afterAll(() => rmSync(directory, { recursive: true }));
const servers: OpsServer[] = [];
afterEach(async () => {
  for (const server of servers.splice(0)) await server.stop();
});

function serve(tokens: TokenSource | null): OpsServer {
  const server = createOpsServer({
    host: "127.0.0.1",
    port: 0,
    metrics: createMetrics({}),
    logger,
    health: () => ({ status: "ok", uptimeSeconds: 1, version: "0" }),
    ready: () => ({ ready: true, checks: [] }),
    bodyLimitBytes: 100,
    tokens,
  });
  server.addRoutes((app) => {
    app.get("/state", ({ caller }) => ({ caller }));
    app.post("/vote", { config: { access: "vote" } }, ({ caller }) => ({ caller }));
    app.post("/order", ({ caller }) => ({ caller }));
    app.get("/dear", { config: { rateLimit: { max: 2, timeWindow: 60_000 } } }, () => ({}));
  });
  servers.push(server);
  return server;
}

const made = (role: ApiRole) => createApiToken(`my-${role}`, role);
const bearer = (token: string) => ({ authorization: `Bearer ${token}` });

async function ask(
  { app }: OpsServer,
  method: "GET" | "POST",
  url: string,
  from: { headers?: Record<string, string>; remoteAddress?: string } = {},
): Promise<readonly [number, unknown]> {
  const response = await app.inject({ method, url, ...from });
  const body: { error?: { code: string }; caller?: string } = response.json();
  return [response.statusCode, body.error?.code ?? body.caller];
}

describe("with a token file", () => {
  const [read, vote, operate] = [made("read"), made("vote"), made("operate")];
  const entries = [read, vote, operate].map(({ entry }) => entry);

  it("a token may read, and besides only what its role says", async () => {
    const server = serve(() => entries);
    const told: Record<string, readonly number[]> = {};
    for (const { token, entry } of [read, vote, operate]) {
      const headers = bearer(token);
      const answers = [
        await ask(server, "GET", "/state", { headers }),
        await ask(server, "POST", "/vote", { headers }),
        await ask(server, "POST", "/order", { headers }),
      ];
      told[entry.role] = answers.map(([status]) => status);
    }
    expect(told).toEqual({
      read: [200, 403, 403],
      vote: [200, 200, 403],
      operate: [200, 403, 200],
    });
    expect(await ask(server, "GET", "/state", { headers: bearer(read.token) })).toEqual([
      200,
      "my-read",
    ]);
  });

  it("nobody reads without one, not even from this machine, or with one that is not in the file", async () => {
    const server = serve(() => entries);
    expect(await ask(server, "GET", "/state")).toEqual([401, "TOKEN_MISSING"]);
    const headers = bearer(made("read").token);
    expect(await ask(server, "GET", "/state", { headers })).toEqual([401, "TOKEN_UNKNOWN"]);
    // What the file holds opens nothing: who has seen the file has no token.
    const hash = bearer(read.entry.sha256);
    expect(await ask(server, "GET", "/state", { headers: hash })).toEqual([401, "TOKEN_UNKNOWN"]);
  });

  it("a probe asks for health, readiness and metrics without one", async () => {
    const { app } = serve(() => entries);
    for (const url of ["/health", "/ready", "/metrics", "/v1/openapi.json"])
      expect([url, (await app.inject(url)).statusCode]).toEqual([url, 200]);
  });

  it("a caller who asks too often is told to wait, and the others are not", async () => {
    const { app } = serve(() => entries);
    const by = async ({ token }: typeof read) =>
      (await app.inject({ url: "/dear", headers: bearer(token) })).statusCode;
    expect([await by(read), await by(read), await by(read)]).toEqual([200, 200, 429]);
    expect(await by(vote)).toBe(200);
    const refused = await app.inject({ url: "/dear", headers: bearer(read.token) });
    expect(refused.json()).toMatchObject({ error: { code: "RATE_LIMITED" } });
    expect(refused.headers["retry-after"]).toBeDefined();
  });
});

describe("without a token file", () => {
  it("this machine may do all, and nobody else anything", async () => {
    const server = serve(null);
    expect(await ask(server, "POST", "/order")).toEqual([200, "loopback"]);
    expect(await ask(server, "POST", "/vote", { remoteAddress: "::1" })).toEqual([200, "loopback"]);
    const remoteAddress = "192.0.2.7";
    expect(await ask(server, "GET", "/state", { remoteAddress })).toEqual([401, "TOKENS_NEEDED"]);
    expect((await server.app.inject({ url: "/ready", remoteAddress })).statusCode).toBe(200);
  });

  it("who comes through a proxy is not this machine", async () => {
    const headers = { "x-forwarded-for": "192.0.2.7" };
    expect(await ask(serve(null), "GET", "/state", { headers })).toEqual([401, "TOKENS_NEEDED"]);
  });

  it("a web site can't use it through its visitor's browser", async () => {
    const server = serve(null);
    const post = { origin: "https://evil.example" };
    expect(await ask(server, "POST", "/order", { headers: post })).toEqual([403, "CROSS_ORIGIN"]);
    const sandboxed = { origin: "null" };
    expect(await ask(server, "POST", "/order", { headers: sandboxed })).toEqual([
      403,
      "CROSS_ORIGIN",
    ]);
    const rebound = { host: "evil.example:7701", origin: "http://evil.example:7701" };
    expect(await ask(server, "GET", "/state", { headers: rebound })).toEqual([403, "HOST_REFUSED"]);
    const own = { host: "127.0.0.1:7701", origin: "http://127.0.0.1:7701" };
    expect(await ask(server, "GET", "/state", { headers: own })).toEqual([200, "loopback"]);
  });
});

describe("a token file", () => {
  const path = join(directory, "tokens.json");
  const write = (text: string): void => writeFileSync(path, text, { mode: 0o600 });
  const list = (...tokens: readonly { entry: object }[]): string =>
    JSON.stringify(tokens.map(({ entry }) => entry));

  it("that others can read, that is missing or wrong, is refused with what to do", () => {
    write("[]");
    chmodSync(path, 0o640);
    expect(() => readTokensFile(path)).toThrow(`chmod 600 ${path}`);
    chmodSync(path, 0o600);
    expect(readTokensFile(path)).toEqual([]);
    expect(() => readTokensFile(join(directory, "none"))).toThrow("does not exist");
    const { token, entry } = made("read");
    const problems: readonly (readonly [string, string])[] = [
      ["{}", "must be a JSON list"],
      ["[", "is not valid JSON"],
      [JSON.stringify([{ ...entry, role: "root" }]), "entry 1: role must be one of"],
      [JSON.stringify([{ ...entry, sha256: "00" }]), "64 lower-case"],
      [JSON.stringify([entry, { ...made("read").entry, name: "my-read" }]), "entry 2: the name"],
      [JSON.stringify([entry, { ...entry, name: "other" }]), "entry 2: the same token"],
      [JSON.stringify([{ name: "x", role: "read", token }]), "holds a token itself"],
    ];
    for (const [text, problem] of problems) {
      const read = parseTokenList(text);
      expect(read.ok ? "taken" : read.error).toContain(problem);
      expect(read.ok ? "" : read.error).not.toContain(token);
    }
  });

  it("is read again when it changes, and an unusable one changes nothing", async () => {
    const [first, second] = [createApiToken("a", "read"), createApiToken("b", "read")];
    write(list(first));
    const source = tokensOf(path, logger);
    const change = (text: string, seconds: number): void => {
      write(text);
      utimesSync(path, seconds, seconds);
    };
    const names = async (): Promise<unknown> => {
      await new Promise((done) => setTimeout(done, TELEMETRY_LIMITS.tokensLookIntervalMs + 50));
      return source()?.map(({ name }) => name);
    };
    change(list(second), 2_000);
    expect(await names()).toEqual(["b"]);
    change("[", 3_000);
    expect(await names()).toEqual(["b"]);
  });
});

describe("the event feed", () => {
  it("is open to a browser's WebSocket with a token, says where it begins, and ends with the server", async () => {
    const reader = made("read");
    const server = serve(() => [reader.entry]);
    const feed = createEventFeed({ hello: () => ({ hello: true }), logger });
    server.addRoutes((app) => addEventRoute(app, feed));
    await server.start();
    const url = `ws://127.0.0.1:${server.address()?.port}/v1/events`;

    const refused = new WebSocket(url);
    const [failure] = await once(refused, "error");
    expect(failure).toBeDefined();

    const socket = new WebSocket(url, [EVENTS_SUBPROTOCOL, TOKEN_SUBPROTOCOL + reader.token]);
    const heard: string[] = [];
    socket.addEventListener("message", ({ data }) => heard.push(String(data)));
    await once(socket, "message");
    expect(socket.protocol).toBe(EVENTS_SUBPROTOCOL);
    feed.publish({ number: 1 });
    await once(socket, "message");
    expect(heard.map((text) => JSON.parse(text))).toEqual([{ hello: true }, { number: 1 }]);
    const closed = once(socket, "close");
    feed.close();
    await server.stop();
    const [event] = await closed;
    expect(event).toMatchObject({ code: 1001 });
  });

  it("cuts off a listener whose connection stands still before more than its buffer waits for it", async () => {
    const server = serve(null);
    const feed = createEventFeed({ hello: () => ({ hello: true }), logger });
    server.addRoutes((app) => addEventRoute(app, feed));
    await server.start();
    const port = server.address()?.port ?? 0;
    const socket = connect(port, "127.0.0.1");
    socket.write(
      `GET /v1/events HTTP/1.1\r\nhost: 127.0.0.1:${port}\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-version: 13\r\nsec-websocket-key: ${Buffer.alloc(16).toString("base64")}\r\n\r\n`,
    );
    const [first] = await once(socket, "data");
    expect(String(first)).toContain("101 Switching Protocols");
    // From here on nothing is read: what is sent fills the kernel's buffers first, and then our own.
    socket.pause();
    expect(feed.listening).toBe(true);
    const message = { text: "x".repeat(200_000) };
    for (let i = 0; i < 2_000 && feed.listening; i++) {
      feed.publish(message);
      await new Promise((done) => setImmediate(done));
    }
    expect(feed.listening).toBe(false);
    feed.close();
    socket.destroy();
  });

  it("cuts off who does not take in what it is sent, and nobody else", () => {
    const feed = createEventFeed({ hello: () => ({}), logger, bufferBytesMax: 100, clientsMax: 2 });
    const fake = (bufferedAmount: number) => {
      const said: unknown[] = [];
      const socket = {
        readyState: 1,
        bufferedAmount,
        send: (text: string) => said.push(text),
        ping: silent,
        close: (code: number) => said.push(code),
        terminate: silent,
        on: silent,
      };
      return { socket, said };
    };
    const [quick, slow, third] = [fake(0), fake(0), fake(0)];
    for (const { socket } of [quick, slow, third]) feed.add(socket);
    expect(third.said).toEqual([1013]);
    slow.socket.bufferedAmount = 95;
    feed.publish({ a: 1 });
    feed.publish({ a: 2 });
    expect(slow.said).toEqual(["{}", 1013]);
    expect(quick.said).toEqual(["{}", '{"a":1}', '{"a":2}']);
    feed.close();
  });
});
