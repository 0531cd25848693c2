import { statSync } from "node:fs";
import type { Logger } from "@quorate/ports";
import type { FastifyInstance, FastifyRequest } from "fastify";
import { type ApiRole, type ApiToken, holderOf, readTokensFile } from "./api-tokens.ts";
import { errorBody } from "./http-errors.ts";
import { TELEMETRY_LIMITS } from "./limits.ts";

/** Who may use a route: anybody at all, or the holders of a role. */
export type RouteAccess = "open" | ApiRole;

declare module "fastify" {
  interface FastifyContextConfig {
    /** GET needs `read` and all else `operate`, unless it is said here. */
    access?: RouteAccess;
  }
  interface FastifyRequest {
    /** The token's name, or "loopback" where there are none; empty on an open route. */
    caller: string;
  }
}

/** The tokens in force; null where there is no token file. */
export type TokenSource = () => readonly ApiToken[] | null;

/**
 * The tokens of a file, read now and again when it has changed: a token is given or taken away without a restart. A file
 * that has become unusable leaves those in force that were, and is told in the log.
 * @throws TelemetryError TOKENS_FILE when it is unusable now
 */
export function tokensOf(path: string, logger: Logger): TokenSource {
  let version = versionOf(path);
  let tokens = readTokensFile(path);
  let lookedMs = performance.now();
  return () => {
    const nowMs = performance.now();
    if (nowMs - lookedMs < TELEMETRY_LIMITS.tokensLookIntervalMs) return tokens;
    lookedMs = nowMs;
    const present = versionOf(path);
    if (present === version) return tokens;
    version = present;
    try {
      tokens = readTokensFile(path);
      logger.info("api tokens read again", { tokens: tokens.length });
    } catch (error) {
      logger.error("api tokens could not be read again; the ones before stay in force", { error });
    }
    return tokens;
  };
}

function versionOf(path: string): string {
  const stat = statSync(path, { throwIfNoEntry: false });
  return stat === undefined ? "none" : `${stat.mtimeMs}/${stat.size}/${stat.ino}/${stat.mode}`;
}

interface Refusal {
  readonly status: 401 | 403;
  readonly code: string;
  readonly message: string;
}

/** Lets no request through to a route that it may not use. The first hook of all, so nothing is done for who may not ask. */
export function guardRoutes(app: FastifyInstance, tokens: TokenSource | null): void {
  app.decorateRequest("caller", "");
  app.addHook("onRequest", async (request, reply) => {
    // An unknown route tells nobody anything.
    if (request.is404) return;
    const access = request.routeOptions.config.access ?? defaultAccess(request.method);
    const foreign = crossOrigin(request);
    if (foreign !== null) return refuse(foreign);
    if (access === "open") return;
    const list = tokens?.() ?? null;
    const verdict = list === null ? judgeLoopback(request) : judgeToken(request, access, list);
    if (typeof verdict !== "string") return refuse(verdict);
    request.caller = verdict;

    function refuse({ status, code, message }: Refusal): unknown {
      if (status === 401) reply.header("www-authenticate", 'Bearer realm="quorate"');
      return reply.code(status).send(errorBody(code, message));
    }
  });
  // A connection that was to be upgraded and was answered instead is no longer the HTTP server's: nobody else would end it.
  app.addHook("onResponse", async ({ raw }) => {
    if (raw.headers.upgrade !== undefined) raw.socket.destroySoon();
  });
}

function defaultAccess(method: string): RouteAccess {
  return method === "GET" || method === "HEAD" ? "read" : "operate";
}

/** A page of another site must not use this API with its visitor's place in the network, by WebSocket neither. */
function crossOrigin({ headers }: FastifyRequest): Refusal | null {
  const { origin, host = "" } = headers;
  if (origin === undefined) return null;
  const same = URL.canParse(origin) && new URL(origin).host === host;
  if (same) return null;
  return {
    status: 403,
    code: "CROSS_ORIGIN",
    message: "pages of other sites may not use this API",
  };
}

function judgeLoopback(request: FastifyRequest): "loopback" | Refusal {
  const { headers, socket } = request;
  const proxied = headers["x-forwarded-for"] !== undefined || headers["forwarded"] !== undefined;
  if (!isLoopback(socket.remoteAddress ?? "") || proxied)
    return {
      status: 401,
      code: "TOKENS_NEEDED",
      message:
        "without a token file (api.tokensFile) only this machine itself may use the API; make a token with: quorate token create",
    };
  // A site's name that is made to point at this machine comes with that name.
  if (isOwnName(headers.host ?? "")) return "loopback";
  return {
    status: 403,
    code: "HOST_REFUSED",
    message: "without a token file the API answers to localhost or an IP address only",
  };
}

function isLoopback(address: string): boolean {
  return address === "::1" || /^(::ffff:)?127\./.test(address);
}

function isOwnName(host: string): boolean {
  const name = host.replace(/:\d+$/, "").toLowerCase();
  return name === "localhost" || /^[0-9.]+$/.test(name) || /^\[[0-9a-f:.]+\]$/.test(name);
}

function judgeToken(
  request: FastifyRequest,
  access: ApiRole,
  tokens: readonly ApiToken[],
): string | Refusal {
  const token = bearerOf(request);
  const holder = token === null ? null : holderOf(token, tokens);
  if (holder === null) {
    const message =
      token === null
        ? "this needs a token: authorization: Bearer …"
        : "this token is not known here (any more)";
    return { status: 401, code: token === null ? "TOKEN_MISSING" : "TOKEN_UNKNOWN", message };
  }
  if (access === "read" || holder.role === access) return holder.name;
  return {
    status: 403,
    code: "ROLE_MISSING",
    message: `this needs a token with the role ${access}; ${holder.name} has ${holder.role}`,
  };
}

/** What a browser's WebSocket offers its token as, for it can send no header: a subprotocol of this prefix. */
export const TOKEN_SUBPROTOCOL = "quorate.token.";

function bearerOf({ headers }: FastifyRequest): string | null {
  const bearer = /^bearer +([A-Za-z0-9._~+/=-]{1,200})$/i.exec(headers.authorization ?? "");
  if (bearer?.[1] !== undefined) return bearer[1];
  if (headers.upgrade === undefined) return null;
  const offered = (headers["sec-websocket-protocol"] ?? "").split(",").map((word) => word.trim());
  const own = offered.find((word) => word.startsWith(TOKEN_SUBPROTOCOL));
  return own === undefined ? null : own.slice(TOKEN_SUBPROTOCOL.length);
}
