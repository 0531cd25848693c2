import type { Socket } from "node:net";
import type { AbortOptions, Logger } from "@quorate/ports";
import { type FastifyInstance, fastify } from "fastify";
import { guardRoutes, type TokenSource } from "./api-access.ts";
import { type ApiDescription, addApiPlugins, document } from "./api-plugins.ts";
import { systemErrorCode, TelemetryError } from "./errors.ts";
import { errorBody, httpFailure } from "./http-errors.ts";
import { TELEMETRY_LIMITS } from "./limits.ts";
import type { MetricsText } from "./metrics.ts";
import { untilAborted } from "./until-aborted.ts";

export interface HealthReport {
  readonly status: "ok";
  readonly uptimeSeconds: number;
  readonly version: string;
}

export interface ReadyCheck {
  readonly name: string;
  readonly ok: boolean;
  readonly detail: string;
}

export type ReadyReport =
  | { readonly ready: true; readonly checks: readonly ReadyCheck[] }
  | {
      readonly ready: false;
      readonly reasons: readonly string[];
      readonly checks: readonly ReadyCheck[];
    };

/** Ready when every check is; otherwise each failed one is a reason. */
export function readyWhenAllPass(checks: readonly ReadyCheck[]): ReadyReport {
  const reasons = checks.filter((c) => !c.ok).map((c) => `${c.name}: ${c.detail}`);
  return reasons.length === 0 ? { ready: true, checks } : { ready: false, reasons, checks };
}

export interface OpsServerOptions {
  /** Address to listen on. */
  readonly host: string;
  /** 0 lets the system choose; see `address()`. */
  readonly port: number;
  readonly metrics: MetricsText;
  readonly logger: Logger;
  /** Answers GET /health: the process serves. */
  readonly health: () => HealthReport;
  /** Answers GET /ready: 200 when work may be sent here, 503 with the reasons otherwise. */
  readonly ready: () => ReadyReport;
  /** Largest request body, in bytes; a larger one is refused with 413. */
  readonly bodyLimitBytes: number;
  /** Who may do what; null or absent: this machine itself, all of it, and nobody else. */
  readonly tokens?: TokenSource | null;
  /** What the OpenAPI document says of this server. */
  readonly description?: ApiDescription;
}

export interface OpsServer {
  /** For more routes, before `start`. They share the error shape, the body limit and the check of who may use them. */
  readonly app: FastifyInstance;
  /** Adds routes that also have rate limits and WebSockets and are in the OpenAPI document. Before `start`. */
  addRoutes(add: (app: FastifyInstance) => void): void;
  /** Resolves when all routes are there, without listening. */
  ready(): Promise<void>;
  /** Listens. Idempotent. @throws TelemetryError ADDRESS_IN_USE, LISTEN_FAILED, or STOPPED after `stop` */
  start(options?: AbortOptions): Promise<void>;
  /**
   * Takes no more requests and lets those in flight finish. Idempotent. When the signal aborts first, every
   * connection is cut and the call rejects with the signal's reason; the port is free all the same.
   */
  stop(options?: AbortOptions): Promise<void>;
  /** Where it listens, or undefined when it does not. */
  address(): { readonly host: string; readonly port: number } | undefined;
}

const NO_DESCRIPTION: ApiDescription = {
  title: "Quorate",
  description: "",
  version: "0",
  routes: {},
};

/**
 * Serves /health, /ready and /metrics, and whatever routes are added. Every error answers
 * `{error: {code, message}}`, never with a stack. These three are open to whoever can connect: a supervisor's probe
 * has no token. All other routes are guarded.
 */
