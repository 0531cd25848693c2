import type { FastifyInstance } from "fastify";

/** A JSON schema, as far as the API's documents use it. */
export type Schema = { readonly [key: string]: unknown };

/** What the OpenAPI document says of one route. */
export interface RouteDescription {
  readonly summary: string;
  readonly description?: string;
  readonly tags: readonly string[];
  readonly params?: Schema;
  readonly querystring?: Schema;
  readonly body?: Schema;
  readonly response: Readonly<Record<string, Schema>>;
}

export const text = (description?: string, more: Schema = {}): Schema => ({
  type: "string",
  ...(description === undefined ? {} : { description }),
  ...more,
});
export const whole = (description?: string): Schema => ({
  type: "integer",
  ...(description === undefined ? {} : { description }),
});
export const flag: Schema = { type: "boolean" };
export const time: Schema = { type: "string", format: "date-time" };
/** A number beyond 2^53 as decimal text. */
export const decimal: Schema = { type: "string", pattern: "^[0-9]+$" };
export const list = (items: Schema): Schema => ({ type: "array", items });
export const oneOf = (words: readonly string[], description?: string): Schema =>
  text(description, { enum: words });
export const orNull = (schema: Schema): Schema => ({ anyOf: [schema, { type: "null" }] });
/** All of it is always there, except what `optional` names. */
export const shape = (
  properties: Readonly<Record<string, Schema>>,
  optional: readonly string[] = [],
): Schema => ({
  type: "object",
  properties,
  required: Object.keys(properties).filter((name) => !optional.includes(name)),
});

/** What every refused request answers with. */
export const REFUSAL: Schema = {
  description: "Refused, with the reason as a code and as a sentence.",
  ...shape({ error: shape({ code: text(), message: text() }) }),
};

export const CHECK: Schema = shape({ name: text(), ok: flag, detail: text() });

/** What every server of these answers. */
export const OPERATIONS_ROUTES: Readonly<Record<string, RouteDescription>> = {
  "GET /health": {
    summary: "The process serves",
    tags: ["Operations"],
    response: {
      200: shape({ status: text(), uptimeSeconds: { type: "number" }, version: text() }),
    },
  },
  "GET /ready": {
    summary: "Whether work may be sent here, and why not",
    tags: ["Operations"],
    response: {
      200: shape({ ready: flag, checks: list(CHECK) }),
      503: shape({ ready: flag, reasons: list(text()), checks: list(CHECK) }),
    },
  },
  "GET /metrics": {
    summary: "Metrics for Prometheus, as text",
    tags: ["Operations"],
    response: { 200: { type: "string" } },
  },
};

/** Says of the routes that are added after it what the OpenAPI document tells. @param routes by `METHOD /path/:parameter` */
export function describeRoutes(
  app: FastifyInstance,
  routes: Readonly<Record<string, RouteDescription>>,
): void {
  app.addHook("onRoute", (route) => {
    const method = Array.isArray(route.method) ? route.method[0] : route.method;
    const found = routes[`${method} ${route.url}`];
    if (found !== undefined) route.schema = { ...found, ...route.schema, tags: [...found.tags] };
    // Fastify answers HEAD wherever it answers GET; that is not worth a line each.
    else if (method === "HEAD") route.schema = { ...route.schema, hide: true };
  });
}
