import { createServer, type Server } from "node:http";
import { setTimeout as delay } from "node:timers/promises";

import { type ClusterId, parseClusterId, parseTxId, parseValue, unwrap } from "@quorate/core";
import type { Clock, Logger, RecordItem } from "@quorate/ports";

import { isRecord } from "./json-rpc.ts";

// What this package's tests share. Nothing of it is exported from the package.

export const CLUSTER: ClusterId = unwrap(parseClusterId("test-cluster"));

/** The machine's own clock. */
export const systemClock: Clock = {
  nowMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  sleep: async (ms, { signal } = {}) => {
    await delay(ms, undefined, signal === undefined ? {} : { signal });
  },
  schedule: (ms, callback) => {
    const timer = setTimeout(callback, ms);
    return () => clearTimeout(timer);
  },
};

/** A logger that keeps each line as JSON. */
export function createListLogger(): Logger & { readonly lines: string[] } {
  const lines: string[] = [];
  const write =
    (level: string): Logger["info"] =>
    (message, fields = {}) => {
      lines.push(JSON.stringify({ level, message, ...fields }));
    };
  const logger = {
    lines,
    error: write("error"),
    warn: write("warn"),
    info: write("info"),
    debug: write("debug"),
    child: () => logger,
  };
  return logger;
}

/** An item to record. */
export function item(txId: string, value: bigint): RecordItem {
  return { txId: unwrap(parseTxId(txId)), value: unwrap(parseValue(value)) };
}

/** `count` items with ids that start with `prefix`. */
export function items(prefix: string, count: number): readonly RecordItem[] {
  return Array.from({ length: count }, (_, index) => item(`${prefix}-${index}`, BigInt(index)));
}

/** Sends one JSON-RPC request, past all code under test. Throws on an error answer. */
export async function rpc(url: string, method: string, ...params: unknown[]): Promise<unknown> {
  const response = await fetch(url, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ jsonrpc: "2.0", id: 1, method, params }),
  });
  const body: unknown = await response.json();
  if (!isRecord(body) || !("result" in body)) {
    throw new Error(`${method} failed: ${JSON.stringify(body)}`);
  }
  return body["result"];
}

/** What a scripted endpoint does with one request. */
export type Scripted =
  | { readonly result: unknown }
  | { readonly error: { readonly code: number; readonly message: string; readonly data?: unknown } }
  | { readonly status: number; readonly text: string }
  | { readonly hang: true };

export interface ScriptedRpc {
  readonly url: string;
  /** Every request so far. */
  readonly seen: {
    readonly method: string;
    readonly params: readonly unknown[];
    readonly authorization: string | undefined;
  }[];
  close(): Promise<void>;
}

/** An HTTP endpoint that answers what a test wants: the lying and failing endpoints that no real node can play. */
export async function startScriptedRpc(
  answer: (method: string, params: readonly unknown[]) => Scripted | Promise<Scripted>,
): Promise<ScriptedRpc> {
  const seen: { method: string; params: readonly unknown[]; authorization: string | undefined }[] =
    [];
  const server: Server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      void (async () => {
        const body: unknown = JSON.parse(Buffer.concat(chunks).toString("utf8"));
        if (!isRecord(body) || !Array.isArray(body["params"])) throw new Error("bad request");
        const method = String(body["method"]);
        seen.push({ method, params: body["params"], authorization: request.headers.authorization });
        const scripted = await answer(method, body["params"]);
        if ("hang" in scripted) return;
        if ("status" in scripted) {
          response.writeHead(scripted.status).end(scripted.text);
          return;
        }
        response
          .writeHead(200, { "content-type": "application/json" })
          .end(JSON.stringify({ jsonrpc: "2.0", id: body["id"], ...scripted }));
      })();
    });
  });
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve);
  });
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  return {
    url: `http://127.0.0.1:${address.port}`,
    seen,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
