import rateLimit from "@fastify/rate-limit";
import swagger from "@fastify/swagger";
import websocket from "@fastify/websocket";
import type { FastifyInstance } from "fastify";
import { TOKEN_SUBPROTOCOL } from "./api-access.ts";
import { describeRoutes, type RouteDescription } from "./api-schema.ts";
import { TELEMETRY_LIMITS } from "./limits.ts";

export interface ApiDescription {
  readonly title: string;
  readonly description: string;
  readonly version: string;
  /** What is said of each route, by `METHOD /path/:parameter`. */
  readonly routes: Readonly<Record<string, RouteDescription>>;
}

/** What a WebSocket is answered with; the token that is offered beside it is never sent back. */
export const EVENTS_SUBPROTOCOL = "quorate.events.v1";

/** Rate limits, WebSockets and the OpenAPI document, for the routes that are added after it. */
export function addApiPlugins(
  app: FastifyInstance,
  { title, description, version }: ApiDescription,
): void {
  app.register(rateLimit, {
    global: true,
    hook: "preParsing",
    max: TELEMETRY_LIMITS.apiRequestsPerSecondMax,
    timeWindow: 1_000,
    cache: TELEMETRY_LIMITS.apiCallersMax,
    keyGenerator: (request) => request.caller,
    addHeadersOnExceeding: {
      "x-ratelimit-limit": false,
      "x-ratelimit-remaining": false,
      "x-ratelimit-reset": false,
    },
    errorResponseBuilder: (_request, { max }) =>
      Object.assign(new Error(`more than ${max} requests a second by one caller; wait a second`), {
        statusCode: 429,
        code: "RATE_LIMITED",
      }),
  });
  app.register(websocket, {
    // Its own would call back twice. Listeners are told by their feed; here only new ones are refused.
    preClose: (done) => {
      app.websocketServer.close();
      done();
    },
    options: {
      maxPayload: TELEMETRY_LIMITS.feedRequestBytesMax,
      handleProtocols: (offered: Set<string>) =>
        offered.has(EVENTS_SUBPROTOCOL) ? EVENTS_SUBPROTOCOL : false,
    },
  });
  app.register(swagger, {
    openapi: {
      openapi: "3.1.0",
      info: {
        title,
        description,
        version,
        license: { name: "Apache-2.0", identifier: "Apache-2.0" },
      },
      components: {
        securitySchemes: {
          token: {
            type: "http",
            scheme: "bearer",
            description: `A token of api.tokensFile. Without that file none is needed on the machine itself, and nothing else is answered. A browser's WebSocket offers it as the subprotocol ${TOKEN_SUBPROTOCOL}<token> beside ${EVENTS_SUBPROTOCOL}.`,
          },
        },
      },
      security: [{ token: [] }],
    },
  });
  app.register(async (scope) => {
    scope.get("/v1/openapi.json", { config: { access: "open" }, schema: { hide: true } }, () =>
      app.swagger(),
    );
  });
}

/** Describes the routes that are added to the scope, in words that change nothing of what they do. */
export function document(scope: FastifyInstance, { routes }: ApiDescription): void {
  describeRoutes(scope, routes);
  // The schemas are there to be read. What is right and wrong is said by the parsers, with one text for HTTP and gossip,
  // and an answer must never lose a field because a schema forgot it.
  scope.setValidatorCompiler(() => () => true);
  scope.setSerializerCompiler(() => (data) => JSON.stringify(data));
}

/** For a route that reads much of a store, or changes something by a person's order. */
export const COSTLY = {
  config: { rateLimit: { max: TELEMETRY_LIMITS.apiCostlyPerSecondMax, timeWindow: 1_000 } },
} as const;
