import { execFile } from "node:child_process";
import { once } from "node:events";
import { createServer, type IncomingMessage } from "node:http";
import { promisify } from "node:util";
import { logs } from "@opentelemetry/api";
import type { Logger } from "@quorate/ports";
import { expect, test, vi } from "vitest";
import { createTracing } from "./tracing.ts";

async function textOf(message: IncomingMessage): Promise<string> {
  let text = "";
  for await (const chunk of message) text += String(chunk);
  return text;
}

/** A collector that keeps what it is sent; one that does not answer holds its clients. */
async function collector(options: { readonly answers: boolean }) {
  const received: { readonly path: string | undefined; readonly body: string }[] = [];
  const arrived = Promise.withResolvers<void>();
  const server = createServer(async (incoming, outgoing) => {
    received.push({ path: incoming.url, body: await textOf(incoming) });
    arrived.resolve();
    if (options.answers) outgoing.writeHead(200, { "content-type": "application/json" }).end("{}");
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  return {
    url: `http://127.0.0.1:${address.port}`,
    received,
    arrived: arrived.promise,
    async close() {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}

/** A logger that tells its first warning. */
function warnings() {
  const first = Promise.withResolvers<string>();
  const logger: Logger = {
    error: () => {},
    warn: (message) => first.resolve(message),
    info: () => {},
    debug: () => {},
    child: () => logger,
  };
  return { logger, warned: first.promise };
}

test("without a URL nothing is recorded or started", async () => {
  const tracing = createTracing({ serviceName: "node", version: "0.1.0" });
  await tracing.start();
  expect(tracing.enabled).toBe(false);
  const span = tracing.tracer.startSpan("vote");
  expect(span.isRecording()).toBe(false);
  span.end();
  await tracing.shutdown();
});

test("without a URL the SDK is not even loaded", async () => {
  const script = `
    import { registerHooks } from "node:module";
    let loaded = 0;
    registerHooks({
      resolve(specifier, context, next) {
        if (specifier === "@opentelemetry/sdk-node") loaded += 1;
        return next(specifier, context);
      },
    });
    const { createTracing } = await import(${JSON.stringify(new URL("./tracing.ts", import.meta.url).href)});
    const off = createTracing({ serviceName: "node", version: "0.1.0" });
    await off.start();
    await off.shutdown();
    const loadedOff = loaded;
    const on = createTracing({ serviceName: "n", version: "1", otlpUrl: "http://127.0.0.1:9" });
    await on.start();
    await on.shutdown();
    process.stdout.write(JSON.stringify({ off: loadedOff, on: loaded }));
  `;
  const args = ["--conditions=@quorate/source", "--input-type=module", "--eval", script];
  const { stdout } = await promisify(execFile)(process.execPath, args);
  expect(JSON.parse(stdout)).toEqual({ off: 0, on: 1 });
});

test("spans reach the collector with the service's name and version, nothing else does", async () => {
  const sink = await collector({ answers: true });
  // Where the SDK would send logs by itself.
  vi.stubEnv("OTEL_EXPORTER_OTLP_ENDPOINT", sink.url);
  const tracing = createTracing({ serviceName: "node", version: "9.8.7", otlpUrl: sink.url });
  tracing.tracer.startSpan("before the start").end();
  await Promise.all([tracing.start(), tracing.start()]);
  tracing.tracer.startActiveSpan("outer", (outer) => {
    tracing.tracer.startSpan("inner").end();
    outer.end();
  });
  logs.getLogger("any").emit({ body: "a log record" });
  await tracing.shutdown();
  await tracing.shutdown();
  expect(sink.received.map(({ path }) => path)).toEqual(["/v1/traces"]);
  const [resource] = JSON.parse(sink.received[0]?.body ?? "").resourceSpans;
  expect(resource.resource.attributes).toEqual(
    expect.arrayContaining([
      { key: "service.name", value: { stringValue: "node" } },
      { key: "service.version", value: { stringValue: "9.8.7" } },
    ]),
  );
  const spans: { name: string; spanId: string; parentSpanId?: string }[] =
    resource.scopeSpans[0].spans;
  const [inner, outer] = spans;
  expect(spans.map(({ name }) => name)).toEqual(["inner", "outer"]);
  expect(inner?.parentSpanId).toBe(outer?.spanId);
  vi.unstubAllEnvs();
  await sink.close();
});

test("a collector that does not answer holds the shutdown only until the signal aborts", async () => {
  const sink = await collector({ answers: false });
  const { logger, warned } = warnings();
  const tracing = createTracing({
    logger,
    serviceName: "node",
    version: "0.1.0",
    otlpUrl: `${sink.url}/custom/path`,
  });
  await tracing.start();
  tracing.tracer.startSpan("vote").end();
  const reason = new Error("no more time");
  const controller = new AbortController();
  const ended = tracing.shutdown({ signal: controller.signal });
  await sink.arrived;
  controller.abort(reason);
  await expect(ended).rejects.toBe(reason);
  expect(sink.received[0]?.path).toBe("/custom/path");
  await sink.close();
  // The export then fails for good, which loses the span but is no failure of the shutdown.
  await tracing.shutdown();
  expect(await warned).toContain("spans");
});

test("a URL that is not http is refused at once", () => {
  for (const otlpUrl of ["collector:4318", "grpc://collector:4317", ""]) {
    expect(() => createTracing({ serviceName: "node", version: "0.1.0", otlpUrl })).toThrow(
      expect.objectContaining({ code: "OTLP_URL" }),
    );
  }
});
