import { readFileSync } from "node:fs";

/** One static file of the web page. */
export interface Asset {
  /** Where it is served. */
  readonly path: string;
  readonly contentType: string;
  readonly body: string;
}

const FILES = [
  ["/", "index.html", "text/html; charset=utf-8"],
  ["/dashboard/page.js", "page.js", "text/javascript; charset=utf-8"],
  ["/dashboard/page.css", "page.css", "text/css; charset=utf-8"],
] as const;

/**
 * The operator's web page, for a node or a submitter to serve. Read from the package once; it is built beforehand
 * (`pnpm run build:dashboard`) and kept with the source, so that a running system builds and fetches nothing.
 */
export function dashboardAssets(): readonly Asset[] {
  return FILES.map(([path, name, contentType]) => ({
    path,
    contentType,
    body: readFileSync(new URL(`../dist-assets/${name}`, import.meta.url), "utf8"),
  }));
}
