import type { FastifyInstance } from "fastify";

export interface StaticFile {
  /** Where it is served. */
  readonly path: string;
  readonly contentType: string;
  readonly body: string;
}

/** What the page shows comes from the network: were a script among it, it could do nothing. */
const HEADERS = {
  "content-security-policy":
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'",
  "x-content-type-options": "nosniff",
  "referrer-policy": "no-referrer",
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-resource-policy": "same-origin",
  "cache-control": "no-cache",
} as const;

/** Serves a web page's own files, to whoever can connect: they say nothing of this cluster. What they show is asked for, with a token. */
export function addStaticPage(app: FastifyInstance, files: readonly StaticFile[]): void {
  for (const { path, contentType, body } of files)
    app.get(
      path,
      { config: { access: "open", rateLimit: false }, schema: { hide: true } },
      (_request, reply) => reply.headers(HEADERS).type(contentType).send(body),
    );
}