export function createOpsServer(options: OpsServerOptions): OpsServer {
  const { bodyLimitBytes } = options;
  const app = fastify({
    logger: false,
    bodyLimit: bodyLimitBytes,
    requestTimeout: TELEMETRY_LIMITS.httpRequestTimeoutMs,
    keepAliveTimeout: TELEMETRY_LIMITS.httpKeepAliveTimeoutMs,
    connectionTimeout: 0,
    forceCloseConnections: "idle",
    // Fastify's own 503 has another error shape; the hook below answers instead.
    return503OnClosing: false,
    trustProxy: false,
    onProtoPoisoning: "error",
    onConstructorPoisoning: "error",
    routerOptions: { maxParamLength: TELEMETRY_LIMITS.httpParamCharsMax },
    frameworkErrors: (error, _request, reply) => {
      const { status, body } = httpFailure(error, { bodyLimitBytes });
      // Sent raw, because this hook is generic over every route and so has no reply type to send.
      reply.raw.writeHead(status, { "content-type": "application/json; charset=utf-8" });
      reply.raw.end(JSON.stringify(body));
    },
    clientErrorHandler: (_error, socket) => answerMalformedRequest(socket),
  });
  app.server.maxConnections = TELEMETRY_LIMITS.httpConnectionsMax;
  // Kept here because closeAllConnections of node:http forgets upgraded sockets (WebSocket).
  const sockets = new Set<Socket>();
  app.server.on("connection", (socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
  });
  let stopping = false;
  let started: Promise<void> | undefined;
  let closed: Promise<void> | undefined;
  shapeErrors(app, options);
  drainWhen(app, () => stopping);
  guardRoutes(app, options.tokens ?? null);
  const description = options.description ?? NO_DESCRIPTION;
  addApiPlugins(app, description);
  const addDocumented = (add: (app: FastifyInstance) => void): void => {
    app.register(async (scope) => {
      document(scope, description);
      add(scope);
    });
  };
  addDocumented((scope) => addRoutes(scope, options));

  const close = async (): Promise<void> => {
    await started?.catch(() => undefined);
    await app.close();
  };
  const stop = async ({ signal }: AbortOptions = {}): Promise<void> => {
    stopping = true;
    closed ??= close();
    await untilAborted(closed, signal, () => {
      for (const socket of sockets) socket.destroy();
    });
  };
  return {
    app,
    addRoutes: addDocumented,
    ready: async () => {
      await app.ready();
    },
    start: async ({ signal } = {}) => {
      signal?.throwIfAborted();
      if (stopping) {
        throw new TelemetryError("STOPPED", "a stopped server is not started again", {
          retryable: false,
        });
      }
      started ??= listen(app, options);
      await started;
      // The signal bounds the start only: given to Fastify it would stop the server whenever it aborts later.
      if (signal?.aborted === true) {
        await stop();
        throw signal.reason;
      }
    },
    stop,
    address: () => {
      const address = app.server.address();
      return address === null || typeof address === "string"
        ? undefined
        : { host: address.address, port: address.port };
    },
  };
}

async function listen(
  app: FastifyInstance,
  { host, port }: { readonly host: string; readonly port: number },
): Promise<void> {
  try {
    await app.listen({ host, port });
  } catch (cause) {
    const where = host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
    if (systemErrorCode(cause) === "EADDRINUSE") {
      throw new TelemetryError(
        "ADDRESS_IN_USE",
        `cannot listen on ${where}: the address is in use`,
        { retryable: false, cause },
      );
    }
    throw new TelemetryError("LISTEN_FAILED", `cannot listen on ${where}`, {
      retryable: false,
      cause,
    });
  }
}

function addRoutes(app: FastifyInstance, options: OpsServerOptions): void {
  const open = { config: { access: "open", rateLimit: false } } as const;
  app.get("/health", open, () => options.health());
  app.get("/ready", open, (_request, reply) => {
    const report = readyReport(options);
    return reply.code(report.ready ? 200 : 503).send(report);
  });
  app.get("/metrics", open, async (_request, reply) => {
    const text = await options.metrics.text();
    return reply.header("content-type", options.metrics.contentType).send(text);
  });
}

/** A check that cannot even be made is a reason not to be ready. */
function readyReport({ ready, logger }: OpsServerOptions): ReadyReport {
  try {
    return ready();
  } catch (error) {
    logger.error("readiness check failed", { error });
    return { ready: false, reasons: ["the readiness check itself failed"], checks: [] };
  }
}

function shapeErrors(app: FastifyInstance, options: OpsServerOptions): void {
  app.setNotFoundHandler((_request, reply) =>
    reply.code(404).send(errorBody("NOT_FOUND", "there is no such route")),
  );
  app.setErrorHandler((error, request, reply) => {
    const { status, body } = httpFailure(error, options);
    if (status >= 500) {
      // The route's pattern, not the URL: what a client sends does not belong in the log.
      const route = request.routeOptions.url ?? "none";
      options.logger.error("request failed", { method: request.method, route, status, error });
    }
    return reply.code(status).send(body);
  });
}

/** While stopping, a kept-alive connection brings no new work and ends with the answer it waits for. */
function drainWhen(app: FastifyInstance, stopping: () => boolean): void {
  app.addHook("onRequest", async (_request, reply) => {
    if (stopping()) await reply.code(503).send(errorBody("STOPPING", "the server is stopping"));
  });
  app.addHook("onSend", async (_request, reply) => {
    if (stopping()) reply.header("connection", "close");
  });
}

function answerMalformedRequest(socket: Socket): void {
  if (socket.destroyed) return;
  const body = JSON.stringify(errorBody("INVALID_REQUEST", "the request is not well-formed HTTP"));
  const head = [
    "HTTP/1.1 400 Bad Request",
    "content-type: application/json; charset=utf-8",
    `content-length: ${Buffer.byteLength(body)}`,
    "connection: close",
  ];
  socket.end(`${head.join("\r\n")}\r\n\r\n${body}`, () => socket.destroy());
}
